//! What the upstream's reply to EHLO offers (RFC 5321 section 4.1.1.1).
//!
//! Rule: pure; keywords are compared without regard to case. lettre keeps only four of them, hence our
//! own reading. Must not know which of them are used.

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
}

impl Capabilities {
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
                    capabilities.auth_plain = words.any(|mechanism| mechanism.eq_ignore_ascii_case("PLAIN"));
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
        let gmail = "smtp.gmail.com at your service, [192.0.2.1]\nSIZE 35882577\n8BITMIME\nAUTH LOGIN PLAIN XOAUTH2\n\
                     ENHANCEDSTATUSCODES\nPIPELINING\nCHUNKING\nSMTPUTF8";
        let all = Capabilities {
            size: true,
            pipelining: true,
            eight_bit_mime: true,
            internationalized: true,
            auth_plain: true,
        };
        assert_eq!(Capabilities::read(gmail.lines()), all);
        assert_eq!(Capabilities::read(gmail.to_lowercase().lines()), all);
        assert_eq!(Capabilities::read(["PIPELINING is my name"].into_iter()), Capabilities::default());
    }
}
