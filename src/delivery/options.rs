//! The options of delivery.
//!
//! Rule: each limit has its reason and its unit beside it. Must not know relay.toml.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::{oauth, provider::Provider};
use crate::{
    aliases_file::AliasesFile,
    budget::{AccountKey, Limit},
    fleet::Terms,
    message::identity::Identity,
    queue::ClaimLimits,
    secret::Secret,
    smtp::address::Address,
};

/// Everything delivery is told. `settings` fills it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which account it is.
    pub account: AccountKey,
    /// Who runs the upstream.
    pub provider: Provider,
    /// The upstream's name; verified against its certificate and sent as SNI.
    pub host: String,
    /// 587 or 465 for Gmail.
    pub port: u16,
    /// What is spoken there.
    pub transport: Transport,
    /// How the connection is protected.
    pub tls: Tls,
    /// Where else the upstream is tried when that way cannot be connected to several times in a row.
    pub other_way: Option<Way>,
    /// Which addresses of the upstream are tried.
    pub ip_family: IpFamily,
    /// Who we log in as; `None` sends no AUTH.
    pub login: Option<Login>,
    /// Our name in EHLO: a fully qualified name, never localhost (docs/gmail.md section 3.2).
    pub ehlo_name: String,
    /// An extra trust root, in PEM.
    pub ca_file: Option<PathBuf>,
    /// Connections at a time.
    pub connections: usize,
    /// Logins in any hour (docs/gmail.md section 2).
    pub logins_per_hour: u32,
    /// Recipients in any 24 hours, already less the owner's reserve.
    pub recipients_per_day: Limit,
    /// How many of these only our own notices may spend.
    pub notice_reserve: u32,
    /// How many of the rest only urgent mail may spend.
    pub urgent_reserve: u32,
    /// Recipients a minute; 0 does not pace.
    pub pace_per_minute: u32,
    /// How long a recipient is tried before it is dead.
    pub lifetime: Duration,
    /// What happens after a final dot without an answer.
    pub uncertain: Uncertain,
    /// Who gets mail for bare local names such as `root`.
    pub admin: Option<Address>,
    /// Who mail is sent as.
    pub identity: Identity,
    /// Whom the local names in To and Cc stand for.
    pub recipients: Arc<AliasesFile>,
    /// How long a stop waits for attempts in flight.
    pub drain: Duration,
    /// Waits and limits towards the upstream.
    pub limits: Limits,
}

impl Options {
    /// Whether messages leave by the API, which has no envelope.
    pub(crate) fn is_api(&self) -> bool {
        self.transport == Transport::GmailApi
    }

    /// Whether connections begin with a login, which the upstream counts.
    pub(crate) fn counts_logins(&self) -> bool {
        self.login.is_some() && !self.is_api()
    }

    /// What all hosts of a fleet may have together of its connections and logins.
    pub(crate) fn seating_terms(&self) -> Terms {
        Terms {
            logins: self.counts_logins().then_some(self.logins_per_hour),
            connections: u32::try_from(self.connections).unwrap_or(u32::MAX),
        }
    }

    /// On what terms mail is claimed.
    pub(crate) fn claim_limits(&self) -> ClaimLimits {
        ClaimLimits {
            account: self.account,
            limit: self.recipients_per_day,
            notice_reserve: self.notice_reserve,
            urgent_reserve: self.urgent_reserve,
            recipients_max: self.limits.recipients_per_transaction,
        }
    }
}

/// What is spoken with the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// SMTP, as every submission server does.
    Smtp,
    /// Google's own API over HTTPS, where the ports of submission are closed (docs/https.md).
    GmailApi,
}

/// Where Google takes messages over HTTPS (docs/https.md).
pub(crate) const API_HOST: &str = "gmail.googleapis.com";
/// Recipients a minute over the API at most. A message costs 100 of the 6,000 units that an account has in a minute, and a
/// minute's worth may go at once beside what the next minute brings (docs/https.md section 3).
const API_PACE_MAX: u32 = 30;

