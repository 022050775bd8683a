//! One host's connections over pages in memory: how long they may be used, and to whom they are given.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use crate::{
    clock::{Clock, ManualClock, Timestamp},
    fleet::{
        login_twin::LoginTwin,
        logins::{Terms, USE},
        seats::{Seat, Seating, Seats},
    },
    sync::lock,
};

const TERMS: Terms = Terms { logins: Some(4), connections: 2 };
const SECOND: Duration = Duration::from_secs(1);

struct Scene {
    clock: ManualClock,
    twin: Arc<LoginTwin>,
}

impl Scene {
    fn new() -> Self {
        let clock = ManualClock::new(Timestamp(1_800_000_000_000));
        Self { twin: Arc::new(LoginTwin::new(&clock)), clock }
    }

    fn host(&self, name: &str) -> Arc<Seats> {
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let names = ("you@gmail.com".to_owned(), name.to_owned());
        let seats =
            Seats::new((Arc::clone(&self.twin) as _, Arc::default(), Arc::default()), names, clock);
        seats.allow(TERMS);
        Arc::new(seats)
    }

    /// Logins that count, and open connections.
    fn counted(&self) -> (usize, usize) {
        let page = lock(&self.twin.page);
        let open = page.logins.values().filter(|login| login.open_until > self.twin.now());
        (page.logins.len(), open.count())
    }
}

async fn granted(seats: &Arc<Seats>) -> Seat {
    match seats.ask().await {
        Ok(Seating::Granted(seat)) => seat,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_connection_may_be_used_while_it_is_renewed_and_not_a_moment_longer() {
    let scene = Scene::new();
    let host = scene.host("a");
    let seat = granted(&host).await;
    assert!(seat.may_log_in());
    for _ in 0..10 {
        scene.clock.advance(USE - SECOND);
        assert!(seat.is_good() && host.renew_in() == Some(Duration::ZERO));
        host.renew().await;
    }
    scene.twin.is_away.store(true, Ordering::Relaxed);
    scene.clock.advance(USE);
    host.renew().await;
    assert!(!seat.is_good());
    seat.is_over().await;
    scene.twin.is_away.store(false, Ordering::Relaxed);
    // It is still this host's in the books, which nobody has been granted.
    host.renew().await;
    assert!(seat.is_good());
    scene.clock.advance(USE + 20 * SECOND);
    host.renew().await;
    assert!(!seat.is_good(), "what is over is never good again");
}

#[tokio::test]
async fn a_login_counts_when_it_was_made_and_a_connection_until_it_is_closed() {
    let scene = Scene::new();
    let host = scene.host("a");
    let (made, unmade) = (granted(&host).await, granted(&host).await);
    assert!(made.may_log_in());
    assert_eq!((scene.counted(), host.number()), ((2, 2), 2));
    drop(unmade);
    host.renew().await;
    assert_eq!((scene.counted(), host.number()), ((1, 1), 1));
    made.leaves();
    assert_eq!(host.number(), 0);
    drop(made);
    assert_eq!(host.renew_in(), Some(Duration::ZERO), "the others hear of it at once");
    host.renew().await;
    assert_eq!((scene.counted(), host.renew_in()), ((1, 0), None));
}

#[tokio::test]
async fn a_login_is_not_made_by_one_who_has_waited_too_long_with_it() {
    let scene = Scene::new();
    let host = scene.host("a");
    let seat = granted(&host).await;
    scene.clock.advance(USE);
    assert!(!seat.may_log_in());
    drop(seat);
    host.renew().await;
    assert_eq!(scene.counted(), (0, 0));
}

#[tokio::test]
async fn what_was_granted_by_an_answer_that_was_lost_is_given_back() {
    let scene = Scene::new();
    let host = scene.host("a");
    scene.twin.loses_an_answer.store(true, Ordering::Relaxed);
    assert!(host.ask().await.is_err());
    assert_eq!((scene.counted(), host.number()), ((1, 1), 0));
    drop(granted(&host).await);
    host.renew().await;
    assert_eq!(scene.counted(), (0, 0));
}

#[tokio::test]
async fn a_host_hears_that_another_one_waits_and_is_asked_for_one_connection_once() {
    let scene = Scene::new();
    let (a, b) = (scene.host("a"), scene.host("b"));
    let (one, two) = (granted(&a).await, granted(&a).await);
    assert!(one.may_log_in() && two.may_log_in());
    assert!(matches!(b.ask().await, Ok(Seating::AllInUse)));
    assert_eq!((a.workers_max(), b.workers_max()), (usize::MAX, 1));
    a.renew().await;
    a.news.notified().await;
    assert!(a.is_asked_back() && !a.is_asked_back());
    one.leaves();
    a.renew().await;
    assert!(!a.is_asked_back(), "the one that is being closed is the one");
    assert_eq!(a.workers_max(), 1);
    drop(one);
    a.renew().await;
    let of_b = granted(&b).await;
    assert!(of_b.may_log_in());
    a.renew().await;
    assert!(!a.is_asked_back() && matches!(a.ask().await, Ok(Seating::AllInUse)));
    drop(of_b);
    let _fourth = granted(&b).await;
    assert_eq!(scene.counted(), (4, 2), "{:?}", scene.twin.page);
}

#[tokio::test]
async fn a_host_knows_when_the_hour_is_spent_by_all() {
    let scene = Scene::new();
    let (a, b) = (scene.host("a"), scene.host("b"));
    for _ in 0..4 {
        let seat = granted(&a).await;
        assert!(seat.may_log_in());
        drop(seat);
    }
    let Ok(Seating::HourIsSpent { frees_in }) = b.ask().await else { panic!("it is not") };
    assert_eq!((frees_in, b.hour_is_spent_for()), (3_660 * SECOND, 3_660 * SECOND));
    assert!(!b.is_plentiful(4) && b.is_plentiful(9));
    scene.clock.advance(frees_in);
    drop(granted(&b).await);
    assert_eq!(b.hour_is_spent_for(), Duration::ZERO);
}

#[tokio::test]
async fn what_the_account_allows_is_named_by_the_next_renewal_and_what_was_heard_before_counts_no_more()
 {
    let scene = Scene::new();
    let host = scene.host("a");
    let seat = granted(&host).await;
    assert!(seat.may_log_in());
    host.renew().await;
    assert_eq!(host.hour_is_spent_for(), Duration::ZERO);
    host.allow(Terms { logins: Some(1), ..TERMS });
    host.renew().await;
    assert_eq!(host.hour_is_spent_for(), 3_660 * SECOND);
    host.allow(TERMS);
    assert_eq!(host.hour_is_spent_for(), Duration::ZERO);
}
