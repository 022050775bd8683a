//! The options of the look-alike: addresses, accounts, limits.
//!
//! Rule: every default is Gmail's published or observed value (docs/gmail.md section 2), so that a test
//! which changes nothing meets Gmail. Must not know how a limit is enforced.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use super::script::{Chance, Order};
use crate::clock::{Clock, SystemClock};

/// An account that every scenario takes; any other name will do as well.
pub const USERNAME: &str = "you@gmail.com";
/// The app password that opens every account when [`Options::accounts`] is empty.
pub const APP_PASSWORD: &str = "abcdefghijklmnop";

/// The access token that opens every account, always.
pub const ACCESS_TOKEN: &str = "ya29.sandbox-access-token";
/// The refresh token that the token endpoint takes for every account.
pub const REFRESH_TOKEN: &str = "1//sandbox-refresh-token";
/// The same with the scope to send alone, which the API takes and SMTP does not.
pub const SEND_REFRESH_TOKEN: &str = "1//sandbox-refresh-token-to-send";
/// The only OAuth client that the look-alike knows.
pub const OAUTH_CLIENT_ID: &str = "sandbox.apps.googleusercontent.com";
/// Its secret, which for a desktop client is none.
pub const OAUTH_CLIENT_SECRET: &str = "sandbox-client-secret";

/// A client as Microsoft knows it: public, so without a secret, and its consent comes by a code (RFC 8628).
pub const PUBLIC_CLIENT_ID: &str = "66666666-7777-8888-9999-000000000000";

/// What the TLS ports present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// One for `smtp.gmail.com` and loopback, from the sandbox's own authority.
    Right,
    /// One for another name, from the same authority.
    OtherName,
    /// The right names, from an authority that nobody knows: an intercepting proxy.
    OtherAuthority,
    /// The right names, but it ended years ago.
    Expired,
}

/// What happens to mail beyond the daily limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverLimit {
    /// 550 5.4.5 to DATA.
    Refuse,
    /// 250, and a bounce in the account's own inbox (docs/gmail.md section 2).
    AcceptThenBounce,
}

/// Everything that can be chosen when a sandbox starts.
#[derive(Clone, Debug)]
pub struct Options {
    /// Decides about quota, age and idle time. `latency` alone passes in real time.
    pub clock: Arc<dyn Clock>,
    /// User name to password; empty: any user name with [`APP_PASSWORD`]. The trigger passwords of
    /// `login.rs` work for everybody.
    pub accounts: BTreeMap<String, String>,
    /// Recipients an account may write to in any 24 hours (500 for a consumer account). The plain
    /// port has no such limit, like Google's MX.
    pub recipients_per_day: u32,
    /// What happens beyond that.
    pub over_limit: OverLimit,
    /// Addresses that the accounts may write From besides their own; used for the rewritten copy.
    pub send_as: Vec<String>,
    /// Failures that are ordered from the start.
    pub script: Vec<Order>,
    /// Failures by chance.
    pub chance: Option<Chance>,
    /// Added before each batch of replies: the simulated round trip.
    pub latency: Duration,
    /// How long the recipient `slow` waits for the answer to its final dot, on `clock`.
    pub slow: Duration,
    /// Whether bodies are kept for inspection; without them the header section remains long enough
    /// to read the Message-ID.
    pub keep_bodies: bool,
    /// Whether `EHLO localhost` and the like get 421, which looks like rate limiting.
    pub refuse_localhost_ehlo: bool,
    /// Whether the "587" port offers STARTTLS; without it, a middlebox has taken it away.
    pub offer_starttls: bool,
    /// What AUTH offers inside TLS, in Gmail's words and order; nothing else is understood.
    pub mechanisms: &'static str,
    /// What the TLS ports present.
    pub certificate: Certificate,
    /// Whether a TLS client without SNI meets the certificate of `invalid2.invalid`.
    pub require_sni: bool,
    /// Whether a bare LF in message data gets 451 4.5.0.
    pub strict_line_ends: bool,
    /// How long an access token is good for, and with it a connection that used it.
    pub token_lifetime: Duration,
    /// Whether each refresh brings a new refresh token; the old one remains good.
    pub rotate_refresh_tokens: bool,
    /// How long a code for another device is good.
    pub device_lifetime: Duration,
    /// How long whoever waits for such a code waits between two questions; in whole seconds.
    pub device_interval: Duration,
    /// The public key of the service accounts (DER, PKCS #1); without it any signature will do.
    pub service_account_key: Option<Vec<u8>>,
    /// Logins per account and minute before 454 4.7.0 (trouble was observed at 78 in a burst).
    pub logins_per_minute: u32,
    /// Authenticated connections per account; DATA on one more gets 421 4.3.0 (observed at 16).
    pub connections_max: u32,
    /// Silence after which the server says 451 4.4.2 and closes.
    pub idle: Duration,
    /// Age at which a connection gets 421 4.7.0 at its next MAIL.
    pub age: Duration,
    /// Octets of the largest message on the submission ports, as advertised.
    pub size_bytes_max: u64,
    /// Recipients per mail transaction; the next one gets 452 4.5.3.
    pub recipients_max: usize,
    /// Accepted messages kept for inspection; the oldest are forgotten first.
    pub messages_kept_max: usize,
    /// Octets of bodies kept for inspection; the oldest messages are forgotten first.
    pub bytes_kept_max: u64,
    /// Command lines kept for inspection; 0 keeps none.
    pub commands_kept_max: usize,
    /// One JSON line per stored message is appended here before the message is acknowledged.
    pub journal: Option<PathBuf>,
    /// Each stored message is written here as a file of its own before it is acknowledged, as its recipients
    /// get it.
    pub mailbox: Option<PathBuf>,
    /// Where the STARTTLS port ("587") listens.
    pub starttls_bind: SocketAddr,
    /// Where the implicit TLS port ("465") listens.
    pub implicit_bind: SocketAddr,
    /// Where the port without TLS and AUTH (the "MX") listens.
    pub plain_bind: SocketAddr,
    /// Where consent and tokens are given, over HTTP.
    pub oauth_bind: SocketAddr,
    /// Where the API takes messages, over HTTPS.
    pub api_bind: SocketAddr,
}

impl Default for Options {
    fn default() -> Self {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            clock: Arc::new(SystemClock::new()),
            accounts: BTreeMap::new(),
            recipients_per_day: 500,
            over_limit: OverLimit::Refuse,
            send_as: Vec::new(),
            script: Vec::new(),
            chance: None,
            latency: Duration::ZERO,
            slow: Duration::from_secs(10),
            keep_bodies: true,
            refuse_localhost_ehlo: true,
            offer_starttls: true,
            mechanisms: "LOGIN PLAIN XOAUTH2 PLAIN-CLIENTTOKEN OAUTHBEARER XOAUTH",
            certificate: Certificate::Right,
            require_sni: true,
            strict_line_ends: true,
            token_lifetime: Duration::from_secs(3599),
            rotate_refresh_tokens: false,
            device_lifetime: Duration::from_secs(15 * 60),
            device_interval: Duration::from_secs(5),
            service_account_key: None,
            logins_per_minute: 75,
            connections_max: 15,
            idle: Duration::from_secs(15 * 60),
            age: Duration::from_secs(60 * 60),
            size_bytes_max: 35_882_577,
            recipients_max: 100,
            messages_kept_max: 200_000,
            bytes_kept_max: 1 << 30,
            commands_kept_max: 1000,
            journal: None,
            mailbox: None,
            starttls_bind: any_port,
            implicit_bind: any_port,
            plain_bind: any_port,
            oauth_bind: any_port,
            api_bind: any_port,
        }
    }
}
