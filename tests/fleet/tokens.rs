//! Daemons of a fleet that log in with tokens: one of them fetches, all use it, and nobody one that was refused.

use super::{Host, until};
use crate::support::{
    daemon::Upstream,
    fleet::in_fleet,
    gmail::Gmail,
    outage::home_without_brakes,
    postgres::{PASSWORD, Postgres},
    service_account::write_key,
};

/// A host that logs in as a service account that may act for the mailbox.
fn host(name: &'static str, gmail: &Gmail, (server, database): (&Postgres, &str)) -> Host {
    let upstream = Upstream { login: None, ..gmail.upstream() };
    let home = home_without_brakes(&upstream, 100);
    let key_file = home.path("key.json");
    write_key(&key_file);
    let token_endpoint = format!("{}/token", gmail.oauth_url());
    let home = home
        .environment("PILLARBOX__UPSTREAM__USERNAME", "relay@gmail.com")
        .environment("PILLARBOX__UPSTREAM__AUTH", "service-account")
        .environment("PILLARBOX__UPSTREAM__SERVICE_ACCOUNT_FILE", &key_file.display().to_string())
        .environment("PILLARBOX__UPSTREAM__OAUTH_TOKEN_ENDPOINT", &token_endpoint);
    let home = in_fleet(home, name, (server.port, database));
    Host { name, home, daemon: None, acknowledged: Vec::new() }.start()
}

#[test]
fn one_host_fetches_the_token_for_all_and_what_is_refused_is_fetched_anew_once() {
    let (server, gmail) = (Postgres::shared(), Gmail::start());
    let database = server.database();
    let mut hosts = ["a", "b", "c"].map(|name| host(name, &gmail, (&server, &database)));
    hosts.iter_mut().for_each(|host| host.submit(2));
    until("sent", &hosts, || gmail.recipients() == 6);
    assert_eq!(gmail.counters().token_requests, 1, "one for all");

    // The database has it sealed, and nothing of the key.
    let rows = server.sql(&database, "SELECT token FROM pillarbox.token token");
    assert!(rows.lines().count() == 1 && rows.contains("relay@gmail.com at "), "{rows}");
    let sealed = "SELECT encode(sealed, 'escape') FROM pillarbox.token";
    assert!(!server.sql(&database, sealed).contains("ya29"), "it is sealed");

    // Somebody takes access away: who finds out fetches a new one, for all again.
    gmail.revoke_tokens();
    gmail.disconnect_all();
    hosts.iter_mut().for_each(|host| host.submit(2));
    until("sent with another", &hosts, || gmail.recipients() == 12);
    assert_eq!(gmail.counters().token_requests, 2, "one for all");

    // Somebody changes it: it opens not, and another one is fetched.
    server.sql(
        &database,
        "UPDATE pillarbox.token SET sealed = set_byte(sealed, 20, get_byte(sealed, 20) # 1)",
    );
    gmail.disconnect_all();
    hosts.iter_mut().for_each(|host| host.submit(1));
    until("sent with a third", &hosts, || gmail.recipients() == 15);
    assert_eq!(gmail.counters().token_requests, 3, "one for all");
    let told = |host: &Host| host.home.log().matches("was changed in the database").count();
    assert_eq!(hosts.iter().map(told).filter(|times| *times > 1).count(), 0, "said once");
    assert!(hosts.iter().any(|host| told(host) == 1));
    for host in &hosts {
        let log = host.home.log();
        assert!(!log.contains("ya29") && !log.contains("PRIVATE KEY") && !log.contains(PASSWORD));
    }
}
