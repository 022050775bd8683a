//! The replies that are known of each provider's server, and of servers in general.
//!
//! Rule: policy is data, and a provider's rows judge its own server alone. The first row that fits decides, a provider's before the
//! general ones; stage, code and enhanced code come before the prose, which drifts over the years, and the prose is matched by
//! short fragments. `docs/replies.md` is compared with the tables. Must not know what is done with a verdict.

mod general;
mod mailboxes;
mod microsoft;
mod remedies;
mod services;

use super::{
    answer::{Reply, Stage},
    gmail_replies,
    provider::Provider,
    reply_row::Row,
    verdict::{Action, Scope},
};

/// What is known of a provider's own server. Google's tables are complete; to the others those of any server are added.
fn own(provider: Provider) -> &'static [&'static [Row]] {
    match provider {
        Provider::Gmail | Provider::Workspace | Provider::WorkspaceRelay => gmail_replies::ROWS,
        Provider::Microsoft365 | Provider::Outlook => &[microsoft::ROWS],
        Provider::Icloud => &[mailboxes::ICLOUD],
        Provider::Zoho => &[mailboxes::ZOHO],
        Provider::Ses => &[services::SES],
        Provider::Mailgun => &[services::MAILGUN],
        Provider::Sendgrid => &[services::SENDGRID],
        Provider::Yahoo | Provider::Fastmail | Provider::Brevo => &[],
        Provider::Custom => &[general::ROWS],
    }
}

/// The rows that judge a provider's server, in the order in which they are compared.
fn rows(provider: Provider) -> impl Iterator<Item = &'static Row> {
    let is_complete = provider.is_google() || provider == Provider::Custom;
    let added = if is_complete { &[][..] } else { general::ROWS };
    own(provider).iter().copied().flatten().chain(added)
}

/// The first row that fits a negative reply.
pub(super) fn row(provider: Provider, stage: Stage, reply: &Reply) -> Option<&'static Row> {
    let text = reply.text.to_ascii_lowercase();
    rows(provider).find(|row| row.fits(stage, reply, &text))
}

/// One example of the table, for documents and tests.
#[derive(Clone, Copy, Debug)]
pub struct KnownReply {
    /// Whose server says it.
    pub provider: Provider,
    /// At which stage it was seen.
    pub stage: Stage,
    /// The line, without the server's session id.
    pub line: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// Whom it concerns.
    pub scope: Scope,
    /// What the relay does.
    pub action: Action,
    /// The account is meant, whatever was sent.
    pub certain: bool,
    /// What a person should do; empty when nothing.
    pub remedy: &'static str,
    /// Where it is known from.
    pub source: &'static str,
}

/// Every example of every table, row by row, with the first provider whose own table it is; [`Provider::Custom`] has that of
/// any server.
#[must_use]
pub fn known_replies() -> Vec<KnownReply> {
    let meanings =
        |provider| own(provider).iter().copied().flatten().map(|row| row.meaning).collect();
    let mut seen: Vec<Vec<&str>> = Vec::new();
    let mut known = Vec::new();
    for (_, provider) in Provider::WORDS {
        let table = meanings(*provider);
        if !seen.contains(&table) {
            known.extend(
                own(*provider).iter().copied().flatten().flat_map(|row| examples(*provider, row)),
            );
            seen.push(table);
        }
    }
    known
}

