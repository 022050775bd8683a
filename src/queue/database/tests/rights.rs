//! A queue whose role has the rights that docs/fleet.md lists, and no more.

use super::*;
use crate::{budget::AccountKey, queue::state::AccountState};

/// Days that are made ahead are dropped, so that somebody has to make them anew.
const NO_DAYS: &str = "DO $$ DECLARE day text; BEGIN
    FOR day IN SELECT relname FROM pg_class WHERE relname ~ '^history_[0-9]{8}$' AND relkind = 'r' LOOP
        EXECUTE format('DROP TABLE pillarbox.%I', day);
    END LOOP; END $$";
const DAYS: &str =
    "SELECT count(*) FROM pg_class WHERE relname ~ '^history_[0-9]{8}$' AND relkind = 'r'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rights_that_the_handbook_lists_are_enough_for_everything_that_a_queue_does() {
    let scene = Scene::new();
    Host::start(&scene, "owner").queue.close().await;
    scene.sql(NO_DAYS);
    let poor = scene.poor(true);
    let dead = Host::start_still(poor.clone(), "dead");
    assert_eq!(scene.sql(DAYS), "3", "the history of a new day");
    let (sent, left) = (dead.accept().await, dead.accept().await);
    let claimed = dead.claim().await;
    dead.queue.final_dot(sent).await.unwrap();
    dead.queue.settle(sent, relayed(&claimed)).await.unwrap();
    let state = AccountState::open(SystemClock::new().wall());
    dead.queue.set_account_state(AccountKey::MAIN, state).await.unwrap();
    dead.queue.hold(left, Timestamp(1), "asked".into()).await.unwrap();
    silence(&scene, "dead");

    let other = Host::start_by(poor.clone(), "other");
    other.state(left).await;
    let mut body = other.queue.open_message(left).await.unwrap();
    assert!(body.next_block().unwrap().is_some(), "its octets were fetched");
    assert_eq!(other.queue.history(None, 9).await.unwrap().len(), 1);
    other.queue.delete(left).await.unwrap();
    let later = SystemClock::new().wall().after(Duration::from_secs(86_400));
    other.queue.prune_history(later).await.unwrap();
    assert_eq!(
        (scene.sql(DAYS).as_str(), other.queue.history(None, 9).await.unwrap().len()),
        ("2", 0)
    );
    other.queue.close().await;
    assert_eq!(scene.sql("SELECT count(*) FROM pillarbox.queue"), "0");
}
