//! A token on the wire: the AUTH command of XOAUTH2 and OAUTHBEARER, and what the upstream answers to a bad one.
//!
//! Rule: pure. Besides `credential.rs` the only file that exposes a secret to the upstream; it prints as stars.
//! Must not know connections, nor where a token comes from.

use data_encoding::BASE64;
use hyper::header::HeaderValue;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{
    answer::{Reply, Stage},
    oauth::{Kind, TokenError},
    provider::Provider,
    reply_tables,
    verdict::Action,
};
use crate::{
    queue::state::AccountCondition, secret::Secret, smtp::client::capabilities::Capabilities, text,
};

/// Octets of an AUTH command with its initial response (RFC 4954 section 4). Nothing is cut at the 512 of other
/// commands.
const LINE_LENGTH_MAX: usize = 12_288;
/// Octets of a challenge that are looked at.
const CHALLENGE_LENGTH_MAX: usize = 4 * 1024;
/// Octets of one of its fields that are shown.
const FIELD_LENGTH_MAX: usize = 100;

/// A way to present a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mechanism {
    /// Google's own, older than the standard.
    Xoauth2,
    /// RFC 7628.
    Oauthbearer,
}

impl Mechanism {
    /// How a token is presented. XOAUTH2 first: it is what Gmail documents for SMTP.
    pub(super) fn offered(capabilities: &Capabilities) -> Option<Self> {
        let offered = [
            (capabilities.auth_xoauth2, Self::Xoauth2),
            (capabilities.auth_oauthbearer, Self::Oauthbearer),
        ];
        offered.into_iter().find(|(offered, _)| *offered).map(|(_, mechanism)| mechanism)
    }

    /// The AUTH command with its initial response and CRLF; `None` when it is longer than a command may be.
    pub(super) fn line(
        self,
        username: &str,
        token: &Secret,
        host: &str,
        port: u16,
    ) -> Option<Zeroizing<String>> {
        let token = token.expose();
        let (name, response) = match self {
            Self::Xoauth2 => ("XOAUTH2", format!("user={username}\x01auth=Bearer {token}\x01\x01")),
            Self::Oauthbearer => {
                // In this field alone "=" and "," are escaped (RFC 5801 section 4).
                let name = username.replace('=', "=3D").replace(',', "=2C");
                let response = format!(
                    "n,a={name},\x01host={host}\x01port={port}\x01auth=Bearer {token}\x01\x01"
                );
                ("OAUTHBEARER", response)
            }
        };
        let response = Zeroizing::new(response);
        let encoded = Zeroizing::new(BASE64.encode(response.as_bytes()));
        let line = Zeroizing::new(format!("AUTH {name} {}\r\n", *encoded));
        (line.len() <= LINE_LENGTH_MAX).then_some(line)
    }

    /// What answers the challenge that says why a token was refused; the refusal itself follows.
    pub(super) fn acknowledgement(self) -> &'static str {
        match self {
            Self::Xoauth2 => "\r\n",
            // A single 0x01 (RFC 7628 section 3.2.3).
            Self::Oauthbearer => "AQ==\r\n",
        }
    }
}

/// A token in the header of an HTTP request (RFC 6750 section 2.1), which prints as nothing; `None` when no header can hold it.
pub(super) fn authorization(token: &Secret) -> Option<HeaderValue> {
    let text = Zeroizing::new(format!("Bearer {}", token.expose()));
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// What the upstream says about a token that it refuses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Challenge {
    #[serde(default)]
    status: String,
    #[serde(default)]
    scope: String,
}

impl Challenge {
    /// Reads the text of a 334; what is no such JSON says nothing.
    pub(super) fn read(text: &str) -> Self {
        let text = text.trim();
        if text.len() > CHALLENGE_LENGTH_MAX {
            return Self::default();
        }
        let json = BASE64.decode(text.as_bytes()).unwrap_or_default();
        serde_json::from_slice(&json).unwrap_or_default()
    }

    /// In words, such as `status 400, scope https://mail.google.com/`; empty when it says nothing.
    pub(super) fn words(&self) -> String {
        let fields = [("status", &self.status), ("scope", &self.scope)];
        let shown = fields.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| {
            format!("{name} {}", text::printable_within(value, FIELD_LENGTH_MAX))
        });
        shown.collect::<Vec<_>>().join(", ")
    }
}

