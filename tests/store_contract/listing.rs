//! Pages of messages: bounded in recipients, not in messages alone.

use super::*;

contract! {
    async fn a_page_ends_after_some_thousand_recipients_and_the_next_one_goes_on(mut queue) {
        let addresses: Vec<String> =
            (0..1_000).map(|number| format!("r{number}@example.org")).collect();
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let mut accepted = Vec::new();
        for _ in 0..12 {
            accepted.push(queue.accept(&addresses).await);
            queue.clock.advance(Duration::from_millis(3));
        }
        let store = queue.store();
        let (mut after, mut seen, mut longest) = (None, Vec::new(), 0);
        loop {
            let page = store.list(after, 1_000).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            longest = longest.max(page.iter().map(|one| one.recipients().len()).sum());
            seen.extend(page.iter().map(|message| message.id));
        }
        assert_eq!(seen, accepted, "nothing is left out");
        assert_eq!(longest, 5_000, "whatever number of messages was asked for");
    }
}
