//! Each scenario of `pillarbox sandbox`, played with the real binary: what a user sees on the screen, in
//! `status` and in the queue after one mail.

use std::{fs, path::PathBuf, process::Output, time::Duration};

use pillarbox::sandbox::{JournalLine, SCENARIOS};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    daemon::{pillarbox, within},
    playground::Playground,
};

const PATIENCE: Duration = Duration::from_secs(40);

/// A sandbox that plays a scenario.
struct Play {
    sandbox: Playground,
    directory: TempDir,
}

impl Play {
    fn start(scenario: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let journal = directory.path().join("journal").display().to_string();
        let arguments = ["--scenario", scenario, "--journal", &journal];
        let sandbox = Playground::start(directory.path(), &arguments);
        Self { sandbox, directory }
    }

    /// Starts one and sends a mail.
    fn with_a_mail(scenario: &str) -> Self {
        let play = Self::start(scenario);
        play.sandbox.send("you@example.org");
        play
    }

    fn status(&self) -> Value {
        Playground::ask(self.directory.path(), "status")
    }

    fn tell(&self, command: &str) {
        Playground::tell(self.directory.path(), command);
    }

    /// State, attempts and last reply of each recipient in the queue.
    fn recipients(&self) -> Vec<(String, u64, String)> {
        let page = Playground::ask(self.directory.path(), "queue list");
        let messages = page["messages"].as_array().unwrap().clone();
        let recipients =
            messages.iter().flat_map(|message| message["recipients"].as_array().unwrap());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        recipients
            .map(|one| {
                (text(&one["state"]), one["attempts"].as_u64().unwrap(), text(&one["last_reply"]))
            })
            .collect()
    }

    /// Waits for the account's condition; returns the account.
    fn until_account(&self, condition: &str) -> Value {
        let reached = within(PATIENCE, || self.status()["account"]["condition"] == condition);
        assert!(reached, "not {condition}: {:#}\n{}", self.status(), self.sandbox.printed());
        self.status()["account"].clone()
    }

    fn until(&self, what: &str, mut reached: impl FnMut(&Self) -> bool) {
        let reached = within(PATIENCE, || reached(self));
        let recipients = self.recipients();
        assert!(
            reached,
            "not {what}: {recipients:?}\n{:#}\n{}",
            self.status(),
            self.sandbox.printed()
        );
    }

    /// Ends pauses and waits until everything has left.
    fn until_resumed_and_sent(&self) {
        self.until("sent after resume", |play| {
            play.tell("resume");
            play.tell("queue retry --all");
            within(Duration::from_secs(1), || play.status()["queue"]["messages"] == 0)
        });
    }

