//! The providers whose servers the relay knows: where they are, and what an account of theirs may do in a day.
//!
//! Rule: figures are data, and each says where it is known from: docs/providers.md is compared with them. They are defaults;
//! every one has a key of its own. Must not know relay.toml, nor what is done with a figure.

mod figures;
mod profiles;

pub(crate) use self::figures::Profile;

/// Who runs the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// A personal account at Google.
    Gmail,
    /// One of an organisation.
    Workspace,
    /// smtp-relay.gmail.com, which knows an organisation's hosts by their addresses.
    WorkspaceRelay,
    /// Exchange Online.
    Microsoft365,
    /// A personal account at Microsoft.
    Outlook,
    /// Apple.
    Icloud,
    /// Yahoo.
    Yahoo,
    /// Fastmail.
    Fastmail,
    /// Zoho Mail.
    Zoho,
    /// Amazon's.
    Ses,
    /// Mailgun.
    Mailgun,
    /// Brevo.
    Brevo,
    /// Twilio's.
    Sendgrid,
    /// Anybody else.
    Custom,
}

impl Provider {
    /// Every provider with its word in relay.toml.
    pub(crate) const WORDS: &'static [(&'static str, Self)] = &[
        ("gmail", Self::Gmail),
        ("workspace", Self::Workspace),
        ("workspace-relay", Self::WorkspaceRelay),
        ("microsoft365", Self::Microsoft365),
        ("outlook", Self::Outlook),
        ("icloud", Self::Icloud),
        ("yahoo", Self::Yahoo),
        ("fastmail", Self::Fastmail),
        ("zoho", Self::Zoho),
        ("ses", Self::Ses),
        ("mailgun", Self::Mailgun),
        ("brevo", Self::Brevo),
        ("sendgrid", Self::Sendgrid),
        ("custom", Self::Custom),
    ];

    /// Its word in relay.toml.
    pub(crate) fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, provider)| *provider == self).map_or("", |(word, _)| word)
    }

    /// What is known of it.
    pub(crate) fn profile(self) -> &'static Profile {
        match self {
            Self::Gmail => &profiles::GMAIL,
            Self::Workspace => &profiles::WORKSPACE,
            Self::WorkspaceRelay => &profiles::WORKSPACE_RELAY,
            Self::Microsoft365 => &profiles::MICROSOFT_365,
            Self::Outlook => &profiles::OUTLOOK,
            Self::Icloud => &profiles::ICLOUD,
            Self::Yahoo => &profiles::YAHOO,
            Self::Fastmail => &profiles::FASTMAIL,
            Self::Zoho => &profiles::ZOHO,
            Self::Ses => &profiles::SES,
            Self::Mailgun => &profiles::MAILGUN,
            Self::Brevo => &profiles::BREVO,
            Self::Sendgrid => &profiles::SENDGRID,
            Self::Custom => &profiles::CUSTOM,
        }
    }

    /// Whose server that is, where the name alone says it.
    pub(crate) fn of_host(host: &str) -> Option<Self> {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let is_usual = |one: &&(&str, Self)| one.1.profile().host.value == Some(host.as_str());
        if let Some((_, provider)) = Self::WORDS.iter().find(is_usual) {
            return Some(*provider);
        }
        let is_in = |before: &str, after: &str| host.starts_with(before) && host.ends_with(after);
        let of_zoho = ["smtp.zoho.", "smtppro.zoho."].iter().any(|before| host.starts_with(before));
        // Regions and data centres have names of their own.
        let others = [
            (Self::Ses, is_in("email-smtp.", ".amazonaws.com")),
            (Self::Mailgun, is_in("smtp.", ".mailgun.org")),
            (Self::Zoho, of_zoho),
        ];
        others.into_iter().find(|(_, is_theirs)| *is_theirs).map(|(provider, _)| provider)
    }

    /// Whether what an account may do in a day depends on a plan that the relay cannot know.
    pub(crate) fn has_plans(self) -> bool {
        matches!(
            self,
            Self::Outlook
                | Self::Fastmail
                | Self::Zoho
                | Self::Ses
                | Self::Mailgun
                | Self::Brevo
                | Self::Sendgrid
        )
    }

    /// Whether Microsoft runs it.
    pub(crate) fn is_microsoft(self) -> bool {
        matches!(self, Self::Microsoft365 | Self::Outlook)
    }

    /// Whether Google runs it.
    pub(crate) fn is_google(self) -> bool {
        matches!(self, Self::Gmail | Self::Workspace | Self::WorkspaceRelay)
    }
}

