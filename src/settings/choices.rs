//! The words in relay.toml for what other modules may be told: policies, lanes, levels, addresses or none.
//!
//! Rule: each word is here once, and the refusal of another one names them all. Must not know which key they stand
//! behind.

use std::net::SocketAddr;

use super::value::{Text, choose, shown};
use crate::{
    delivery::{IpFamily, Uncertain, oauth::Endpoint},
    message::{envelope::Lane, identity::FromPolicy},
    smtp::session::Authentication,
    telemetry::{Format, Output},
};

/// `None` for an empty text, which is the way to say "not set".
impl Text for Option<Endpoint> {
    const EXPECTED: &'static str = "an https:// address in quotes";

    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() { Ok(None) } else { Endpoint::new(text).map(Some) }
    }
}

impl Text for IpFamily {
    const EXPECTED: &'static str = "\"any\", \"4\" or \"6\"";

    fn read(text: &str) -> Result<Self, String> {
        choose(text, &[("any", Self::Any), ("4", Self::V4), ("6", Self::V6)])
    }
}

impl Text for Authentication {
    const EXPECTED: &'static str = "\"off\", \"optional\", \"required\" or \"accept-any\"";

    fn read(text: &str) -> Result<Self, String> {
        choose(
            text,
            &[
                ("off", Self::Off),
                ("optional", Self::Optional),
                ("required", Self::Required),
                ("accept-any", Self::AcceptAny),
            ],
        )
    }
}

impl Text for Lane {
    const EXPECTED: &'static str = "\"urgent\", \"normal\" or \"bulk\"";

    fn read(text: &str) -> Result<Self, String> {
        choose(text, &[("urgent", Self::Urgent), ("normal", Self::Normal), ("bulk", Self::Bulk)])
    }
}

impl Text for Uncertain {
    const EXPECTED: &'static str = "\"resend-once\" or \"hold\"";

    fn read(text: &str) -> Result<Self, String> {
        choose(text, &[("resend-once", Self::ResendOnce), ("hold", Self::Hold)])
    }
}

impl Text for FromPolicy {
    const EXPECTED: &'static str = "\"account\", \"alias-list\" or \"keep\"";

    fn read(text: &str) -> Result<Self, String> {
        choose(
            text,
            &[("account", Self::Account), ("alias-list", Self::AliasList), ("keep", Self::Keep)],
        )
    }
}

impl Text for Format {
    const EXPECTED: &'static str = "\"auto\", \"text\" or \"json\"";

    fn read(text: &str) -> Result<Self, String> {
        choose(text, &[("auto", Self::Auto), ("text", Self::Text), ("json", Self::Json)])
    }
}

/// `admin.http`.
impl Text for Option<SocketAddr> {
    const EXPECTED: &'static str =
        "\"off\", or an address and port in quotes such as \"127.0.0.1:8025\"";

    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() || text == "off" {
            return Ok(None);
        }
        let no_address = |_| {
            format!(
                "{} is neither \"off\" nor an address with a port such as \"127.0.0.1:8025\"",
                shown(text)
            )
        };
        text.parse().map(Some).map_err(no_address)
    }
}

impl Text for Output {
    const EXPECTED: &'static str = "\"stderr\" or \"stdout\"";

    fn read(text: &str) -> Result<Self, String> {
        choose(text, &[("stderr", Self::Stderr), ("stdout", Self::Stdout)])
    }
}

impl Text for tracing::Level {
    const EXPECTED: &'static str = "a level in quotes such as \"info\"";

    fn read(text: &str) -> Result<Self, String> {
        choose(
            text,
            &[
                ("error", Self::ERROR),
                ("warn", Self::WARN),
                ("info", Self::INFO),
                ("debug", Self::DEBUG),
                ("trace", Self::TRACE),
            ],
        )
    }
}
