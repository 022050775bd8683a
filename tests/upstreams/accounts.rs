//! One daemon with an account at the Gmail look-alike and a second one at a real Postfix with Cyrus SASL: who gets which mail,
//! who stands in for whom, and whose table judges what Postfix says.

use pillarbox::sandbox::{Failure, Stage};
use serde_json::Value;

use super::{
    Relay, copies, expect_to_the_letter, message_id, not_root,
    postfix::Postfix,
    programs::{PASSWORD, Stored, USERNAME, Way},
};
use crate::support::{
    client::Client,
    daemon::{Home, Upstream},
    gmail::Gmail,
    submitter::Acknowledged,
};

/// What goes to the main account, which is alone.
const OWN: &str = "own@example.net";
/// What goes to the office, which is alone.
const OFFICE: &str = "office@example.net";
/// Whatever goes to anybody else leaves by the main account, and by the office while that cannot send.
const ANYBODY: &str = "anybody@example.net";
/// An address at Postfix that belongs to another login than ours.
const BOSS: &str = "boss@relay.test";
/// Recipients of a day of the main account that no test but one spends.
const LARGE_DAY: u32 = 500;

/// Both servers, and the relay between them.
struct Scene {
    gmail: Gmail,
    postfix: Postfix,
    relay: Relay,
}

/// The sections of the second account and of the routes.
fn sections(office: &Upstream, recipients_per_day: u32) -> String {
    let Upstream { host, port, tls, .. } = office;
    let ca_file = office.ca_file.as_ref().map(|file| file.display().to_string());
    let (username, password) = office.login.as_ref().expect("a login");
    format!(
        "[budget]\nrecipients_per_day = {recipients_per_day}\nowner_reserve = 0\npace_per_minute = 0\n\
         [[account]]\nname = \"office\"\nhost = {host:?}\nport = {port}\ntls = {tls:?}\nca_file = {:?}\n\
         username = {username:?}\npassword = {password:?}\nehlo_name = \"relay.example.org\"\n\
         recipients_per_day = 1000\nowner_reserve = 0\npace_per_minute = 0\nfrom = \"keep\"\n\
         [[route]]\nname = \"own\"\nmatch = {{ recipient = {OWN:?} }}\naccounts = [\"main\"]\n\
         [[route]]\nname = \"office\"\nmatch = {{ recipient = {OFFICE:?} }}\naccounts = [\"office\"]\n\
         [[route]]\nname = \"all\"\naccounts = [\"main\", \"office\"]\nfail_over = \"both\"\n",
        ca_file.unwrap_or_default(),
    )
}

impl Scene {
    fn start(password: &str) -> Self {
        let (gmail, postfix) = (Gmail::start(), Postfix::start());
        let office = postfix.upstream(Way::Starttls, password);
        let home = Home::with_sections(&gmail.upstream(), &sections(&office, LARGE_DAY))
            .environment("PILLARBOX__UPSTREAM__PROVIDER", "gmail")
            .environment("PILLARBOX__UPSTREAM__LOGINS_PER_HOUR", "1000")
            .environment("PILLARBOX__QUEUE__FAIL_OVER_AFTER", "1s")
            .environment("PILLARBOX__QUEUE__MIN_FREE_BYTES", "8MiB");
        let relay = Relay::at(home);
        Self { gmail, postfix, relay }
    }

    /// What reached Google, as the other server tells it.
    fn at_gmail(&self) -> Vec<Stored> {
        let accepted = self.gmail.accepted();
        let stored = |message: &std::sync::Arc<pillarbox::sandbox::Accepted>| Stored {
            recipients: message.rcpt_to.clone(),
            text: message.body.clone(),
        };
        accepted.iter().map(stored).collect()
    }

    fn has(stored: &[Stored], sent: &Acknowledged) -> bool {
        stored.iter().any(|message| message_id(&message.text) == sent.message_id)
    }

    fn expect_at_gmail(&self, sent: &Acknowledged) {
        self.relay.until("at Google", || Self::has(&self.at_gmail(), sent));
        assert!(!Self::has(&self.postfix.stored(), sent), "the office has it as well");
    }

    fn expect_at_the_office(&self, sent: &Acknowledged) {
        self.relay.until("at the office", || Self::has(&self.postfix.stored(), sent));
        assert!(!Self::has(&self.at_gmail(), sent), "Google has it as well");
    }

    /// How the second account is.
    fn office(&self) -> Value {
        self.relay.status()["others"][0]["account"].clone()
    }

    /// From now on Google answers so to each `stage`.
    fn gmail_says(&self, stage: Stage, reply: &str) {
        self.gmail.strike("", stage, Failure::Reply(reply.to_owned()));
        self.gmail.disconnect_all();
    }

    fn gmail_works_again(&self) {
        self.gmail.relent("");
        assert!(self.relay.home.output(["resume", "--account", "main"]).status.success());
    }

