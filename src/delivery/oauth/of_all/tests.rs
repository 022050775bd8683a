//! Hosts that have a token in common, over books in memory.

use std::sync::atomic::AtomicUsize;

use tokio::{
    sync::Notify,
    task::{JoinSet, yield_now},
};

use super::{super::seal, *};
use crate::{clock::ManualClock, fleet::tests::memory::InMemory};

const HOUR: Duration = Duration::from_secs(3_600);

/// The books, and who gives tokens: each is another.
struct Scene {
    clock: ManualClock,
    books: InMemory,
    asked: AtomicUsize,
    /// Whoever asks waits for this.
    is_slow: AtomicBool,
    answers: Notify,
}

type Token = (Secret, Timestamp);

impl Scene {
    fn new() -> Arc<Self> {
        let clock = ManualClock::new(Timestamp(1_800_000_000_000));
        let books = InMemory::new(&clock);
        let (asked, is_slow, answers) = Default::default();
        Arc::new(Self { clock, books, asked, is_slow, answers })
    }

    fn host(&self) -> Arc<Common> {
        Arc::new(Common::new(self.books.vault(), Arc::new(self.clock.clone())))
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    async fn fetch(&self) -> Result<Token, TokenError> {
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        if self.is_slow.load(Ordering::SeqCst) {
            self.answers.notified().await;
        }
        Ok((token(number), self.clock.wall().after(HOUR)))
    }

    async fn have(&self, host: &Common, refused: Option<&Secret>) -> Had<Token> {
        self.have_with(host, "secret", (None, refused)).await
    }

    async fn have_with(
        &self,
        host: &Common,
        secret: &str,
        known: (Option<Token>, Option<&Secret>),
    ) -> Had<Token> {
        let seal = seal::of_secret(secret);
        host.have(&seal, known, self.fetch(), Clone::clone).await.expect("tokens are given")
    }

    /// Time passes for hosts that wait, in the steps in which they look.
    async fn pass(&self, time: Duration) {
        let mut left = time;
        while !left.is_zero() {
            let step = left.min(LOOK_EVERY);
            for _ in 0..20 {
                yield_now().await;
            }
            self.clock.advance(step);
            left -= step;
        }
        for _ in 0..20 {
            yield_now().await;
        }
    }
}

fn token(number: usize) -> Secret {
    Secret::new(format!("token {number}"))
}

fn of_all(had: Had<Token>) -> OfAll {
    match had {
        Had::OfAll(token) | Had::Fetched(_, Some(token)) => token,
        other => panic!("{other:?}"),
    }
}

/// A host in a task of its own.
struct Waiting(JoinSet<Had<Token>>);

impl Waiting {
    fn new(scene: &Arc<Scene>, host: &Arc<Common>) -> Self {
        let (scene, host) = (Arc::clone(scene), Arc::clone(host));
        let mut task = JoinSet::new();
        task.spawn(async move { scene.have(&host, None).await });
        Self(task)
    }

    fn is_over(&mut self) -> bool {
        self.0.try_join_next().is_some()
    }

