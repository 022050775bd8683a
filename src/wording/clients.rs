//! The clients in words: what is unusual about each.
//!
//! Rule: an oddity is called by the name that the log and `docs/clients.md` use.

use crate::admin::api::Client;

/// In the place of oddities.
const NOTHING_ODD: &str = "-";

/// `failed-login 4, no-date 3, bare-lf 2`: first what keeps mail from coming in, then the most frequent.
pub(crate) fn oddities(client: &Client) -> String {
    let mut quirks: Vec<_> =
        client.quirks.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    quirks.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let failures = [
        ("failed-login", client.failed_logins),
        ("failed-handshake", client.failed_handshakes),
        ("no-proxy-header", client.no_proxy_headers),
    ];
    let all = failures.into_iter().chain(quirks).filter(|(_, count)| *count > 0);
    let all: Vec<String> = all.map(|(name, count)| format!("{name} {count}")).collect();
    if all.is_empty() { NOTHING_ODD.to_owned() } else { all.join(", ") }
}

/// The clients that are odd, the last one that was here first, each with what is.
pub(crate) fn odd(clients: &[Client]) -> Vec<(&Client, String)> {
    let all = clients.iter().map(|client| (client, oddities(client)));
    let mut odd: Vec<_> = all.filter(|(_, oddities)| oddities != NOTHING_ODD).collect();
    odd.sort_by_key(|(client, _)| std::cmp::Reverse(client.last_seen));
    odd
}