/// Whether a refusal of AUTH is about the token. Captchas, limits and what is switched off, which have their rows in the
/// table of replies, are not mended by a new one.
pub(super) fn concerns_the_token(provider: Provider, reply: &Reply) -> bool {
    let text = reply.text.to_ascii_lowercase();
    let configuration = Action::Pause(AccountCondition::PausedConfiguration);
    let known = reply_tables::row(provider, Stage::Auth, reply);
    let is_configuration = known.is_some_and(|row| row.verdict.action == configuration);
    reply.code == 535
        && !is_configuration
        && !text.contains("web browser")
        && !text.contains("webloginrequired")
}

/// A new token was refused as well. `consent` is the command with which the account's owner consents, if one has to.
pub(super) fn refused(
    provider: Provider,
    consent: Option<&str>,
    words: &str,
    username: &str,
) -> TokenError {
    let reason = format!("the upstream refuses a token that was just issued: {words}");
    let remedy = match consent {
        Some(command) if provider.is_microsoft() => format!(
            "The consent was probably given by another account than {username}: run `{command}` and log in as {username}. Or \
             SMTP AUTH is off for the mailbox, which an administrator turns on (docs/microsoft.md; in Outlook.com: Settings, Mail, \
             Forwarding and IMAP). Then run `pillarbox resume`."
        ),
        None if provider.is_microsoft() => format!(
            "The application may not send as {username}: give it the mailbox in Exchange, with the object id of its enterprise \
             application, and see that SMTP AUTH is on for the mailbox (docs/microsoft.md has the commands). Then run \
             `pillarbox resume`."
        ),
        Some(command) => format!(
            "The consent was probably given by another account than {username}, or without Gmail's box ticked: run \
             `{command}` and log in as {username}. In a Workspace, the administrator may have turned off \
             SMTP or this client. Then run `pillarbox resume`."
        ),
        None => format!(
            "Check that upstream.username ({username}) is an existing mailbox of the domain, and that the administrator of the \
             Workspace has not turned off SMTP for it. Then run `pillarbox resume`."
        ),
    };
    TokenError { kind: Kind::Dead, reason, remedy }
}

/// EHLO offers no mechanism for tokens.
pub(super) fn not_offered() -> TokenError {
    TokenError {
        kind: Kind::Refused,
        reason: "the server offers neither AUTH XOAUTH2 nor AUTH OAUTHBEARER".into(),
        remedy: "Check that upstream.host and upstream.port are a submission server that takes tokens, or set upstream.auth \
                 = \"password\"; then run `pillarbox resume`."
            .into(),
    }
}

/// The token does not fit into a command.
pub(super) fn too_long() -> TokenError {
    TokenError {
        kind: Kind::Refused,
        reason: format!(
            "the access token is too long for SMTP, whose AUTH takes {LINE_LENGTH_MAX} octets"
        ),
        remedy: "Ask the provider for fewer claims in its tokens; then run `pillarbox resume`."
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(mechanism: Mechanism, username: &str) -> String {
        let token = Secret::new("ya29.token".into());
        let line = mechanism.line(username, &token, "smtp.gmail.com", 587).unwrap();
        let encoded = line.trim_end().rsplit(' ').next().unwrap();
        String::from_utf8(BASE64.decode(encoded.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn both_mechanisms_have_the_form_of_their_document() {
        let xoauth2 = decoded(Mechanism::Xoauth2, "someuser@example.com");
        assert_eq!(xoauth2, "user=someuser@example.com\x01auth=Bearer ya29.token\x01\x01");
        let bearer = decoded(Mechanism::Oauthbearer, "a=b,c@example.com");
        assert_eq!(
            bearer,
            "n,a=a=3Db=2Cc@example.com,\x01host=smtp.gmail.com\x01port=587\x01auth=Bearer ya29.token\x01\x01"
        );
    }

    #[test]
    fn a_long_token_stays_on_one_line_up_to_the_limit_of_auth() {
        let line = |length| {
            Mechanism::Xoauth2.line(
                "me@gmail.com",
                &Secret::new("x".repeat(length)),
                "smtp.gmail.com",
                587,
            )
        };
        let long = line(8_000).unwrap();
        assert_eq!(long.matches("\r\n").count(), 1);
        assert!(long.len() > 10_000 && line(10_000).is_none());
    }

    #[test]
    fn the_challenges_that_were_seen_are_read_and_others_say_nothing() {
        let challenge = |json: &str| Challenge::read(&BASE64.encode(json.as_bytes())).words();
        assert_eq!(
            challenge(r#"{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}"#),
            "status 400, scope https://mail.google.com/"
        );
        assert_eq!(
            challenge(r#"{"status":"invalid_request","scope":"https://mail.google.com/"}"#),
            "status invalid_request, scope https://mail.google.com/"
        );
        assert_eq!(Challenge::read("no base64").words(), "");
        assert_eq!(Challenge::read("").words(), "");
    }
}
