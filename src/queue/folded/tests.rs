//! Folding in a queue on disk: what leaves, what waits for nobody, and what restarts, lost indexes and persons make of it.

use std::time::Duration;

use super::*;
use crate::{
    clock::Clock as _,
    message::envelope::Lane,
    queue::{
        fixtures::{Scene, envelope},
        only::Only,
        ruled::Ruled,
        state::RecipientState,
    },
    smtp::address::Address,
};

const MINUTE: Duration = Duration::from_secs(60);
const ANY: fn() -> Only = Only::default;

fn admin() -> Address {
    "a@example.net".parse().unwrap()
}

/// A queue that folds the administrator's mail from the third alike on.
fn scene() -> Scene {
    Scene::with(|options| {
        options.storms.admin = Some(admin());
        options.storms.terms.after = 2;
    })
}

async fn accept(scene: &Scene, subject: &str) -> QueueId {
    accept_in(scene, subject, Lane::Normal).await
}

async fn accept_in(scene: &Scene, subject: &str, lane: Lane) -> QueueId {
    scene.clock.advance(Duration::from_millis(5));
    let mut envelope = envelope(scene.clock.wall());
    envelope.lane = lane;
    let mut draft = scene.queue().begin(envelope).unwrap();
    let text = format!("From: root@nas\r\nSubject: {subject}\r\n\r\nx\r\n");
    draft.write(text.as_bytes()).await.unwrap();
    scene.queue().enqueue(draft).await.unwrap().id()
}

/// So many ban notices.
async fn bans(scene: &Scene, number: u8) -> Vec<QueueId> {
    let mut ids = Vec::new();
    for host in 0..number {
        ids.push(accept(scene, &format!("banned 192.0.2.{host}")).await);
    }
    ids
}

async fn is_folded(scene: &Scene, id: QueueId) -> bool {
    let message = scene.queue().show(id).await.unwrap().unwrap();
    let state = &message.recipients()[0].state;
    let name = message.record.state_name(state, scene.clock.wall());
    assert_eq!(name == "folded", message.record.is_folded());
    message.record.is_folded()
}

/// What leaves by itself, in order.
async fn leave(scene: &Scene) -> Vec<QueueId> {
    let mut left = Vec::new();
    while let Ok(claimed) = scene.claim().await {
        left.push(claimed.id);
    }
    left
}

async fn folded(scene: &Scene) -> Vec<QueueId> {
    let (folded, _) = scene.queue().folded(None).await.unwrap();
    folded.into_iter().map(|message| message.id).collect()
}

#[tokio::test]
async fn what_follows_the_first_is_folded_and_what_is_news_leaves() {
    let scene = scene();
    let bans = bans(&scene, 5).await;
    let raid = accept(&scene, "DegradedArray event on /dev/md0:nas").await;
    let urgent = accept_in(&scene, "banned 192.0.2.77", Lane::Urgent).await;
    assert_eq!(leave(&scene).await, [urgent, bans[0], bans[1], raid]);
    assert_eq!(folded(&scene).await, bans[2..]);
    scene.clock.advance(MINUTE * 60 * 24 * 20);
    assert!(leave(&scene).await.is_empty(), "no time makes them due");
}

#[tokio::test]
async fn mail_to_others_and_from_others_is_not_folded() {
    let mut other = scene();
    other.options.storms.admin = Some("boss@example.net".parse().unwrap());
    other.restart(|_| ()).await;
    bans(&other, 9).await;
    assert!(folded(&other).await.is_empty());
    let scene = scene();
    for _ in 0..2 {
        for client in 1..=9 {
            let mut envelope = envelope(scene.clock.wall());
            envelope.origin.address = [192, 0, 2, client].into();
            let mut draft = scene.queue().begin(envelope).unwrap();
            draft.write(b"Subject: backup\r\n\r\n").await.unwrap();
            drop(scene.queue().enqueue(draft).await.unwrap());
        }
    }
    assert!(folded(&scene).await.is_empty(), "nine hosts, two of each");
}