fn examples(provider: Provider, row: &'static Row) -> impl Iterator<Item = KnownReply> {
    row.examples.iter().map(move |(stage, line)| KnownReply {
        provider,
        stage: *stage,
        line,
        meaning: row.meaning,
        scope: row.verdict.scope,
        action: row.verdict.action,
        certain: row.verdict.certain,
        remedy: row.verdict.remedy,
        source: row.source,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::queue::state::AccountCondition::{self, PausedConfiguration, PausedQuota};

    /// Every row of every table, with a provider whose server it judges.
    fn each_row() -> impl Iterator<Item = (Provider, &'static Row)> {
        let providers = Provider::WORDS.iter().map(|(_, provider)| *provider);
        providers.flat_map(|provider| {
            own(provider).iter().copied().flatten().map(move |row| (provider, row))
        })
    }

    fn reply(line: &str) -> Reply {
        let (code, joined) = line.split_at(3);
        Reply::new(code.parse().unwrap(), joined.trim())
    }

    #[test]
    fn each_example_meets_its_own_row() {
        for (provider, expected) in each_row() {
            assert!(!expected.examples.is_empty() && !expected.source.is_empty());
            for (stage, line) in expected.examples {
                let met = row(provider, *stage, &reply(line)).map(|row| row.meaning);
                assert_eq!(met, Some(expected.meaning), "{provider:?} {stage:?} {line}");
            }
        }
    }

    #[test]
    fn no_two_rows_of_a_server_have_the_same_meaning_which_the_test_above_needs() {
        for (_, provider) in Provider::WORDS {
            let mut meanings: Vec<&str> = rows(*provider).map(|row| row.meaning).collect();
            let all = meanings.len();
            meanings.sort_unstable();
            meanings.dedup();
            assert_eq!(meanings.len(), all, "{provider:?}");
        }
    }

    #[test]
    fn each_fragment_of_a_row_is_in_one_of_its_examples_or_stands_for_older_words() {
        for (_, row) in each_row() {
            for fragment in row.text {
                assert_eq!(
                    *fragment,
                    fragment.to_ascii_lowercase(),
                    "the comparison needs lower case"
                );
            }
            let shown =
                |line: &str| row.text.iter().any(|text| line.to_ascii_lowercase().contains(text));
            assert!(
                row.text.is_empty() || row.examples.iter().all(|(_, line)| shown(line)),
                "{row:?}"
            );
        }
    }

    #[test]
    fn the_daily_limit_pauses_the_account_at_every_stage() {
        let reply = Reply::new(550, "5.4.5 Daily user sending quota exceeded. x - gsmtp");
        for stage in Stage::ALL {
            assert_eq!(
                row(Provider::Gmail, stage, &reply).map(|row| row.verdict.action),
                Some(Action::Pause(PausedQuota))
            );
        }
    }

    #[test]
    fn the_same_words_of_two_servers_mean_what_each_of_them_means() {
        let basic =
            reply("550 5.7.30 Basic authentication is not supported for Client Submission.");
        let of = |provider, reply: &Reply| {
            row(provider, Stage::FinalDot, reply).map(|row| row.verdict.action)
        };
        let paused = Some(Action::Pause(PausedConfiguration));
        assert_eq!(of(Provider::Microsoft365, &basic), paused);
        assert_eq!(of(Provider::Outlook, &basic), paused);
        assert_eq!(of(Provider::Gmail, &basic), Some(Action::GiveUp), "DKIM");
        assert_eq!(of(Provider::Custom, &basic), None);
        let unusual =
            reply("550 5.4.6 Unusual sending activity detected. Please try after sometime.");
        assert!(matches!(of(Provider::Zoho, &unusual), Some(Action::Pause(_))));
        assert_eq!(of(Provider::Custom, &unusual), Some(Action::GiveUp), "a loop");
        let of_gmail = reply("550 5.4.5 Daily user sending limit exceeded.");
        assert_eq!(of(Provider::Custom, &of_gmail), None, "its words decide");
    }

    #[test]
    fn whatever_stops_the_account_says_what_to_do_and_never_names_what_google_has_removed() {
        for (_, row) in each_row() {
            let remedy = row.verdict.remedy;
            let stops = match row.verdict.action {
                Action::Pause(_) => true,
                Action::Reconnect { then } => then != AccountCondition::BackingOff,
                _ => false,
            };
            assert!(!stops || remedy.ends_with('.'), "{}: {remedy:?}", row.meaning);
            for removed in ["less secure", "lesssecureapps", "DisplayUnlockCaptcha"] {
                assert!(!remedy.contains(removed), "{remedy}");
            }
        }
    }

    #[test]
    fn nothing_before_mail_ever_harms_a_message() {
        for (_, row) in each_row() {
            if row.stages.iter().any(|stage| *stage < Stage::Mail) {
                assert!(row.verdict.scope >= Scope::Connection, "{}", row.meaning);
            }
        }
    }

    #[test]
    fn only_replies_about_the_rate_lengthen_the_first_pause() {
        for (_, row) in each_row().filter(|(_, row)| row.verdict.least > Duration::ZERO) {
            assert!(matches!(row.verdict.action, Action::Pause(_)), "{}", row.meaning);
        }
    }
}
