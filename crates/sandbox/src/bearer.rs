//! The payloads of XOAUTH2 and OAUTHBEARER (docs/gmail.md section 4.2, RFC 7628 section 3.1).
//!
//! Rule: read to the octet; a payload with a missing separator is malformed, as at Gmail.
//! Must not know which tokens are good.

/// A user name and a token as the client sent them.
#[derive(PartialEq, Eq)]
pub(super) struct Bearer {
    pub username: String,
    pub token: String,
}

impl Bearer {
    /// `user=ADDRESS^Aauth=Bearer TOKEN^A^A`.
    pub(super) fn of_xoauth2(payload: &str) -> Option<Self> {
        let (username, rest) = payload.strip_prefix("user=")?.split_once(SEPARATOR)?;
        let token = rest.strip_prefix("auth=Bearer ")?.strip_suffix("\u{1}\u{1}")?;
        Self::new(username, token)
    }

    /// `n,a=ADDRESS,^Ahost=NAME^Aport=NUMBER^Aauth=Bearer TOKEN^A^A`; host and port may be missing.
    pub(super) fn of_oauthbearer(payload: &str) -> Option<Self> {
        let (head, rest) = payload.strip_suffix("\u{1}\u{1}")?.split_once(SEPARATOR)?;
        let username = head.strip_prefix("n,a=")?.strip_suffix(',')?;
        let mut fields = rest.split(SEPARATOR);
        let token = fields.find_map(|field| field.strip_prefix("auth=Bearer "))?;
        // In a name of GS2 (RFC 5801 section 4) comma and equals sign are encoded.
        Self::new(&username.replace("=2C", ",").replace("=3D", "="), token)
    }

    fn new(username: &str, token: &str) -> Option<Self> {
        let readable =
            |text: &str| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_graphic());
        (readable(username) && readable(token))
            .then(|| Self { username: username.to_owned(), token: token.to_owned() })
    }
}

const SEPARATOR: char = '\u{1}';

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bearer: Option<Bearer>) -> Option<(String, String)> {
        bearer.map(|bearer| (bearer.username, bearer.token))
    }

    #[test]
    fn both_payloads_name_the_user_and_the_token() {
        let expected = Some(("a@b.c".to_owned(), "t".to_owned()));
        assert_eq!(read(Bearer::of_xoauth2("user=a@b.c\u{1}auth=Bearer t\u{1}\u{1}")), expected);
        let long = "n,a=a@b.c,\u{1}host=smtp.gmail.com\u{1}port=587\u{1}auth=Bearer t\u{1}\u{1}";
        assert_eq!(read(Bearer::of_oauthbearer(long)), expected);
        assert_eq!(
            read(Bearer::of_oauthbearer("n,a=a@b.c,\u{1}auth=Bearer t\u{1}\u{1}")),
            expected
        );
    }

    #[test]
    fn a_payload_with_a_fault_is_malformed() {
        for wrong in [
            "",
            "user=a@b.c\u{1}auth=Bearer t\u{1}",
            "user=a@b.c auth=Bearer t\u{1}\u{1}",
            "user=\u{1}auth=Bearer t\u{1}\u{1}",
            "user=a@b.c\u{1}auth=Bearer \u{1}\u{1}",
            "user=a@b.c\u{1}auth=Bearer t t\u{1}\u{1}",
            "user=a@b.c\u{1}auth=bearer t\u{1}\u{1}",
        ] {
            assert_eq!(read(Bearer::of_xoauth2(wrong)), None, "{wrong:?}");
        }
        for wrong in
            ["n,a=a@b.c\u{1}auth=Bearer t\u{1}\u{1}", "user=a@b.c\u{1}auth=Bearer t\u{1}\u{1}"]
        {
            assert_eq!(read(Bearer::of_oauthbearer(wrong)), None, "{wrong:?}");
        }
    }
}
