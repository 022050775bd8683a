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