    /// The day of the main account is as long from now on.
    fn set_day(&self, recipients_per_day: u32) {
        let office = self.postfix.upstream(Way::Starttls, PASSWORD);
        self.relay.home.configure(&self.gmail.upstream(), &sections(&office, recipients_per_day));
        let output = self.relay.home.output(["reload"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn two_servers_get_their_mail_to_the_letter_and_one_stands_in_for_the_other() {
    if not_root("Gmail and Postfix, two accounts") {
        return;
    }
    let mut scene = Scene::start(PASSWORD);
    let mut sent = Vec::new();
    for number in 0..6 {
        let size = if number < 2 { 3_000_000 } else { 400 * number };
        let to = [OWN, OFFICE][number % 2];
        sent.push(scene.relay.submit(number, &[to], size));
    }
    for (number, message) in sent.iter().enumerate() {
        if number % 2 == 0 {
            scene.expect_at_gmail(message);
        } else {
            scene.expect_at_the_office(message);
        }
    }
    assert!(scene.postfix.log().contains(&format!("sasl_username={USERNAME}")));

    // Paused: Google refuses the login.
    sent.push(scene.relay.submit(10, &[ANYBODY], 500));
    scene.expect_at_gmail(&sent[6]);
    scene.gmail_says(Stage::Auth, "535-5.7.8 Username and Password not accepted.\n535 5.7.8 no");
    sent.push(scene.relay.submit(11, &[ANYBODY], 500));
    scene.expect_at_the_office(&sent[7]);
    let status = scene.relay.status();
    assert_eq!(status["account"]["condition"], "paused-credentials", "{status:#}");
    // Its own mail waits for it, and so does all mail while the office is gone as well.
    sent.push(scene.relay.submit(12, &[OWN], 500));
    scene.postfix.kill();
    sent.push(scene.relay.submit(13, &[ANYBODY], 500));
    scene.relay.until("both shut", || scene.office()["condition"] == "backing-off");
    scene.gmail_works_again();
    scene.expect_at_gmail(&sent[8]);
    scene.expect_at_gmail(&sent[9]);
    scene.postfix.restart();
    assert!(scene.relay.home.output(["resume", "--account", "office"]).status.success());

    // Spent, as Google says: the next message goes by the office, and the one that was told so waits behind it.
    scene.gmail_says(Stage::Mail, "550 5.4.5 Daily user sending limit exceeded. {id} - gsmtp");
    sent.push(scene.relay.submit(14, &[ANYBODY], 500));
    let quota = || scene.relay.status()["account"]["condition"] == "paused-quota";
    scene.relay.until("spent", quota);
    sent.push(scene.relay.submit(15, &[ANYBODY], 500));
    scene.expect_at_the_office(&sent[11]);
    scene.gmail_works_again();
    assert!(scene.relay.home.output(["queue", "retry", "--all"]).status.success());
    scene.expect_at_gmail(&sent[10]);

    // Spent, as the relay counts.
    let spent = scene.relay.status()["budget"]["spent"].as_u64().expect("a number");
    scene.set_day(u32::try_from(spent).expect("few"));
    sent.push(scene.relay.submit(16, &[ANYBODY], 500));
    scene.expect_at_the_office(&sent[12]);
    scene.set_day(LARGE_DAY);
    sent.push(scene.relay.submit(17, &[ANYBODY], 500));
    scene.expect_at_gmail(&sent[13]);

    scene.relay.until("an empty queue", || scene.relay.status()["queue"]["messages"] == 0);
    let mut all = scene.at_gmail();
    all.extend(scene.postfix.stored());
    expect_to_the_letter(&all, &sent);
    assert!(copies(&all).values().all(|count| *count == 1), "nothing twice: {:?}", copies(&all));
    scene.relay.expect_no_secret();
}

#[test]
fn what_postfix_says_is_judged_by_what_codes_mean_anywhere_and_never_by_what_they_mean_at_google() {
    if not_root("Postfix beside Gmail, refusals") {
        return;
    }
    let scene = Scene::start(PASSWORD);
    let submit = |from: &str, to: &str| {
        let text = format!("From: {from}\nTo: {to}\nSubject: x\n\nhello\n");
        let reply = Client::hello(scene.relay.home.smtp).mail(from, &[to], &text);
        assert!(reply.starts_with("250"), "{reply}");
    };
    submit(BOSS, OFFICE);
    scene.relay.until("refused", || scene.office()["condition"] == "paused-configuration");
    let refused = scene.office();
    let (reason, action) = (refused["reason"].to_string(), refused["remedy"].to_string());
    assert!(reason.contains("553 5.7.1") && reason.contains("not owned by user"), "{refused}");
    assert!(action.contains("does not let this account send as that address"), "{refused}");
    let status = scene.relay.status();
    assert_eq!(status["others"][0]["unknown_replies"], 0, "{status:#}");
    assert_eq!(status["account"]["condition"], "open", "{status:#}");

    // Google has never said so: there the same words are unknown, and about the recipient.
    let words = "553 5.7.1 <boss@relay.test>: Sender address rejected: not owned by user me";
    scene.gmail.strike(OWN, Stage::Rcpt, Failure::Reply(words.to_owned()));
    submit(BOSS, OWN);
    scene.relay.until("refused there", || scene.relay.status()["unknown_replies"] == 1);
    assert_eq!(scene.relay.status()["account"]["condition"], "open");
    scene.relay.expect_no_secret();
}

#[test]
fn the_refused_password_of_one_server_stops_the_mail_of_nobody_else() {
    if not_root("Postfix beside Gmail, a wrong password") {
        return;
    }
    let scene = Scene::start("not the one");
    let own = scene.relay.submit(1, &[OWN], 500);
    scene.relay.submit(2, &[OFFICE], 500);
    scene.relay.until("refused", || scene.office()["condition"] == "paused-credentials");
    let refused = scene.office();
    assert!(refused["reason"].to_string().contains("535 5.7.8"), "{refused}");
    let action = refused["remedy"].to_string();
    assert!(action.contains("docs/providers.md") && !action.contains("google"), "{refused}");
    scene.expect_at_gmail(&own);
    let next = scene.relay.submit(3, &[ANYBODY], 500);
    scene.expect_at_gmail(&next);
    assert_eq!(scene.postfix.log().matches("authentication failed").count(), 1);
    scene.relay.expect_no_secret();
}
