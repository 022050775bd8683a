//! The providers that give tokens: what they call the right to send mail, and the command that gets the first token.
//!
//! Rule: pure; nobody else spells the command. Must not know how tokens are had.

/// What a token must allow: Gmail's SMTP takes no narrower scope (docs/gmail.md section 4.3).
const SCOPE: &str = "https://mail.google.com/";
/// What is enough for the Gmail API, which is narrower: to send, and nothing else (docs/https.md).
const SEND_SCOPE: &str = "https://www.googleapis.com/auth/gmail.send";
/// The right to send mail at Microsoft without the resource, for which Microsoft has more than one address.
const MICROSOFT_PERMISSION: &str = "smtp.send";

/// Who gives tokens to an account's owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Issuer {
    /// With a consent in a browser on this host, or pasted.
    Google,
    /// The same, for tokens that send by the API alone.
    GoogleApi,
    /// With a code that is entered on any other device (RFC 8628).
    Microsoft,
}

impl Issuer {
    /// What a person runs to get the first token, or a new one.
    pub(crate) const fn command(self) -> &'static str {
        match self {
            Self::Google | Self::GoogleApi => "pillarbox auth google",
            Self::Microsoft => "pillarbox auth microsoft",
        }
    }

    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Google | Self::GoogleApi => "Google",
            Self::Microsoft => "Microsoft",
        }
    }

    /// What is asked for. Microsoft gives a refresh token only with `offline_access`.
    pub(crate) const fn asked(self) -> &'static str {
        match self {
            Self::Google => SCOPE,
            Self::GoogleApi => SEND_SCOPE,
            Self::Microsoft => "https://outlook.office.com/SMTP.Send offline_access",
        }
    }

    /// Whether what was allowed includes sending mail.
    pub(crate) fn allows_mail(self, scope: &str) -> bool {
        scope.split(' ').any(|one| match self {
            Self::Google => one == SCOPE,
            // All of Gmail includes to send.
            Self::GoogleApi => one == SEND_SCOPE || one == SCOPE,
            Self::Microsoft => one
                .rsplit('/')
                .next()
                .is_some_and(|name| name.eq_ignore_ascii_case(MICROSOFT_PERMISSION)),
        })
    }

    /// How long a refresh token may lie unused.
    pub(crate) const fn unused(self) -> &'static str {
        match self {
            Self::Google | Self::GoogleApi => "6 months",
            Self::Microsoft => "90 days",
        }
    }

    /// Where the account's owner sees, and ends, what programs may do.
    pub(crate) const fn permissions_page(self) -> &'static str {
        match self {
            Self::Google | Self::GoogleApi => "https://myaccount.google.com/connections",
            Self::Microsoft => {
                "https://account.live.com/consent/Manage for a personal account, https://myapps.microsoft.com for one of \
                 an organisation"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scope_that_is_asked_for_allows_mail_and_no_other_does() {
        for issuer in [Issuer::Google, Issuer::GoogleApi, Issuer::Microsoft] {
            assert!(issuer.allows_mail(issuer.asked()));
            for other in ["", "openid", "https://outlook.office.com/IMAP.AccessAsUser.All"] {
                assert!(!issuer.allows_mail(other), "{issuer:?} {other}");
            }
        }
        assert!(Issuer::Microsoft.allows_mail("openid https://outlook.office365.com/smtp.send"));
        assert!(!Issuer::Google.allows_mail(Issuer::Microsoft.asked()));
        assert!(Issuer::GoogleApi.allows_mail(SCOPE), "the wider one will do");
        assert!(!Issuer::Google.allows_mail(SEND_SCOPE), "SMTP takes no narrower one");
    }
}
