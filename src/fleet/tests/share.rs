//! One host's share over books in memory: what it asks, what it keeps, and when it must not send.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use crate::{
    budget::{Limit, WINDOW},
    clock::{Clock, ManualClock, Timestamp},
    fleet::{
        Claim, Fleet, OwnFile, Reserving, Share, Told, Trouble,
        books::{Books as _, Probe},
        login_twin::LoginTwin,
        tests::roll::Roll,
        twin::Twin,
    },
    live::Live,
};

const TRANSFER: Duration = Duration::from_secs(1_800);
const LIMIT: Limit = Limit::of(10);

struct Scene {
    clock: ManualClock,
    twin: Arc<Twin>,
    fleet: Fleet,
}

impl Scene {
    fn new() -> Self {
        let clock = ManualClock::new(Timestamp(1_800_000_000_000));
        let twin = Arc::new(Twin::new(&clock));
        let of_all: Arc<dyn Clock> = Arc::new(clock.clone());
        let logins = Arc::new(LoginTwin::new(&clock));
        let fleet = Fleet::over(
            (Arc::clone(&twin) as _, logins),
            (Arc::new(Roll::new(&clock)), Arc::clone(&twin) as _),
            ("one".into(), OwnFile::none()),
            &of_all,
            Live::new(None),
        );
        Self { clock, twin, fleet }
    }

    fn share(&mut self) -> Arc<Share> {
        self.fleet.share("you@gmail.com".into())
    }

    async fn spent(&self) -> u64 {
        self.twin.spent("", ("one", 0), Limit::NONE).await.unwrap().recipients
    }

    fn away(&self, is_away: bool) {
        self.twin.is_away.store(is_away, Ordering::Relaxed);
    }
}

fn claim(number: u64, recipients: u32) -> Claim {
    Claim { number, recipients, limit: LIMIT, transfer: TRANSFER, heard: 0, probe: false }
}