#[tokio::test]
async fn a_person_lets_folded_mail_go_holds_schedules_or_deletes_it() {
    let scene = scene();
    let bans = bans(&scene, 9).await;
    assert_eq!(leave(&scene).await.len(), 2);
    let queue = scene.queue();
    let later = scene.clock.wall().after(MINUTE * 60);
    assert_eq!(queue.release(bans[2], &ANY()).await, Ok(1));
    assert_eq!(queue.retry(bans[3], scene.clock.wall()).await, Ok(1));
    assert_eq!(queue.keep(bans[4], &ANY()).await, Ok(1));
    assert_eq!(queue.schedule(bans[5], later, &ANY()).await, Ok(1));
    queue.delete(bans[6]).await.unwrap();
    assert_eq!(queue.release(bans[7], &Only::with("folded")).await, Ok(1));
    let along = Only::found(&"subject:banned".parse().unwrap(), true);
    let spared = queue.retry_only(bans[8], scene.clock.wall(), &along).await;
    assert_eq!(spared, Err(QueueError::OtherState(bans[8])), "not along with the rest");
    assert_eq!(leave(&scene).await, [bans[2], bans[3], bans[7]]);
    scene.clock.advance(MINUTE * 61);
    assert_eq!(leave(&scene).await, [bans[5]]);
    assert_eq!(queue.release(bans[4], &ANY()).await, Ok(1));
    assert_eq!(leave(&scene).await, [bans[4]]);
    assert_eq!(folded(&scene).await, [bans[8]]);
}

#[tokio::test]
async fn a_restart_goes_on_with_the_storm_and_a_lost_index_finds_it_in_the_files() {
    let mut scene = scene();
    let bans = bans(&scene, 5).await;
    scene.restart(|_| ()).await;
    let next = accept(&scene, "banned 192.0.2.99").await;
    assert!(is_folded(&scene, next).await, "the storm goes on");
    scene.restart_without_index().await;
    assert_eq!(leave(&scene).await, bans[..2]);
    assert_eq!(folded(&scene).await, [&bans[2..], &[next]].concat());
    let next = accept(&scene, "banned 192.0.2.100").await;
    assert!(is_folded(&scene, next).await);
    scene.clock.advance(MINUTE * 10);
    let [due] = scene.queue().storms_due()[..] else { panic!("one storm is over") };
    assert_eq!((due.id, due.is_over, due.folded), (bans[2], true, 5));
}

#[tokio::test]
async fn a_schedule_outlives_the_index_and_a_release_does_not() {
    let mut scene = scene();
    let bans = bans(&scene, 4).await;
    assert_eq!(leave(&scene).await.len(), 2);
    let later = scene.clock.wall().after(MINUTE * 60);
    assert_eq!(scene.queue().schedule(bans[2], later, &ANY()).await, Ok(1));
    assert_eq!(scene.queue().release(bans[3], &ANY()).await, Ok(1));
    scene.restart_without_index().await;
    assert_eq!((is_folded(&scene, bans[2]).await, is_folded(&scene, bans[3]).await), (false, true));
}

#[tokio::test]
async fn what_was_told_ends_when_it_was_kept_for_long_enough_and_nothing_else_does() {
    let scene = scene();
    let bans = bans(&scene, 6).await;
    assert_eq!(leave(&scene).await.len(), 2);
    let queue = scene.queue();
    queue.mark_told(&bans[2..4], scene.clock.wall()).await.unwrap();
    queue.mark_told(&bans[..1], scene.clock.wall()).await.unwrap();
    assert_eq!(queue.release(bans[3], &ANY()).await, Ok(1));
    assert_eq!(queue.forget_folded(scene.clock.wall()).await, Ok(0));
    scene.clock.advance(MINUTE * 60 * 24 * 30);
    assert_eq!(queue.forget_folded(scene.clock.wall().before(MINUTE)).await, Ok(1));
    assert_eq!(folded(&scene).await, bans[4..]);
    let ended = queue.finished(bans[2]).await.unwrap().unwrap();
    assert_eq!(ended.record.end.unwrap().how.name(), "folded");
    assert!(matches!(ended.record.recipients[0].state, RecipientState::Queued { .. }));
}

#[tokio::test]
async fn zero_turns_folding_off_while_it_runs() {
    let scene = scene();
    let mut options = scene.options.clone();
    options.storms.terms.after = 0;
    scene.queue().set_room(&options);
    bans(&scene, 9).await;
    assert!(folded(&scene).await.is_empty());
}

#[tokio::test]
async fn a_rule_says_whether_mail_is_folded_whoever_gets_it() {
    for (admin, storm, number) in [("boss@example.net", true, 3), ("a@example.net", false, 0)] {
        let mut scene = scene();
        scene.options.storms.admin = Some(admin.parse().unwrap());
        scene.restart(|_| ()).await;
        for _ in 0..5 {
            let mut draft = scene.queue().begin(envelope(scene.clock.wall())).unwrap();
            draft.write(b"Subject: backup\r\n\r\n").await.unwrap();
            draft.ruled(Ruled { storm: Some(storm), ..Ruled::default() });
            drop(scene.queue().enqueue(draft).await.unwrap());
        }
        assert_eq!(folded(&scene).await.len(), number, "{storm}");
    }
}
