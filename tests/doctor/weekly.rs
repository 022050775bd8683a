//! The weekly report of the whole daemon, on a clock that is moved.

use std::{fs, time::Duration};

use serde_json::{Value, json};

use super::daily::Told;
use crate::support::daemon::within;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
/// How long nothing must happen.
const QUIET: Duration = Duration::from_millis(700);

/// What is kept of the reports.
fn kept(told: &Told) -> Value {
    let path = told.home.state().join("report.json");
    let text = fs::read_to_string(path).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

fn keep(told: &Told, kept: &Value) {
    let path = told.home.state().join("report.json");
    fs::write(path, kept.to_string()).unwrap();
}

fn reports(told: &Told) -> usize {
    let all = told.sandbox.mailbox().accepted();
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    all.iter().filter(|one| text(&one.body).contains("Subject: relay.example.org: ")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_comes_once_a_week_over_restarts_at_its_hour_and_kills_on_either_side_of_the_queue()
 {
    let told = Told::new("[report]\nenabled = true\n").await;
    let running = told.start().await;
    assert!(within(MINUTE / 2, || kept(&told)["counts_since"].is_i64()), "{}", kept(&told));
    told.clock.advance(MINUTE);
    assert!(!within(QUIET, || reports(&told) > 0), "turned on just now: not before its hour");
    told.advance_until(9, DAY, || kept(&told)["queued"].is_i64());
    told.advance_until(3, MINUTE, || reports(&told) == 1);
    let first = kept(&told);
    assert!(first["pending"].is_null(), "{first}");
    told.advance_until(9, DAY, || kept(&told)["queued"] != first["queued"]);
    told.advance_until(3, MINUTE, || reports(&told) == 2);
    let second = kept(&told);
    let apart = second["queued"].as_i64().unwrap() - first["queued"].as_i64().unwrap();
    assert!(apart >= 6 * 86_400_000, "{first} {second}");

    // Off at the hour of the third week: it comes soon after the start.
    running.stop().await;
    told.clock.advance(8 * DAY);
    let running = told.start().await;
    told.advance_until(4, 5 * MINUTE, || kept(&told)["queued"] != second["queued"]);
    told.advance_until(3, MINUTE, || reports(&told) == 3);

    // Killed after it was queued and before that was kept: it is not queued again.
    let third = kept(&told);
    let history: Value = serde_json::from_str(&told.say(&["history", "list", "--json"])).unwrap();
    let newest = &history["messages"][0];
    let id = newest["id"].clone();
    assert_eq!(newest["lane"], "bulk", "{newest}");
    running.stop().await;
    let mut pending = second.clone();
    pending["pending"] = json!({ "id": id, "at": third["queued"] });
    keep(&told, &pending);
    let running = told.start().await;
    assert!(within(MINUTE / 2, || kept(&told) == third), "{}", kept(&told));
    told.clock.advance(11 * MINUTE);
    assert!(!within(QUIET, || reports(&told) > 3));

    // Killed after its id was kept and before it was queued: it is not missing.
    running.stop().await;
    let mut other = id.as_str().unwrap().to_owned();
    let last = if other.ends_with('0') { "4" } else { "0" };
    other.replace_range(other.len() - 1.., last);
    pending["pending"]["id"] = json!(other);
    keep(&told, &pending);
    let running = told.start().await;
    assert!(within(MINUTE / 2, || kept(&told)["pending"].is_null()), "{}", kept(&told));
    let fourth = kept(&told);
    assert!(fourth["queued"].as_i64() >= third["queued"].as_i64(), "{third} {fourth}");
    told.advance_until(3, MINUTE, || reports(&told) == 4);

    let answer: Value = serde_json::from_str(&told.say(&["report", "--json"])).unwrap();
    assert_eq!(answer["since"], fourth["queued"], "{answer}");
    assert_eq!(told.say(&["report"]), answer["text"].as_str().unwrap());
    let sent: Value = serde_json::from_str(&told.say(&["report", "--send", "--json"])).unwrap();
    assert!(sent["sent"]["id"].is_string(), "{sent}");
    told.advance_until(3, MINUTE, || reports(&told) == 5);
    assert_eq!(kept(&told), fourth, "what is asked for moves no weekly one");
    running.stop().await;
}
