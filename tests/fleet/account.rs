//! Two daemons of a fleet and their account: what one is told of it, and what a person orders on one, counts for both.

use pillarbox::sandbox::{Failure, Stage};

use super::{Host, until};
use crate::support::{daemon::Home, gmail::Gmail, outage::ask, postgres::Postgres};

fn say(home: &Home, arguments: &[&str]) -> String {
    let socket = home.socket().display().to_string();
    let output = home.output(arguments.iter().copied().chain(["--socket", &socket]));
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8(text).expect("text")
}

fn condition(host: &Host) -> String {
    ask(&host.home, &["status"])["account"]["condition"].as_str().expect("a word").to_owned()
}

#[test]
fn a_refused_password_is_tried_by_one_host_and_its_end_counts_for_both() {
    let (server, gmail) = (Postgres::shared(), Gmail::start());
    let database = server.database();
    let host = |name| Host::new(name, &gmail, (&server, &database));
    let mut hosts = [host("first").start(), host("second")];
    let refusal = "535-5.7.8 Username and Password not accepted. For more information, go to\n535 5.7.8 https://support.google.com/mail/?p=BadCredentials - gsmtp";
    gmail.fail_always(Stage::Auth, Failure::Reply(refusal.to_owned()));
    hosts[0].submit(1);
    until("refused", &hosts, || condition(&hosts[0]) == "paused-credentials");
    let tried = gmail.counters().login_refusals;
    let [first, second] = hosts;
    hosts = [first, second.start()];
    hosts[1].submit(2);
    until("heard", &hosts, || condition(&hosts[1]) == "paused-credentials");
    let words = say(&hosts[1].home, &["status"]);
    assert!(words.contains("first found: ") && words.contains("5.7.8"), "{words}");
    assert!(say(&hosts[1].home, &["health"]).contains("first found: "));
    assert!(!say(&hosts[0].home, &["status"]).contains("first found: "));
    assert_eq!(gmail.counters().login_refusals, tried, "the other host tries none");
    gmail.forget_failures();
    let words = say(&hosts[1].home, &["resume"]);
    assert!(words.contains("The account is open"), "{words}");
    until("sent by both", &hosts, || gmail.recipients() == 3);
    until("open", &hosts, || hosts.iter().all(|host| condition(host) == "open"));
    let log = hosts[0].home.log();
    assert!(log.contains("resumed by a person on another host"), "{log}");
}

#[test]
fn a_pause_that_is_ordered_on_one_host_holds_the_mail_of_all_until_resume_on_any() {
    let (server, gmail) = (Postgres::shared(), Gmail::start());
    let database = server.database();
    let host = |name| Host::new(name, &gmail, (&server, &database)).start();
    let mut hosts = ["first", "second"].map(host);
    hosts.iter_mut().for_each(|host| host.submit(1));
    until("sent", &hosts, || gmail.recipients() == 2);
    let words = say(&hosts[0].home, &["pause", "--for", "2h", "new", "server"]);
    assert!(words.contains("new server (ordered on first)"), "{words}");
    hosts.iter_mut().for_each(|host| host.submit(1));
    let pause = |host: &Host| ask(&host.home, &["status"])["account"]["pause"].clone();
    until("heard", &hosts, || pause(&hosts[1])["reason"] == "new server (ordered on first)");
    let ends = hosts.each_ref().map(|host| pause(host)["until"].as_i64().expect("an end"));
    assert!(ends[0].abs_diff(ends[1]) < 2_000, "{ends:?}");
    assert_eq!(gmail.recipients(), 2, "nothing begins after the pause");
    let [first, mut second] = hosts;
    second.daemon.take().expect("it runs").kill();
    second.daemon = Some(second.home.start());
    hosts = [first, second];
    assert_eq!(pause(&hosts[1])["reason"], "new server (ordered on first)", "as before");
    say(&hosts[1].home, &["resume"]);
    until("sent by both", &hosts, || gmail.recipients() == 4);
    until("over", &hosts, || hosts.iter().all(|host| pause(host).is_null()));
}

#[test]
fn an_order_that_the_database_does_not_hear_is_said_to_be_this_hosts_alone_and_told_when_it_is_back()
 {
    let (server, gmail) = (Postgres::start(), Gmail::start());
    let database = server.database();
    let host = |name| Host::new(name, &gmail, (&server, &database)).start();
    let mut hosts = ["first", "second"].map(host);
    hosts.iter_mut().for_each(|host| host.submit(1));
    until("sent", &hosts, || gmail.recipients() == 2);
    server.stop();
    let words = say(&hosts[0].home, &["pause"]);
    assert!(words.contains("The other hosts of the fleet have not heard of it"), "{words}");
    server.resume();
    hosts[1].submit(1);
    let pause = |host: &Host| ask(&host.home, &["status"])["account"]["pause"].clone();
    until("told", &hosts, || pause(&hosts[1])["reason"] == "ordered on first");
    say(&hosts[0].home, &["resume"]);
    until("sent", &hosts, || gmail.recipients() == 3);
}
