//! The hosts as they see each other: who lives, who is drained by whom, and who is gone.

use super::{Host, until};
use crate::support::{
    gmail::Gmail,
    outage::ask,
    postgres::Postgres,
    submitter::{Wire, message},
};

/// What is told of a host by another one.
fn told(asked: &Host, name: &str) -> serde_json::Value {
    let view = ask(&asked.home, &["fleet"]);
    let hosts = view["fleet"]["hosts"].as_array().cloned().unwrap_or_default();
    hosts.into_iter().find(|host| host["name"] == name).unwrap_or_default()
}

fn words(host: &Host, command: &[&str]) -> String {
    let output = host.home.output(command);
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// Why a host takes no message; `None` when it takes one.
fn refusal(host: &mut Host) -> Option<String> {
    let text = message("<drained@example.org>", 500, &mut fastrand::Rng::with_seed(1));
    let mut wire = Wire::connect(host.home.smtp).expect("the relay listens");
    wire.submit(&["somebody@example.org".to_owned()], &text).expect("there is an answer").err()
}

#[test]
fn hosts_know_who_lives_who_takes_no_mail_and_who_is_gone_also_after_a_restart() {
    let (server, gmail) = (Postgres::shared(), Gmail::start());
    let database = server.database();
    let mut hosts = ["a", "b"].map(|name| Host::new(name, &gmail, (&server, &database)).start());
    until("both known", &hosts, || told(&hosts[0], "b")["standing"] == "living");
    let shown = words(&hosts[0], &["fleet"]);
    assert!(shown.contains("PostgreSQL 1") && shown.contains("answered within"), "{shown}");
    assert!(!shown.contains(crate::support::postgres::PASSWORD), "{shown}");
    let unknown = words(&hosts[0], &["fleet", "drain", "c"]);
    assert!(unknown.contains("no host called \"c\"; there is a, b"), "{unknown}");

    let well = words(&hosts[0], &["doctor", "--check", "fleet"]);
    assert!(well.contains("fsync off") && !well.contains("gone"), "the tests do without: {well}");
    let ordered = words(&hosts[0], &["fleet", "drain", "b"]);
    assert!(ordered.contains("The host b takes no new mail"), "{ordered}");
    until("b to hear of it", &hosts, || words(&hosts[1], &["status"]).contains("drained since"));
    let reply = refusal(&mut hosts[1]).expect("no mail is taken");
    assert!(reply.starts_with("421 4.3.2") && reply.contains("another host"), "{reply}");
    let ready = words(&hosts[1], &["health", "--ready"]);
    assert!(ready.contains("no mail is taken: this host is drained"), "{ready}");
    let left =
        hosts[1].home.output_of(&["sendmail", "somebody@example.org"], "Subject: kept\n\nkept\n");
    assert!(left.status.success(), "{left:?}");
    hosts[0].submit(1);
    until("others go on", &hosts, || gmail.recipients() == 1);

    // A start asks before it takes anything, and what programs of the host left is still there.
    hosts[1].daemon.take().expect("it runs").kill();
    hosts[1].daemon = Some(hosts[1].home.start());
    assert!(refusal(&mut hosts[1]).is_some(), "a restart takes nothing either");
    let again = words(&hosts[1], &["fleet", "undrain"]);
    assert!(again.contains("The host b takes mail again."), "{again}");
    assert_eq!(refusal(&mut hosts[1]), None);
    until("what was left and what came since sent", &hosts, || gmail.recipients() == 3);

    hosts[1].daemon.take().expect("it runs").kill();
    let pass = "UPDATE pillarbox.host SET seen = seen - interval '10 min' WHERE name = 'b'";
    server.sql(&database, pass);
    assert_eq!(told(&hosts[0], "b")["standing"], "gone");
    let shown = words(&hosts[0], &["fleet"]);
    assert!(shown.contains("What it has on its disk leaves when it is back"), "{shown}");
    assert!(shown.contains("`systemctl status pillarbox` there"), "{shown}");
    hosts[1].daemon = Some(hosts[1].home.start());
    until("back", &hosts, || told(&hosts[0], "b")["standing"] == "living");
    let b = told(&hosts[0], "b");
    assert_eq!((&b["instance"], &b["has_namesake"]), (&3.into(), &false.into()), "{b:#}");
    let daemon = hosts[1].daemon.take().expect("it runs");
    assert!(daemon.terminate(super::PATIENCE).success());
    assert_eq!(told(&hosts[0], "b")["standing"], "stopped");
}

#[test]
fn while_the_database_is_away_what_was_last_known_is_told_with_its_time_and_no_order_is_taken() {
    let (server, gmail) = (Postgres::start(), Gmail::start());
    let database = server.database();
    let hosts = [Host::new("a", &gmail, (&server, &database)).start()];
    until("known", &hosts, || told(&hosts[0], "a")["standing"] == "living");
    assert!(words(&hosts[0], &["fleet", "drain"]).contains("takes no new mail"));
    server.stop();
    let shown = words(&hosts[0], &["fleet"]);
    assert!(
        shown.contains("it cannot be asked") && shown.contains("what follows was so"),
        "{shown}"
    );
    assert!(shown.contains("living, drained"), "{shown}");
    assert!(shown.contains("this host takes mail meanwhile"), "{shown}");
    let refused = words(&hosts[0], &["fleet", "undrain"]);
    assert!(refused.contains("so nothing was changed"), "{refused}");
    assert!(words(&hosts[0], &["status"]).contains("drained since"), "the last answer holds");
}

#[test]
fn a_relay_that_counts_for_itself_says_so_and_what_to_do() {
    let gmail = Gmail::start();
    let home = crate::support::outage::home_without_brakes(&gmail.upstream(), 10);
    let _daemon = home.start();
    let output = home.output(["fleet"]);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && shown.contains("is in no fleet"), "{shown}");
    assert!(ask(&home, &["fleet"])["fleet"].is_null());
    let refused = home.output(["fleet", "drain"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is in no fleet"), "{refused:?}");
}
