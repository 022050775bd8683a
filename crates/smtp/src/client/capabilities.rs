//! The offer in a server's reply to EHLO (RFC 5321 section 4.1.1.1).
//!
//! Rule: keywords are compared without regard to case. lettre's `ServerInfo` keeps only four of them, hence
//! our own reading. Must not know which of them are used.

use super::reply::Reply;

/// The extensions that matter to a client of ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// RFC 1870.
    pub size: bool,
    /// The octets of the largest message that is taken; none where the server names no limit.
    pub size_max: Option<u64>,
    /// RFC 2920.
    pub pipelining: bool,
    /// RFC 6152.
    pub eight_bit_mime: bool,
    /// RFC 6531.
    pub internationalized: bool,
    /// RFC 3461.
    pub dsn: bool,
    /// RFC 3030.
    pub chunking: bool,
    /// RFC 3207.
    pub starttls: bool,
    /// RFC 4954 with the mechanism PLAIN.
    pub auth_plain: bool,
    /// The same with LOGIN, which no document defines and old servers offer alone.
    pub auth_login: bool,
    /// The same with XOAUTH2.
    pub auth_xoauth2: bool,
    /// The same with OAUTHBEARER (RFC 7628).
    pub auth_oauthbearer: bool,
}

impl Capabilities {
    /// Reads a 250 reply to EHLO. Its first line is the server's name.
    #[must_use]
    pub fn of(reply: &Reply) -> Self {
        let mut capabilities = Self::default();
        for line in reply.lines.iter().skip(1) {
            // `AUTH=LOGIN` is how servers wrote it before RFC 2554.
            let mut words =
                line.split(|separator: char| separator.is_ascii_whitespace() || separator == '=');
            match words.next().unwrap_or_default().to_ascii_uppercase().as_str() {
                "SIZE" => {
                    capabilities.size = true;
                    // 0 says that there is no fixed limit.
                    let octets = words.next().and_then(|word| word.parse().ok());
                    capabilities.size_max = octets.filter(|octets| *octets > 0);
                }
                "PIPELINING" => capabilities.pipelining = true,
                "8BITMIME" => capabilities.eight_bit_mime = true,
                "SMTPUTF8" => capabilities.internationalized = true,
                "DSN" => capabilities.dsn = true,
                "CHUNKING" => capabilities.chunking = true,
                "STARTTLS" => capabilities.starttls = true,
                "AUTH" => words.for_each(|mechanism| capabilities.offer(mechanism)),
                _ => {}
            }
        }
        capabilities
    }

    fn offer(&mut self, mechanism: &str) {
        match mechanism.to_ascii_uppercase().as_str() {
            "PLAIN" => self.auth_plain = true,
            "LOGIN" => self.auth_login = true,
            "XOAUTH2" => self.auth_xoauth2 = true,
            "OAUTHBEARER" => self.auth_oauthbearer = true,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &str) -> Capabilities {
        let lines = lines.lines().map(str::to_owned).collect();
        Capabilities::of(&Reply { code: 250, lines })
    }

    #[test]
    fn gmails_reply_offers_nearly_everything_and_a_bare_one_nothing() {
        let gmail = "smtp.gmail.com at your service, [192.0.2.1]\nSIZE 35882577\n8BITMIME\nSTARTTLS\nAUTH LOGIN PLAIN XOAUTH2 PLAIN-CLIENTTOKEN OAUTHBEARER XOAUTH\n\
                     ENHANCEDSTATUSCODES\nPIPELINING\nCHUNKING\nSMTPUTF8";
        let all = Capabilities {
            size: true,
            size_max: Some(35_882_577),
            pipelining: true,
            eight_bit_mime: true,
            internationalized: true,
            dsn: false,
            chunking: true,
            starttls: true,
            auth_plain: true,
            auth_login: true,
            auth_xoauth2: true,
            auth_oauthbearer: true,
        };
        assert_eq!(of(gmail), all);
        assert_eq!(of(&gmail.to_lowercase()), all);
        assert_eq!(of("PIPELINING is my name"), Capabilities::default());
        assert!(of("relay\nDSN").dsn);
        for unlimited in ["relay\nSIZE", "relay\nSIZE 0", "relay\nSIZE much"] {
            assert_eq!((of(unlimited).size, of(unlimited).size_max), (true, None), "{unlimited}");
        }
    }

    #[test]
    fn mechanisms_are_read_in_the_form_of_old_servers_too() {
        let old = of("mail.example.org\nAUTH=LOGIN PLAIN");
        assert!(old.auth_login && old.auth_plain && !old.auth_xoauth2);
    }
}