    async fn token(mut self) -> Secret {
        of_all(self.0.join_next().await.expect("a task").expect("no panic")).secret
    }
}

#[tokio::test]
async fn one_host_fetches_a_token_and_all_use_it_until_its_end() {
    let scene = Scene::new();
    let (first, second) = (scene.host(), scene.host());
    assert!(matches!(scene.have(&first, None).await, Had::Fetched(_, Some(_))));
    scene.clock.advance(HOUR / 2);
    for host in [&second, &first] {
        let Had::OfAll(found) = scene.have(host, None).await else { panic!("it is there") };
        assert_eq!((found.secret, scene.asked()), (token(1), 1));
        assert_eq!(found.use_until, scene.clock.wall().after(HOUR / 2));
    }
    scene.clock.advance(HOUR / 2);
    assert_eq!(of_all(scene.have(&second, None).await).secret, token(2));
    assert_eq!(of_all(scene.have(&first, None).await).secret, token(2));
    assert_eq!(scene.asked(), 2);
}

#[tokio::test]
async fn while_one_host_fetches_the_others_wait_for_its_token() {
    let scene = Scene::new();
    scene.is_slow.store(true, Ordering::SeqCst);
    let first = Waiting::new(&scene, &scene.host());
    scene.pass(LOOK_EVERY).await;
    let mut others = [scene.host(), scene.host()].each_ref().map(|host| Waiting::new(&scene, host));
    scene.pass(Duration::from_secs(20)).await;
    assert!(others.iter_mut().all(|other| !other.is_over()));
    scene.answers.notify_one();
    scene.pass(LOOK_EVERY * 2).await;
    assert_eq!(first.token().await, token(1));
    for other in others {
        assert_eq!(other.token().await, token(1));
    }
    assert_eq!(scene.asked(), 1);
}

#[tokio::test]
async fn when_the_host_that_fetches_dies_the_next_one_fetches_after_a_while() {
    let scene = Scene::new();
    scene.is_slow.store(true, Ordering::SeqCst);
    let dies = Waiting::new(&scene, &scene.host());
    scene.pass(LOOK_EVERY).await;
    drop(dies);
    scene.is_slow.store(false, Ordering::SeqCst);
    let mut next = Waiting::new(&scene, &scene.host());
    scene.pass(FETCH_TIME - LOOK_EVERY * 2).await;
    assert!(!next.is_over());
    scene.pass(LOOK_EVERY * 3).await;
    assert_eq!((next.token().await, scene.asked()), (token(2), 2));
}

#[tokio::test]
async fn a_host_that_cannot_fetch_leaves_it_to_the_next_one_at_once() {
    let scene = Scene::new();
    let (first, second) = (scene.host(), scene.host());
    let down = async { Err(TokenError::temporary("the endpoint is down")) };
    let seal = seal::of_secret("secret");
    let had = first.have(&seal, (None, None), down, <Token as Clone>::clone);
    assert_eq!(had.await.unwrap_err().reason, "the endpoint is down");
    assert_eq!(of_all(scene.have(&second, None).await).secret, token(1));
}

#[tokio::test]
async fn hosts_with_another_refresh_token_fetch_for_themselves_and_leave_the_others_alone() {
    let scene = Scene::new();
    let (first, rotated) = (scene.host(), scene.host());
    scene.have(&first, None).await;
    let had = scene.have_with(&rotated, "the next secret", (None, None)).await;
    assert_eq!((of_all(had).secret, scene.asked()), (token(2), 2));
    assert_eq!(of_all(scene.have(&first, None).await).secret, token(1));
    assert!(!rotated.is_told.load(Ordering::Relaxed), "nothing is wrong");
}

#[tokio::test]
async fn a_token_that_somebody_has_changed_is_not_used_and_fetched_anew_which_is_said_once() {
    let scene = Scene::new();
    let (first, second) = (scene.host(), scene.host());
    scene.have(&first, None).await;
    scene.books.tamper_with_tokens();
    assert_eq!(of_all(scene.have(&second, None).await).secret, token(2));
    assert!(second.is_told.load(Ordering::Relaxed));
    assert_eq!(of_all(scene.have(&first, None).await).secret, token(2));
    assert_eq!(of_all(scene.have(&second, None).await).secret, token(2));
    assert!(!second.is_told.load(Ordering::Relaxed), "the next time is said anew");
}

#[tokio::test]
async fn a_refused_token_is_used_by_nobody_again_and_fetched_anew_once() {
    let scene = Scene::new();
    let hosts = [scene.host(), scene.host(), scene.host()];
    let [first, second, third] = &hosts;
    let refused = of_all(scene.have(first, None).await);
    assert_eq!(of_all(scene.have(second, None).await), refused);
    // Both have seen the refusal, and one of them says so when there is a newer one already.
    first.refuse(&refused).await;
    assert_eq!(of_all(scene.have(third, None).await).secret, token(2), "who has not seen it");
    second.refuse(&refused).await;
    for host in &hosts {
        assert_eq!(of_all(scene.have(host, Some(&refused.secret)).await).secret, token(2));
    }
    assert_eq!(scene.asked(), 2);
    // A host that could not say it fetches upon it all the same.
    let second_token = token(2);
    assert_eq!(of_all(scene.have(first, Some(&second_token)).await).secret, token(3));
    assert_eq!(of_all(scene.have(second, Some(&second_token)).await).secret, token(3));
    assert_eq!(scene.asked(), 3);
}

#[tokio::test]
async fn while_the_others_cannot_be_asked_a_host_uses_what_it_has_or_fetches_for_itself() {
    let scene = Scene::new();
    let host = scene.host();
    scene.books.are_away(true);
    let own = (Secret::new("own".into()), scene.clock.wall().after(HOUR));
    let had = scene.have_with(&host, "secret", (Some(own.clone()), None)).await;
    assert!(matches!(had, Had::AtHand));
    assert!(matches!(scene.have(&host, None).await, Had::Fetched(_, None)));
    scene.books.are_away(false);
    // What it has had alone is everybody's from then on.
    let had = scene.have_with(&host, "secret", (Some(own), None)).await;
    assert_eq!(of_all(had).secret, Secret::new("own".into()));
    let other = scene.host();
    assert_eq!(of_all(scene.have(&other, None).await).secret, Secret::new("own".into()));
    assert_eq!(scene.asked(), 1);
}
