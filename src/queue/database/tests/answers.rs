//! Commits whose answer is lost: the database has done what it was asked, and nobody has heard so.

use super::*;
use crate::{
    fleet::tests::scene::network::{Loss, Network},
    queue::{QueueError, incoming::IncomingMessage},
};

const COMMIT: &str = "COMMIT\0";
/// What is said before the commit of a message that comes in, of a claim, of a note that the final dot is about to be sent,
/// and of a settlement.
const KEEP: &str = "INSERT INTO pillarbox.body";
const CLAIM: &str = "INSERT INTO pillarbox.message AS kept";
const DOT: &str = "SET dot = true";
const SETTLE: &str = "INSERT INTO pillarbox.history";

struct Stage {
    scene: Scene,
    network: Network,
    host: Host,
}

impl Stage {
    fn new() -> Self {
        let scene = Scene::new();
        let network = scene.network();
        let host = Host::start_by(scene.options_by(network.port), "a");
        Self { scene, network, host }
    }

    fn draft(&self) -> IncomingMessage {
        self.host.queue.begin(envelope(SystemClock::new().wall())).unwrap()
    }

    /// Takes a claim again and again until there is one.
    async fn claim(&self) -> ClaimedMessage {
        until("it is never claimed", async || {
            match self.host.queue.claim_due(SystemClock::new().now(), LIMITS).await {
                Ok(Claim::Message(claimed)) => Ok(claimed),
                other => Err(other),
            }
        })
        .await
    }

    /// Waits until the queue is open again.
    async fn reopened(&self) {
        until_so("it stays closed", async || !self.host.queue.shared.is_in_trouble()).await;
    }

    async fn until(&self, sql: &str, expected: &str) {
        until(sql, async || {
            let found = self.scene.sql(sql);
            if found == expected { Ok(()) } else { Err(found) }
        })
        .await;
    }
}

const MESSAGES: &str = "SELECT count(*) FROM pillarbox.message";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_whose_client_was_told_that_it_was_not_taken_is_nobodys_mail_after_a_clean_stop()
{
    let stage = Stage::new();
    stage.network.lose((KEEP, COMMIT), Loss::Cut);
    let refused = stage.host.queue.enqueue(stage.draft()).await.unwrap_err();
    assert!(matches!(refused, QueueError::Unavailable(_)) && stage.network.has_lost(), "{refused}");
    assert_eq!(stage.scene.sql(MESSAGES), "1", "the database has it");
    assert_eq!(stage.host.queue.totals().messages, 0);
    stage.host.queue.close().await;
    assert_eq!(stage.scene.sql(MESSAGES), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_whose_client_has_not_heard_yet_is_no_mail_of_an_index_that_is_opened_anew() {
    let stage = Stage::new();
    stage.host.accept().await;
    stage.network.lose((KEEP, COMMIT), Loss::Silence);
    let draft = stage.draft();
    let bring = stage.host.queue.enqueue(draft);
    let meanwhile = async {
        stage.until(MESSAGES, "2").await;
        assert!(stage.network.has_lost());
        stage.network.lose((CLAIM, COMMIT), Loss::Cut);
        let now = SystemClock::new().now();
        stage.host.queue.claim_due(now, LIMITS).await.unwrap_err();
        stage.reopened().await;
        assert_eq!(stage.scene.sql(MESSAGES), "2", "it is still there");
        assert_eq!(stage.host.queue.totals().messages, 1);
        stage.claim().await;
        let other = stage.host.queue.claim_due(now, LIMITS).await.unwrap();
        assert!(matches!(other, Claim::Idle { .. }), "{other:?}");
    };
    let (brought, ()) = tokio::join!(bring, meanwhile);
    brought.unwrap_err();
    stage.until(MESSAGES, "1").await;
    stage.host.queue.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_nobody_has_heard_of_is_given_up_and_its_message_claimed_again() {
    let stage = Stage::new();
    let id = stage.host.accept().await;
    stage.network.lose((CLAIM, COMMIT), Loss::Cut);
    stage.host.queue.claim_due(SystemClock::new().now(), LIMITS).await.unwrap_err();
    assert!(stage.network.has_lost());
    let claimed = stage.claim().await;
    assert_eq!(claimed.id, id);
    assert!(!claimed.recipients[0].resend, "{claimed:?}");
    stage.host.queue.final_dot(id).await.unwrap();
    stage.host.queue.settle(id, relayed(&claimed)).await.unwrap();
    assert_eq!(stage.scene.sql(MESSAGES), "0");
    stage.host.queue.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_fails_again_and_again_in_claims_keeps_no_message_for_minutes() {
    let stage = Stage::new();
    let id = stage.host.accept().await;
    for _ in 0..3 {
        stage.network.lose((CLAIM, COMMIT), Loss::Cut);
        until_so("it is never claimed", async || {
            drop(stage.host.queue.claim_due(SystemClock::new().now(), LIMITS).await);
            stage.network.has_lost()
        })
        .await;
        stage.reopened().await;
    }
    let claim = stage.host.queue.claim_due(SystemClock::new().now(), LIMITS).await.unwrap();
    let Claim::Idle { next: Some(next) } = claim else { panic!("{claim:?}") };
    let wait = next.since(SystemClock::new().wall());
    assert!(wait < Duration::from_secs(10), "{id} waits {wait:?}");
    stage.host.queue.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_final_dot_is_not_sent_when_nobody_has_heard_that_it_was_noted_and_the_next_attempt_is_a_first_one()
 {
    let stage = Stage::new();
    let id = stage.host.accept().await;
    let claimed = stage.host.claim().await;
    stage.network.lose((DOT, COMMIT), Loss::Cut);
    stage.host.queue.final_dot(id).await.unwrap_err();
    let dots = "SELECT count(*) FROM pillarbox.message WHERE dot";
    assert!(stage.network.has_lost());
    assert_eq!(stage.scene.sql(dots), "1", "the database has it");
    let outcomes = vec![(0, Outcome::NotTried { until: None })];
    let at = SystemClock::new().wall();
    let untried = Settlement { reservation: claimed.reservation, at, outcomes };
    stage.host.queue.settle(id, untried).await.unwrap();
    assert_eq!(stage.scene.sql(dots), "0");
    let again = stage.claim().await;
    assert!(again.id == id && !again.recipients[0].resend, "{again:?}");
    stage.host.queue.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settlement_that_nobody_has_heard_of_holds_and_is_offered_again_without_harm() {
    let stage = Stage::new();
    let id = stage.host.accept().await;
    let claimed = stage.host.claim().await;
    stage.host.queue.final_dot(id).await.unwrap();
    stage.network.lose((SETTLE, COMMIT), Loss::Cut);
    stage.host.queue.settle(id, relayed(&claimed)).await.unwrap_err();
    assert!(stage.network.has_lost());
    stage.reopened().await;
    let again = stage.host.queue.settle(id, relayed(&claimed)).await;
    assert!(matches!(again, Err(QueueError::NotFound(_))), "{again:?}");
    let now = SystemClock::new().now();
    let none = stage.host.queue.claim_due(now, LIMITS).await.unwrap();
    assert!(matches!(none, Claim::Idle { .. }), "{none:?}");
    let ends =
        "SELECT (SELECT count(*) FROM pillarbox.message), (SELECT count(*) FROM pillarbox.history)";
    assert_eq!(stage.scene.sql(ends), "0|1");
    stage.host.queue.close().await;
}