#[cfg(test)]
mod tests {
    use std::{fmt::Write, fs, path::Path};

    use super::{
        figures::{Evidence, Figure},
        *,
    };

    const BEGIN: &str = "<!-- The tables are written by `BLESS=1 cargo test --lib delivery::provider` from the program's own. -->\n";
    const END: &str = "<!-- End of the tables. -->\n";

    fn row<T>(text: &mut String, key: &str, figure: Figure<T>, shown: impl Fn(T) -> String) {
        let evidence = figure.evidence.to_string();
        writeln!(text, "| `{key}` | {} | {evidence} |", shown(figure.value)).unwrap();
    }

    fn tables() -> String {
        let mut text = String::new();
        for (word, provider) in Provider::WORDS {
            let profile = provider.profile();
            writeln!(text, "\n### {}: `provider = \"{word}\"`\n", profile.title).unwrap();
            text.push_str("| key | without the line | known from |\n|---|---|---|\n");
            let written = || "none: write the line".to_owned();
            row(&mut text, "[upstream] host", profile.host, |host| {
                host.map_or_else(written, |host| format!("`{host}`"))
            });
            row(&mut text, "[upstream] port", profile.port, |port| {
                let tls = if port == 465 { "TLS from the first byte" } else { "STARTTLS" };
                format!("{port} ({tls})")
            });
            let number = |value: u32| value.to_string();
            row(&mut text, "[budget] recipients_per_day", profile.recipients_per_day, number);
            row(
                &mut text,
                "[upstream] recipients_per_message",
                profile.recipients_per_message,
                number,
            );
            row(&mut text, "[listener] max_message_bytes", profile.message_bytes, |octets| {
                octets.to_string()
            });
            row(&mut text, "[upstream] connections", profile.connections, number);
            row(&mut text, "[budget] pace_per_minute", profile.pace_per_minute, number);
            let from = if profile.logs_in_as_mailbox { "account" } else { "keep" };
            writeln!(text, "| `[identity] from` | \"{from}\" | what its user names are |").unwrap();
        }
        text.push('\n');
        text
    }

    #[test]
    fn the_document_has_every_figure_with_its_source_as_the_program_knows_it() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/providers.md");
        let present = fs::read_to_string(&path).unwrap();
        let (before, rest) = present.split_once(BEGIN).expect("the mark before the tables");
        let (_, after) = rest.split_once(END).expect("the mark behind the tables");
        let expected = format!("{before}{BEGIN}{}{END}{after}", tables());
        if std::env::var_os("BLESS").is_some() {
            fs::write(&path, &expected).unwrap();
        }
        assert!(present == expected, "docs/providers.md differs; run the test with BLESS=1");
    }

    #[test]
    fn a_host_tells_its_provider_in_any_region_and_other_names_tell_nothing() {
        for (host, expected) in [
            ("smtp.gmail.com", Some(Provider::Gmail)),
            ("SMTP-relay.gmail.com.", Some(Provider::WorkspaceRelay)),
            ("smtp.office365.com", Some(Provider::Microsoft365)),
            ("email-smtp.eu-central-1.amazonaws.com", Some(Provider::Ses)),
            ("smtp.eu.mailgun.org", Some(Provider::Mailgun)),
            ("smtppro.zoho.eu", Some(Provider::Zoho)),
            ("mail.example.org", None),
            ("smtp.fastmail.com.example.org", None),
        ] {
            assert_eq!(Provider::of_host(host), expected, "{host}");
        }
    }

    #[test]
    fn each_provider_has_its_word_and_each_source_is_a_page_with_a_day() {
        for (word, provider) in Provider::WORDS {
            let profile = provider.profile();
            let evidence = [
                profile.host.evidence,
                profile.port.evidence,
                profile.recipients_per_day.evidence,
                profile.recipients_per_message.evidence,
                profile.message_bytes.evidence,
                profile.connections.evidence,
                profile.pace_per_minute.evidence,
            ];
            for evidence in evidence {
                if let Evidence::Page { address, read } = evidence {
                    assert!(address.starts_with("https://") && !address.contains(' '), "{word}");
                    assert!(read.len() == 10 && read.starts_with("20"), "{word} {read}");
                }
            }
            assert!(!profile.title.is_empty(), "{word}");
            assert!(profile.message_bytes.value >= 1 << 20 && profile.recipients_per_day.value > 0);
        }
    }
}
