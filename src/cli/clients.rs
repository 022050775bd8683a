//! `pillarbox clients`: which devices have been here, and what is unusual about them.
//!
//! Rule: an oddity is called by the name that the log and `docs/clients.md` use. Must not know what is done
//! about it.

use std::io;

use super::screen::{Screen, Side, Table, relative};
use crate::{admin::api::Clients, handbook, wording::clients::oddities};

/// Prints the table.
pub(super) fn print(out: &mut dyn Screen, answer: &Clients) -> io::Result<()> {
    if answer.clients.is_empty() {
        return writeln!(out, "No client has been here since the daemon started.");
    }
    let mut table = Table::new([
        ("ADDRESS", Side::Left),
        ("FIRST SEEN", Side::Left),
        ("LAST SEEN", Side::Left),
        ("CONNECTIONS", Side::Right),
        ("MESSAGES", Side::Right),
        ("REFUSED", Side::Right),
        ("ODD", Side::Left),
    ]);
    let rows: Vec<_> = answer
        .clients
        .iter()
        .map(|client| {
            [
                client.address.to_string(),
                relative(client.first_seen, answer.now),
                relative(client.last_seen, answer.now),
                client.connections.to_string(),
                client.accepted.to_string(),
                client.refused.to_string(),
                oddities(client),
            ]
        })
        .collect();
    table.print(out, &rows)?;
    if answer.clients.iter().any(|client| oddities(client) != "-") {
        let words = handbook::located("What is unusual, and what to do about it: docs/clients.md");
        writeln!(out, "\n{words}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{admin::api::Client, clock::Timestamp};

    fn printed(clients: Vec<Client>) -> String {
        let mut out = Vec::new();
        print(&mut out, &Clients { now: Timestamp(600_000), clients }).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn client(address: &str, quirks: &[(&str, u64)]) -> Client {
        Client {
            address: address.parse().unwrap(),
            first_seen: Timestamp(0),
            last_seen: Timestamp(540_000),
            connections: 12,
            accepted: 10,
            refused: 2,
            failed_logins: if quirks.is_empty() { 0 } else { 4 },
            failed_handshakes: 0,
            no_proxy_headers: if quirks.is_empty() { 0 } else { 1 },
            quirks: quirks.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
        }
    }

    #[test]
    fn each_client_has_a_line_with_its_oddities_the_most_frequent_first() {
        let text = printed(vec![
            client("192.168.1.9", &[("bare-lf", 3), ("no-date", 10)]),
            client("::1", &[]),
        ]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("ADDRESS      FIRST SEEN"), "{text}");
        assert!(
            lines[1].starts_with("192.168.1.9  10 min ago") && lines[1].contains("1 min ago"),
            "{text}"
        );
        assert!(
            lines[1].ends_with(
                "12        10        2  failed-login 4, no-proxy-header 1, no-date 10, bare-lf 3"
            ),
            "{text}"
        );
        assert!(lines[2].ends_with("2  -") && text.contains("docs/clients.md"), "{text}");
    }

    #[test]
    fn without_clients_it_says_so() {
        assert_eq!(printed(vec![]), "No client has been here since the daemon started.\n");
    }
}
