//! Verbs for one recipient of a message: the others go on, and what was answered outlives a kill.

use super::*;
use crate::{
    clock::Clock as _,
    queue::{
        Outcome, Settlement,
        ending::Ending,
        fixtures::{LIMITS, Scene, envelope},
        fold::Fold,
        record::MessageRecord,
    },
};

const ALL: [&str; 3] = ["a@example.net", "b@example.net", "c@example.net"];

/// A message to all of them.
async fn accept(scene: &Scene) -> QueueId {
    let mut envelope = envelope(scene.clock.wall());
    envelope.forward_paths = ALL.map(|address| address.parse().unwrap()).to_vec();
    let mut draft = scene.queue().begin(envelope).unwrap();
    draft.write(b"Subject: toner\r\n\r\nlow\r\n").await.unwrap();
    scene.queue().enqueue(draft).await.unwrap().id()
}

fn alone(address: &str) -> Only {
    Only { recipient: Some(address.parse().unwrap()), ..Only::default() }
}

async fn states(scene: &Scene, id: QueueId) -> Vec<&'static str> {
    let message = scene.queue().show(id).await.unwrap().unwrap();
    message.recipients().iter().map(|one| one.state.name()).collect()
}

/// Relays whoever is due, and says who it was.
async fn relay(scene: &Scene) -> Vec<String> {
    let claimed = scene.claim().await.unwrap();
    let reply = || Outcome::Relayed { reply: "250 2.0.0 OK".into() };
    let outcomes = claimed.recipients.iter().map(|one| (one.index, reply())).collect();
    let settlement =
        Settlement { reservation: claimed.reservation, at: scene.clock.wall(), outcomes };
    scene.queue().settle(claimed.id, settlement).await.unwrap();
    claimed.recipients.iter().map(|one| one.address.to_string()).collect()
}

#[tokio::test]
async fn one_recipient_is_held_while_the_others_leave_and_follows_them_when_it_is_released() {
    let mut scene = Scene::new();
    let id = accept(&scene).await;
    assert_eq!(scene.queue().keep(id, &alone("B@example.net")).await, Ok(1));
    scene.restart(|_| ()).await;
    assert_eq!(states(&scene, id).await, ["queued", "held", "queued"]);
    assert_eq!(relay(&scene).await, [ALL[0], ALL[2]]);
    assert!(scene.claim().await.is_err());
    assert_eq!(scene.queue().release(id, &Only::default()).await, Ok(1));
    assert!(!scene.spooled(id, "held").exists());
    assert_eq!(relay(&scene).await, [ALL[1]]);
}

#[tokio::test]
async fn a_new_index_keeps_all_of_a_message_here_of_which_one_recipient_was_held() {
    let mut scene = Scene::new();
    let id = accept(&scene).await;
    assert_eq!(scene.queue().keep(id, &alone(ALL[1])).await, Ok(1));
    scene.restart_without_index().await;
    assert_eq!(states(&scene, id).await, ["held"; 3]);
}

#[tokio::test]
async fn who_is_given_up_gets_nothing_is_told_of_nobody_tried_never_and_costs_nothing() {
    let mut scene = Scene::new();
    let id = accept(&scene).await;
    assert_eq!(scene.queue().give_up(id, &alone(ALL[1]), None).await, Ok(1));
    scene.restart(|_| ()).await;
    assert_eq!(states(&scene, id).await, ["queued", "dead", "queued"]);
    assert!(scene.queue().dead(None, 10).await.unwrap().is_empty(), "no dead letter");
    assert!(scene.queue().unnotified(10).await.unwrap().is_empty(), "nobody is told");
    assert_eq!(scene.queue().retry(id, scene.clock.wall()).await, Ok(2));
    assert_eq!(relay(&scene).await, [ALL[0], ALL[2]]);
    let ended = scene.queue().finished(id).await.unwrap().expect("it has left with the others");
    assert_eq!(ended.record.end.unwrap().how, Ending::Relayed);
    let day = scene.queue().ledger(LIMITS.account, scene.clock.now(), LIMITS.limit).await.unwrap();
    assert_eq!(day.room, 8, "of ten");
}

#[tokio::test]
async fn with_the_last_recipient_that_is_given_up_the_message_goes_and_the_history_says_by_whom() {
    let mut scene = Scene::new();
    let id = accept(&scene).await;
    assert_eq!(scene.queue().keep(id, &alone(ALL[0])).await, Ok(1));
    for address in ALL {
        let given_up = scene.queue().give_up(id, &alone(address), Some("root".into())).await;
        assert_eq!(given_up, Ok(1), "{address}");
        assert!(!scene.spooled(id, "held").exists(), "the one that was held was the first to go");
    }
    let file = scene.spooled(id, "");
    scene.restart(|_| ()).await;
    assert!(!file.exists());
    let end = scene.queue().finished(id).await.unwrap().unwrap().record.end.unwrap();
    assert_eq!((end.how, end.by.as_deref()), (Ending::Deleted, Some("root")));
}

#[tokio::test]
async fn a_verb_that_meets_nobody_or_a_worker_changes_nothing() {
    let scene = Scene::new();
    let id = accept(&scene).await;
    for only in [alone("nobody@example.net"), alone("a@example.ne")] {
        let kept = scene.queue().keep(id, &only).await;
        assert!(matches!(kept, Err(QueueError::NotAlone { .. })), "{kept:?}");
        let given_up = scene.queue().give_up(id, &only, None).await;
        assert!(matches!(given_up, Err(QueueError::NotAlone { .. })), "{given_up:?}");
    }
    assert!(!scene.spooled(id, "held").exists());
    let claimed = scene.claim().await.unwrap();
    for verdict in [
        scene.queue().keep(id, &alone(ALL[0])).await,
        scene.queue().give_up(id, &alone(ALL[0]), None).await,
    ] {
        assert_eq!(verdict, Err(QueueError::Conflict(claimed.id)));
    }
}

#[tokio::test]
async fn a_folded_message_is_not_taken_apart() {
    let scene = Scene::new();
    let id = accept(&scene).await;
    let old = scene.queue().show(id).await.unwrap().unwrap().record;
    let fold = Fold { storm: id, from: "root@nas".into(), told: None };
    let folded = MessageRecord { fold: Some(fold), ..old.clone() };
    let put = scene.queue().commit(move |batch| {
        batch.changes.put(id, Some(&old), Some(folded));
        Ok(())
    });
    put.await.unwrap();
    for verdict in [
        scene.queue().keep(id, &alone(ALL[0])).await,
        scene.queue().give_up(id, &alone(ALL[0]), None).await,
    ] {
        assert!(matches!(verdict, Err(QueueError::NotAlone { .. })), "{verdict:?}");
    }
    assert_eq!(scene.queue().keep(id, &Only::default()).await, Ok(3));
}