    /// What the look-alike took.
    fn taken(&self) -> Vec<JournalLine> {
        let text = fs::read_to_string(self.journal()).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn journal(&self) -> PathBuf {
        self.directory.path().join("journal")
    }
}

/// The account is in `condition`, its remedy contains `remedy`, and the mail waits without a charge.
fn pauses(scenario: &str, condition: &str, remedy: &str) -> Play {
    let play = Play::with_a_mail(scenario);
    let account = play.until_account(condition);
    let said = account["remedy"].as_str().unwrap().to_ascii_lowercase();
    assert!(said.contains(remedy), "{scenario}: {said}");
    assert!(account["until"].as_i64() > Some(0), "{scenario}: it tries again by itself");
    play.until("back in the queue", |play| play.status()["in_flight"] == Value::Array(Vec::new()));
    let waiting: Vec<_> =
        play.recipients().into_iter().map(|(state, attempts, _)| (state, attempts)).collect();
    assert_eq!(waiting, [("queued".to_owned(), 0)], "{scenario}");
    assert!(play.taken().is_empty(), "{scenario}");
    play
}

#[test]
fn refused_logins_pause_the_account_and_say_what_to_do() {
    pauses("bad-password", "paused-credentials", "password");
    pauses("app-password-needed", "paused-credentials", "create an app password");
    pauses("browser-login-needed", "paused-credentials", "browser");
    pauses("captcha-needed", "paused-credentials", "browser");
    pauses("sending-denied", "paused-credentials", "browser");
    pauses("oauth-expired", "paused-credentials", "pillarbox auth google");
    let refused = pauses("oauth-refused", "paused-credentials", "pillarbox auth google");
    let account = refused.until_account("paused-credentials");
    assert!(account["reason"].as_str().unwrap().contains("status 400"), "{account}");
}

#[test]
fn passing_trouble_pauses_the_account_and_the_mail_leaves_when_it_is_over() {
    for (scenario, condition) in [
        ("too-many-logins", "paused-login"),
        ("temporary-login-trouble", "backing-off"),
        ("server-busy", "backing-off"),
        ("system-problem", "backing-off"),
    ] {
        let play = pauses(scenario, condition, "");
        play.until_resumed_and_sent();
        assert_eq!(play.taken().len(), 1, "{scenario}");
        assert_eq!(play.status()["account"]["condition"], "open", "{scenario}");
    }
}

#[test]
fn an_upstream_that_cannot_be_trusted_gets_neither_password_nor_mail() {
    for scenario in ["starttls-missing", "certificate-wrong"] {
        let play = pauses(scenario, "paused-configuration", "");
        let screen = play.sandbox.printed();
        assert!(!screen.contains(" auth: "), "{screen}");
    }
    pauses("ehlo-refused", "backing-off", "ehlo_name");
}

#[test]
fn the_daily_limit_keeps_all_mail_wherever_it_shows() {
    for scenario in ["quota-at-mail", "quota-at-dot"] {
        pauses(scenario, "paused-quota", "");
    }
    let play = Play::with_a_mail("daily-limit");
    play.until("relayed", |play| play.taken().len() == 1);
    play.sandbox.send("second@example.org");
    play.until("relayed", |play| play.taken().len() == 2);
    play.sandbox.send("third@example.org");
    play.until_account("paused-quota");
    play.until("waiting", |play| {
        play.recipients().iter().any(|(state, attempts, _)| state == "queued" && *attempts == 0)
    });
    play.sandbox.send("fourth@example.org");
    play.until("both waiting", |play| play.status()["queue"]["recipients"]["queued"] == 2);
    assert_eq!(play.taken().len(), 2);
    assert_eq!(play.status()["queue"]["recipients"]["dead"], 0);
}

#[test]
fn mail_that_bounces_later_looks_relayed() {
    let play = Play::with_a_mail("accept-then-bounce");
    play.until("relayed", |play| play.status()["queue"]["messages"] == 0);
    play.sandbox.wait_for("bounced into the account's inbox");
    assert_eq!(play.status()["account"]["condition"], "open");
    let taken: Vec<_> = play.taken().iter().map(|line| (line.answered, line.bounced)).collect();
    assert_eq!(taken, [(true, true)]);
}

#[test]
fn a_lost_or_garbled_connection_is_replaced_and_the_mail_leaves_once() {
    let play = Play::with_a_mail("connection-expired");
    // At once: no pause, no command of the user.
    play.until("relayed", |play| play.status()["queue"]["messages"] == 0);
    assert_eq!(play.taken().len(), 1);
    assert_eq!(
        play.sandbox.printed().matches("auth: logged in").count(),
        2,
        "{}",
        play.sandbox.printed()
    );

    let play = Play::with_a_mail("malformed-replies");
    play.until_resumed_and_sent();
    assert_eq!(play.taken().len(), 1);
}

#[test]
fn a_flaky_network_loses_nothing() {
    let play = Play::start("flaky");
    let recipients = ["a@example.org", "b@example.org", "c@example.org"];
    recipients.iter().for_each(|recipient| play.sandbox.send(recipient));
    play.until_resumed_and_sent();
    for recipient in recipients {
        let copies: Vec<_> =
            play.taken().into_iter().filter(|line| line.rcpt_to == [recipient]).collect();
        assert!(copies.iter().any(|line| line.answered), "{recipient}");
        assert!(copies.iter().all(|line| line.message_id == copies[0].message_id), "{copies:?}");
    }
}

#[test]
fn a_slow_upstream_is_waited_for_and_keeps_no_client_waiting() {
    let play = Play::with_a_mail("slow");
    play.until("in flight", |play| play.status()["in_flight"][0]["recipients"] == 1);
    play.sandbox.wait_for("auth: logged in");
    play.sandbox.send("second@example.org");
    assert_eq!(play.status()["queue"]["messages"], 2);
    assert_eq!(play.status()["account"]["condition"], "open");
}

#[test]
fn a_mail_whose_answer_was_lost_is_uncertain_and_sent_once_more() {
    let play = Play::with_a_mail("drop-after-dot");
    play.until("uncertain", |play| play.status()["queue"]["recipients"]["uncertain"] == 1);
    assert_eq!(play.taken().iter().map(|line| line.answered).collect::<Vec<_>>(), [false]);
    assert_eq!(play.status()["budget"]["spent"], 1, "its budget stays spent");
    play.until_resumed_and_sent();
    let taken = play.taken();
    assert_eq!(taken.len(), 2);
    assert_eq!((&taken[0].message_id, taken[0].crc32), (&taken[1].message_id, taken[1].crc32));
    play.sandbox.wait_for("duplicate");
}

#[test]
fn a_refused_message_is_dead_with_the_upstreams_words_and_the_account_stays_open() {
    for (scenario, word) in [
        ("spam-verdict", "UnsolicitedMessageError"),
        ("attachment-blocked", "BlockedMessage"),
        ("unknown-refusal", "penguins"),
    ] {
        let play = Play::with_a_mail(scenario);
        play.until("dead", |play| {
            play.recipients()
                .iter()
                .any(|(state, _, reply)| state == "dead" && reply.contains(word))
        });
        assert_eq!(play.status()["account"]["condition"], "open", "{scenario}");
        assert!(play.taken().is_empty(), "{scenario}");
    }
}

#[test]
fn what_is_temporary_is_tried_again_with_an_attempt_charged() {
    for (scenario, word) in
        [("mailbox-full", "OverQuotaTemp"), ("temporarily-rejected", "rejected")]
    {
        let play = Play::with_a_mail(scenario);
        play.until("deferred", |play| {
            let found = play.recipients();
            matches!(found.as_slice(), [(state, 1, reply)] if state == "queued" && reply.contains(word))
        });
        assert_eq!(play.status()["account"]["condition"], "open", "{scenario}");
        play.until_resumed_and_sent();
    }
}

#[test]
fn one_unknown_recipient_does_not_keep_the_others_waiting() {
    let play = Play::start("recipient-unknown");
    play.sandbox.send_to(&["nobody@example.org", "you@example.org"]);
    play.until("one dead, one relayed", |play| {
        let states: Vec<String> = play.recipients().into_iter().map(|(state, ..)| state).collect();
        states.starts_with(&["dead".to_owned(), "relayed".to_owned()])
    });
    assert_eq!(play.taken()[0].rcpt_to, ["you@example.org"]);
    assert_eq!(play.status()["account"]["condition"], "open");
}

fn run(arguments: &[&str]) -> Output {
    pillarbox().args(["sandbox"]).args(arguments).output().unwrap()
}

#[test]
fn the_scenarios_are_listed_on_request_and_after_a_wrong_name() {
    let listed = run(&["--scenario", "list"]);
    assert_eq!(listed.status.code(), Some(0));
    let wrong = run(&["--scenario", "bad-pasword"]);
    assert_eq!(wrong.status.code(), Some(64));
    let (listed, wrong) =
        (String::from_utf8(listed.stdout).unwrap(), String::from_utf8(wrong.stderr).unwrap());
    assert!(wrong.contains("did you mean bad-password?"), "{wrong}");
    for scenario in SCENARIOS {
        let line = |text: &str| {
            text.lines().any(|line| line.contains(scenario.name) && line.ends_with(scenario.shows))
        };
        assert!(line(&listed) && line(&wrong), "{}", scenario.name);
    }
}

#[test]
fn a_scenario_says_at_the_start_what_will_happen_and_what_to_watch_for() {
    let play = Play::start("daily-limit");
    let screen = play.sandbox.printed().split_whitespace().collect::<Vec<_>>().join(" ");
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == "daily-limit").unwrap();
    let words = format!(
        "Scenario daily-limit: {} what happens {} watch for {} Send a mail",
        scenario.shows, scenario.happens, scenario.watch
    );
    assert!(screen.contains(&words), "{screen}");
}

#[test]
fn every_scenario_is_played_here() {
    let text = include_str!("scenarios.rs");
    for scenario in SCENARIOS {
        assert!(
            text.contains(&format!("\"{}\"", scenario.name)),
            "{} is not tested",
            scenario.name
        );
    }
}
