//! Large records, in every tree that has any: no page of sled becomes a file that sled never syncs.

use super::*;

/// Files that sled never syncs.
pub(super) fn blobs(state: &std::path::Path) -> usize {
    files_under(&state.join("queue.sled/blobs"))
}

fn addresses(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("subscriber-{number}@customers.example.net")).collect()
}

/// Claims and ends everything that is due, a hundred recipients at a time.
async fn end_all(queue: &Fixture, outcome: &Outcome) {
    let terms = ClaimLimits { limit: Limit::of(u32::MAX), ..TERMS };
    loop {
        match queue.store().claim_due(queue.clock.now(), terms).await.unwrap() {
            Claim::Message(claimed) => queue.settle(&claimed, outcome.clone()).await,
            _ => return,
        }
    }
}

/// All of the history: a page ends where it has many recipients.
async fn finished(queue: &Fixture) -> usize {
    let (mut before, mut number) = (None, 0);
    loop {
        let page = queue.store().history(before, 100).await.unwrap();
        let Some(last) = page.last() else { return number };
        before = Some(last.id);
        number += page.len();
    }
}

#[tokio::test]
async fn messages_to_hundreds_leave_nothing_that_a_power_cut_takes_back() {
    let mut queue = Fixture::sled();
    let state = state_of(&queue);
    for recipients in [200, 1, 1_000, 20] {
        let addresses = addresses(recipients);
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        for _ in 0..12 {
            queue.accept(&addresses).await;
            queue.clock.advance(Duration::from_millis(3));
        }
        end_all(&queue, &Outcome::Relayed { reply: format!("250 2.0.0 OK {}", "x".repeat(80)) })
            .await;
        assert_eq!(blobs(&state), 0, "{recipients} recipients");
    }
    assert_eq!(finished(&queue).await, 48);
    queue.crash().await;
    assert_eq!(finished(&queue).await, 48);
    let forgotten = queue.clock.wall().after(DAY);
    assert_eq!(queue.store().prune_history(forgotten).await, Ok(48));
    assert_eq!(blobs(&state), 0);
}

#[tokio::test]
async fn deleting_dead_letters_with_long_reasons_leaves_nothing_that_a_power_cut_takes_back() {
    let queue = Fixture::sled();
    let state = state_of(&queue);
    let addresses = addresses(40);
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let mut ids = Vec::new();
    for _ in 0..40 {
        ids.push(queue.accept(&addresses).await);
        queue.clock.advance(Duration::from_millis(3));
    }
    end_all(&queue, &Outcome::Dead { reply: "550-5.1.1 ".repeat(40) }).await;
    assert_eq!(blobs(&state), 0);
    for id in ids {
        queue.store().delete(id).await.unwrap();
        assert_eq!(blobs(&state), 0);
    }
}

#[tokio::test]
async fn a_page_that_sled_never_synced_is_damage_and_the_budget_is_then_unknown() {
    let mut queue = Fixture::sled();
    queue.accept(&["a@x.org"]).await;
    queue.settle(&queue.claim().await, relayed()).await;
    let waiting = queue.accept(&["b@x.org"]).await;
    queue.store().close().await;
    // The power failed: nothing of the file's content is on disk, and the copy of the ledger is not to be trusted.
    std::fs::write(state_of(&queue).join("queue.sled/blobs/1048576"), "").unwrap();
    queue.clock.reboot();
    queue.crash().await;
    let claimed = queue.claim().await;
    assert_eq!(claimed.id, waiting);
    assert!(queue.spent().await > LIMIT / 2);
    assert_eq!(blobs(&state_of(&queue)), 0);
}

#[tokio::test]
async fn an_index_that_vanished_leaves_the_budget_unknown_also_when_its_rebuilding_is_interrupted()
{
    let mut queue = Fixture::sled();
    queue.accept(&["a@x.org"]).await;
    queue.settle(&queue.claim().await, relayed()).await;
    queue.accept(&["b@x.org"]).await;
    queue.store().close().await;
    let state = state_of(&queue);
    // Moved away, and then the power failed; then it failed again over the new one.
    std::fs::rename(state.join("queue.sled"), state.join("queue.sled.bad-1")).unwrap();
    drop(sled::open(state.join("queue.sled")).unwrap());
    queue.clock.reboot();
    queue.crash().await;
    queue.clock.reboot();
    queue.crash().await;
    queue.claim().await;
    assert!(queue.spent().await > LIMIT / 2, "{}", queue.spent().await);
}