async fn reserve(share: &Share, number: u64, recipients: u32) -> Result<u32, Trouble> {
    match share.reserve(claim(number, recipients)).await? {
        Reserving::Granted(granted) => Ok(granted),
        Reserving::Full => Ok(0),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_host_that_stood_still_before_it_read_the_answer_waits_no_longer_for_that() {
    let mut scene = Scene::new();
    let share = scene.share();
    assert_eq!(reserve(&share, 1, 10).await, Ok(10));
    share.settle(1, 10).await;
    let frees_at = scene.clock.wall().after(WINDOW);
    scene.twin.stands_still_ms.store(7_200_000, Ordering::Relaxed);
    let known = share.elsewhere(0, LIMIT).await.unwrap();
    assert_eq!((known.spent, known.frees_at), (10, Some(frees_at)));
}

#[tokio::test]
async fn what_a_host_had_spent_alone_counts_for_all_from_its_first_question_on_and_once() {
    let mut scene = Scene::new();
    let share = scene.share();
    for _ in 0..2 {
        assert_eq!(share.elsewhere(4, LIMIT).await.unwrap().spent, 0);
        assert_eq!(scene.spent().await, 4);
    }
    assert_eq!(scene.share().elsewhere(4, LIMIT).await.unwrap().spent, 0, "after a restart");
    assert_eq!(scene.spent().await, 4);
}

#[tokio::test]
async fn what_is_refused_comes_back_and_what_is_relayed_counts_for_a_day() {
    let mut scene = Scene::new();
    let share = scene.share();
    assert_eq!(reserve(&share, 1, 7).await, Ok(7));
    assert_eq!(reserve(&share, 2, 7).await, Ok(3), "as many as there is room for");
    assert_eq!(reserve(&share, 3, 1).await, Ok(0));
    share.settle(1, 2).await;
    share.settle(2, 0).await;
    share.settle(3, 1).await;
    assert_eq!(scene.spent().await, 2);
    let full = share.elsewhere(0, Limit::of(2)).await.unwrap();
    assert_eq!((full.spent, full.frees_at), (2, Some(scene.clock.wall().after(WINDOW))));
    scene.clock.advance(WINDOW);
    assert_eq!(scene.spent().await, 0);
}

#[tokio::test]
async fn a_settlement_that_the_books_do_not_hear_is_brought_when_they_are_back() {
    let mut scene = Scene::new();
    let share = scene.share();
    assert_eq!(reserve(&share, 1, 7).await, Ok(7));
    scene.away(true);
    share.settle(1, 3).await;
    assert!(share.elsewhere(0, LIMIT).await.is_err());
    assert!(reserve(&share, 2, 1).await.is_err());
    let away = share.status().away.expect("it is away");
    assert_eq!(away.reason, "the database is away");
    scene.away(false);
    share.look_after().await;
    assert_eq!((scene.spent().await, share.status().away), (3, None));
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_given_back() {
    let mut scene = Scene::new();
    let share = scene.share();
    scene.twin.loses_an_answer.store(true, Ordering::Relaxed);
    assert!(reserve(&share, 1, 7).await.is_err());
    assert_eq!(scene.spent().await, 7);
    assert!(!share.may_send(1));
    assert_eq!(share.elsewhere(0, LIMIT).await.unwrap().spent, 0);
}

#[tokio::test]
async fn a_host_that_comes_back_after_its_lease_sends_nothing_and_gives_nothing_back() {
    let mut scene = Scene::new();
    let share = scene.share();
    assert_eq!(reserve(&share, 1, 7).await, Ok(7));
    assert!(share.may_send(1) && !share.may_send(2));
    scene.clock.advance(TRANSFER + Duration::from_millis(1));
    assert!(!share.may_send(1), "its answer could come after the lease");
    scene.clock.advance(TRANSFER);
    share.settle(1, 0).await;
    assert_eq!(scene.spent().await, 7, "uncertain, and spent");
    scene.clock.advance(WINDOW);
    assert_eq!(scene.spent().await, 0);
}

#[tokio::test]
async fn a_step_of_a_hosts_own_clock_frees_nothing_and_prolongs_nothing() {
    let mut scene = Scene::new();
    let share = scene.share();
    assert_eq!(reserve(&share, 1, 10).await, Ok(10));
    for wall in [scene.clock.wall().after(2 * WINDOW), scene.clock.wall().before(2 * WINDOW)] {
        scene.clock.set_wall(wall);
        assert_eq!(share.elsewhere(0, LIMIT).await.unwrap().spent, 10);
        assert!(share.may_send(1));
        assert_eq!(reserve(&share, 2, 1).await, Ok(0));
    }
}

#[tokio::test]
async fn no_claim_is_granted_to_a_host_that_has_not_heard_the_last_word() {
    let mut scene = Scene::new();
    let (share, other) = (scene.share(), scene.share());
    let now = scene.clock.wall();
    assert_eq!(other.tell(0, ("paused", now)).await, Ok(Told::Taken(1)));
    assert_eq!(share.reserve(claim(1, 1)).await, Ok(Reserving::Unheard));
    assert_eq!(scene.spent().await, 0);
    let word = share.take_word().expect("it came with the refusal");
    assert_eq!((word.number, word.text.as_str()), (1, "paused"));
    assert!(matches!(share.tell(0, ("open", now)).await, Ok(Told::Late(late)) if late == word));
    let asked = Claim { heard: 1, ..claim(1, 1) };
    assert_eq!(share.reserve(asked).await, Ok(Reserving::Granted(1)));
}

#[tokio::test]
async fn one_host_has_the_probe_until_it_is_settled_or_its_lease_ends() {
    let mut scene = Scene::new();
    let (share, other) = (scene.share(), scene.share());
    let probe = |number| Claim { probe: true, ..claim(number, 1) };
    assert_eq!(share.reserve(probe(1)).await, Ok(Reserving::Granted(1)));
    let Ok(Reserving::ProbeIsOut(Probe { host, ends_in })) = other.reserve(probe(1)).await else {
        panic!("there are two");
    };
    assert_eq!((host.as_str(), ends_in), ("one", TRANSFER + Duration::from_secs(1_200)));
    share.settle(1, 0).await;
    assert_eq!(other.reserve(probe(2)).await, Ok(Reserving::Granted(1)));
    scene.clock.advance(ends_in);
    assert_eq!(share.reserve(probe(3)).await, Ok(Reserving::Granted(1)), "the other one is gone");
    other.settle(2, 0).await;
    assert!(matches!(other.reserve(probe(4)).await, Ok(Reserving::ProbeIsOut(_))));
}

#[tokio::test]
async fn a_probe_whose_finding_could_not_be_told_is_not_over_for_the_others() {
    let mut scene = Scene::new();
    let (share, other) = (scene.share(), scene.share());
    let probe = |number| Claim { probe: true, ..claim(number, 1) };
    assert_eq!(share.reserve(probe(1)).await, Ok(Reserving::Granted(1)));
    share.owes_a_word(true);
    share.settle(1, 1).await;
    share.look_after().await;
    assert!(matches!(other.reserve(probe(1)).await, Ok(Reserving::ProbeIsOut(_))));
    share.owes_a_word(false);
    share.look_after().await;
    assert_eq!(other.reserve(probe(1)).await, Ok(Reserving::Granted(1)));
}
