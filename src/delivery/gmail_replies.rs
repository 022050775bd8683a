//! The replies of Gmail that are known, each with its meaning and its source.
//!
//! Rule: policy is data. The first row that fits decides; stage, code and enhanced code come before the
//! prose, which drifts over the years, and the prose is matched by short fragments. To add a reply, add a
//! row with lines as they were seen: a test proves that each example meets its own row, another sends each
//! of them over a real connection, and `docs/gmail.md` is compared with the table.
//! Must not know what is done with a verdict.

mod content;
mod envelope;
mod login;
mod opening;
mod remedies;
mod row;

pub(super) use self::row::Row;
use super::{
    answer::{Reply, Stage},
    verdict::{Action, Scope},
};

/// Every row, in the order in which they are compared.
fn rows() -> impl Iterator<Item = &'static Row> {
    [opening::ROWS, login::ROWS, envelope::ROWS, content::ROWS].into_iter().flatten()
}

/// The first row that fits a negative reply.
pub(super) fn row(stage: Stage, reply: &Reply) -> Option<&'static Row> {
    let text = reply.text.to_ascii_lowercase();
    rows().find(|row| row.fits(stage, reply, &text))
}

/// One example of the table, for documents and tests.
#[derive(Clone, Copy, Debug)]
pub struct KnownReply {
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

/// Every example of the table, row by row.
#[must_use]
pub fn known_replies() -> Vec<KnownReply> {
    let examples = |row: &'static Row| {
        row.examples.iter().map(move |(stage, line)| KnownReply {
            stage: *stage,
            line,
            meaning: row.meaning,
            scope: row.verdict.scope,
            action: row.verdict.action,
            certain: row.verdict.certain,
            remedy: row.verdict.remedy,
            source: row.source,
        })
    };
    rows().flat_map(examples).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::queue::state::AccountCondition::{self, PausedQuota};

    fn reply(line: &str) -> Reply {
        let (code, joined) = line.split_at(3);
        Reply::new(code.parse().unwrap(), joined.trim())
    }

    #[test]
    fn each_example_meets_its_own_row() {
        for expected in rows() {
            assert!(!expected.examples.is_empty() && !expected.source.is_empty());
            for (stage, line) in expected.examples {
                let met = row(*stage, &reply(line)).map(|row| row.meaning);
                assert_eq!(met, Some(expected.meaning), "{stage:?} {line}");
            }
        }
    }

    #[test]
    fn no_two_rows_have_the_same_meaning_which_the_test_above_needs() {
        let mut meanings: Vec<&str> = rows().map(|row| row.meaning).collect();
        let all = meanings.len();
        meanings.sort_unstable();
        meanings.dedup();
        assert_eq!(meanings.len(), all);
    }

    #[test]
    fn each_fragment_of_a_row_is_in_one_of_its_examples_or_stands_for_older_words() {
        for row in rows() {
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
                row(stage, &reply).map(|row| row.verdict.action),
                Some(Action::Pause(PausedQuota))
            );
        }
    }

    #[test]
    fn whatever_stops_the_account_says_what_to_do_and_never_names_what_google_has_removed() {
        for row in rows() {
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
        for row in rows().filter(|row| row.stages.iter().any(|stage| *stage < Stage::Mail)) {
            assert!(row.verdict.scope >= Scope::Connection, "{}", row.meaning);
        }
    }

    #[test]
    fn only_replies_about_the_rate_lengthen_the_first_pause() {
        for row in rows().filter(|row| row.verdict.least > Duration::ZERO) {
            assert!(matches!(row.verdict.action, Action::Pause(_)), "{}", row.meaning);
        }
    }
}