impl Transport {
    /// How many recipients a minute are sent where so many are configured; 0 does not pace.
    pub(crate) fn pace(self, configured: u32) -> u32 {
        match (self, configured) {
            (Self::Smtp, configured) => configured,
            (Self::GmailApi, 0) => API_PACE_MAX,
            (Self::GmailApi, configured) => configured.min(API_PACE_MAX),
        }
    }
}

/// How the upstream connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Plain first, then STARTTLS; without it nothing is sent.
    Starttls,
    /// TLS from the first byte.
    Implicit,
    /// None: loopback hosts only, and never with a login.
    Off,
}

/// A port with the protection that belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// The port.
    pub port: u16,
    /// How the connection is protected there.
    pub tls: Tls,
}

/// Which addresses of the upstream are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpFamily {
    /// Both, in turn.
    Any,
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
}

impl IpFamily {
    /// The name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::V4 => "4",
            Self::V6 => "6",
        }
    }
}

/// An account at the upstream.
#[derive(Clone, Debug)]
pub struct Login {
    /// The full address.
    pub username: String,
    /// Where the password comes from; read anew before each login, so that it can be replaced.
    pub password: PasswordSource,
}

/// Where the password comes from.
#[derive(Clone, Debug)]
pub enum PasswordSource {
    /// From the configuration or the environment.
    Inline(Secret),
    /// The first line of a file, which must be closed to others.
    File(PathBuf),
    /// The first line of a file that systemd or the container's engine has put there for this process
    /// alone: its permissions are their affair (containers mount secrets readable by everybody inside).
    Mounted(PathBuf),
    /// The first line of a command's output.
    Command(Vec<String>),
    /// There is none: an access token takes its place.
    Tokens(Box<oauth::Options>),
}

/// What happens after a final dot without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uncertain {
    /// Send once more, with the same bytes and Message-ID; hold it when that is uncertain too.
    ResendOnce,
    /// Hold it for a person.
    Hold,
}

/// Waits and limits towards the upstream; the defaults follow RFC 5321 section 4.5.3.2 and docs/gmail.md
/// section 2.
#[derive(Clone, Debug)]
pub struct Limits {
    /// TCP connect, for each address.
    pub connect: Duration,
    /// Greeting, EHLO, AUTH, MAIL, RCPT, RSET.
    pub command: Duration,
    /// One block of the body.
    pub block: Duration,
    /// The reply to the final dot.
    pub final_dot: Duration,
    /// The reply to QUIT.
    pub quit: Duration,
    /// Messages on one connection.
    pub messages_per_connection: u32,
    /// Age of a connection.
    pub connection_age: Duration,
    /// How long an unused connection is kept.
    pub idle: Duration,
    /// Recipients in one transaction.
    pub recipients_per_transaction: u32,
    /// The least wait before an uncertain recipient is sent once more; up to three times this.
    pub resend_after: Duration,
    /// How long a password command may run.
    pub password_command: Duration,
}

/// Octets a second that a server must take at least of a message; slower ones would keep a connection for days.
const SPEED_MIN: u64 = 4 * 1024;

impl Limits {
    /// How long a message of so many octets may take to be handed over.
    pub(super) fn message(&self, octets: u64) -> Duration {
        self.block + Duration::from_secs(octets / SPEED_MIN)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Short, because there may be several addresses and the next one may work.
            connect: Duration::from_secs(10),
            command: Duration::from_secs(5 * 60),
            block: Duration::from_secs(3 * 60),
            final_dot: Duration::from_secs(10 * 60),
            quit: Duration::from_secs(2),
            messages_per_connection: 100,
            connection_age: Duration::from_secs(10 * 60),
            idle: Duration::from_secs(60),
            recipients_per_transaction: 100,
            resend_after: Duration::from_secs(5 * 60),
            password_command: Duration::from_secs(10),
        }
    }
}
