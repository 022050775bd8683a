//! What the upstream's reply to EHLO offers (RFC 5321 section 4.1.1.1).
//!
//! Rule: pure; keywords are compared without regard to case. lettre keeps only four of them, hence our
//! own reading. Must not know which of them are used.

use super::bearer::Mechanism;

/// The extensions that matter to a relay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Capabilities {
    /// RFC 1870.
    pub(super) size: bool,
    /// RFC 2920.
    pub(super) pipelining: bool,
    /// RFC 6152.
    pub(super) eight_bit_mime: bool,
    /// RFC 6531.
    pub(super) internationalized: bool,
    /// RFC 4954 with the mechanism PLAIN.
    pub(super) auth_plain: bool,
    /// The same with LOGIN, which no document defines and old servers offer alone.
    pub(super) auth_login: bool,
    /// The same with XOAUTH2.
    pub(super) auth_xoauth2: bool,
    /// The same with OAUTHBEARER (RFC 7628).
    pub(super) auth_oauthbearer: bool,
}

impl Capabilities {
    /// How a token is presented. XOAUTH2 first: it is what Gmail documents for SMTP.
    pub(super) fn bearer_mechanism(&self) -> Option<Mechanism> {
        let offered = [
            (self.auth_xoauth2, Mechanism::Xoauth2),
            (self.auth_oauthbearer, Mechanism::Oauthbearer),
        ];
        offered.into_iter().find(|(offered, _)| *offered).map(|(_, mechanism)| mechanism)
    }

    /// Reads the lines of a 250 reply to EHLO, without their codes. The first is the server's name.
    pub(super) fn read<'a>(lines: impl Iterator<Item = &'a str>) -> Self {
        let mut capabilities = Self::default();
        for line in lines.skip(1) {
            let mut words = line.split_ascii_whitespace();
            match words.next().unwrap_or_default().to_ascii_uppercase().as_str() {
                "SIZE" => capabilities.size = true,
                "PIPELINING" => capabilities.pipelining = true,
                "8BITMIME" => capabilities.eight_bit_mime = true,
                "SMTPUTF8" => capabilities.internationalized = true,
                "AUTH" => {
                    for mechanism in words {
                        match mechanism.to_ascii_uppercase().as_str() {
                            "PLAIN" => capabilities.auth_plain = true,
                            "LOGIN" => capabilities.auth_login = true,
                            "XOAUTH2" => capabilities.auth_xoauth2 = true,
                            "OAUTHBEARER" => capabilities.auth_oauthbearer = true,
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        capabilities
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gmails_reply_offers_everything_and_a_bare_one_nothing() {
        let gmail = "smtp.gmail.com at your service, [192.0.2.1]\nSIZE 35882577\n8BITMIME\nAUTH LOGIN PLAIN XOAUTH2 PLAIN-CLIENTTOKEN OAUTHBEARER XOAUTH\n\
                     ENHANCEDSTATUSCODES\nPIPELINING\nCHUNKING\nSMTPUTF8";
        let all = Capabilities {
            size: true,
            pipelining: true,
            eight_bit_mime: true,
            internationalized: true,
            auth_plain: true,
            auth_login: true,
            auth_xoauth2: true,
            auth_oauthbearer: true,
        };
        assert_eq!(Capabilities::read(gmail.lines()), all);
        assert_eq!(Capabilities::read(gmail.to_lowercase().lines()), all);
        assert_eq!(
            Capabilities::read(["PIPELINING is my name"].into_iter()),
            Capabilities::default()
        );
    }
}
