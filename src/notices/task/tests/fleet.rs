//! The notice of a spent day where several hosts spend it.

use super::*;
use crate::{
    budget::Limit,
    fleet::{Share, tests::memory::InMemory},
    notices::Day,
};

/// What the account may spend, and what of it is for mail that is neither urgent nor a notice.
const DAY: Limit = Limit::of(8);
const OTHERS: Limit = Limit::of(6);

/// A host of a fleet, at which a message waits.
struct Host {
    scene: Scene,
    share: Arc<Share>,
}

impl Host {
    async fn new(books: &InMemory, clock: &ManualClock, name: &str) -> Self {
        let mut scene = Scene::at(clock.clone(), false);
        let account = AccountKey::MAIN;
        Arc::make_mut(&mut scene.notifier.options).days =
            vec![Day { account, name: None, limit: DAY, others: OTHERS }];
        let share = books.share(name);
        let shares = [(account, Arc::clone(&share))].into();
        let Scene { clock, store, notifier } = scene;
        let scene = Scene { clock, store, notifier: notifier.sharing(shares) };
        accept(&scene, None).await;
        Self { scene, share }
    }

    /// Looks, and gives the notices that it has queued so far, in one line each.
    async fn look(&mut self, books: &InMemory) -> Vec<String> {
        books.look(&self.share, 0, OTHERS).await;
        self.scene.notifier.look().await.unwrap();
        let texts = self.scene.notices().await;
        texts.into_iter().map(|(_, text)| text.replace("=\r\n", "").replace("\r\n", " ")).collect()
    }
}

#[tokio::test]
async fn one_host_tells_for_all_that_the_day_is_spent_by_what_all_have_spent() {
    let clock = ManualClock::new(Timestamp(1_800_000_000_000));
    let books = InMemory::new(&clock);
    let mut first = Host::new(&books, &clock, "first").await;
    let mut second = Host::new(&books, &clock, "second").await;
    books.has_spent(5).await;
    assert!(first.look(&books).await.is_empty(), "one more may leave");
    books.has_spent(7).await;
    let told = first.look(&books).await;
    let [text] = &told[..] else { panic!("it has sent nothing itself: {told:?}") };
    for words in [
        "may write to 8 recipients in any 24 hours, together with the other hosts of the fleet. 7 are spent, 7 of them by \
         other hosts, and what is left is kept for urgent mail and notices: mail to 1 recipient waits.",
        "Mail leaves again at 2027-01-16T08:00:00Z",
        "from one host for all",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    for _ in 0..20 {
        assert_eq!((first.look(&books).await.len(), second.look(&books).await.len()), (1, 0));
        clock.advance(Duration::from_secs(3_600));
    }
    clock.advance(Duration::from_secs(4 * 3_600));
    books.has_spent(7).await;
    assert_eq!(second.look(&books).await.len(), 1, "the next day is another's to tell");
    assert_eq!(first.look(&books).await.len(), 1);
}

#[tokio::test]
async fn a_host_that_dies_when_it_is_about_to_tell_leaves_it_to_the_others_after_a_while() {
    let clock = ManualClock::new(Timestamp(1_800_000_000_000));
    let books = InMemory::new(&clock);
    let mut living = Host::new(&books, &clock, "living").await;
    books.has_spent(6).await;
    let dead = books.share("dead");
    assert_eq!(dead.take_notice(Duration::from_secs(15 * 60)).await, Ok(None));
    assert!(living.look(&books).await.is_empty());
    clock.advance(Duration::from_secs(15 * 60 - 1));
    assert!(living.look(&books).await.is_empty());
    clock.advance(Duration::from_secs(1));
    assert_eq!(living.look(&books).await.len(), 1);
}

#[tokio::test]
async fn while_the_books_cannot_be_asked_nobody_tells_of_a_day_that_nobody_knows() {
    let clock = ManualClock::new(Timestamp(1_800_000_000_000));
    let books = InMemory::new(&clock);
    let mut host = Host::new(&books, &clock, "host").await;
    books.has_spent(6).await;
    books.look(&host.share, 0, OTHERS).await;
    books.are_away(true);
    assert!(host.look(&books).await.is_empty());
    books.are_away(false);
    assert_eq!(host.look(&books).await.len(), 1);
}
