//! A row of the table of replies, and at which stages a reply can come.

use super::{
    answer::{Reply, Stage},
    verdict::Verdict,
};

/// One known reply.
#[derive(Debug)]
pub(in crate::delivery) struct Row {
    /// At which stages.
    pub(in crate::delivery) stages: &'static [Stage],
    /// With which codes; empty means any.
    pub(in crate::delivery) codes: &'static [u16],
    /// With which enhanced codes; empty means any, "" means none given.
    pub(in crate::delivery) enhanced: &'static [&'static str],
    /// With one of these fragments, in lower case; empty means any text.
    pub(in crate::delivery) text: &'static [&'static str],
    /// What it means, in words.
    pub(in crate::delivery) meaning: &'static str,
    /// And for the relay.
    pub(in crate::delivery) verdict: Verdict,
    /// Where that is known from.
    pub(in crate::delivery) source: &'static str,
    /// Stages and lines as they were seen, at least one.
    pub(in crate::delivery) examples: &'static [(Stage, &'static str)],
}

impl Row {
    pub(in crate::delivery) fn fits(&self, stage: Stage, reply: &Reply, text: &str) -> bool {
        self.stages.contains(&stage)
            && (self.codes.is_empty() || self.codes.contains(&reply.code))
            && (self.enhanced.is_empty() || self.enhanced.contains(&reply.enhanced.as_str()))
            && (self.text.is_empty() || self.text.iter().any(|fragment| text.contains(fragment)))
    }
}

pub(in crate::delivery) const ANYWHERE: &[Stage] = &Stage::ALL;
pub(in crate::delivery) const OPENING: &[Stage] =
    &[Stage::Connect, Stage::Greeting, Stage::Ehlo, Stage::Starttls];
pub(in crate::delivery) const AUTH: &[Stage] = &[Stage::Auth];
pub(in crate::delivery) const TRANSACTION: &[Stage] =
    &[Stage::Mail, Stage::Rcpt, Stage::Data, Stage::FinalDot];
pub(in crate::delivery) const CONTENT: &[Stage] = &[Stage::Mail, Stage::Data, Stage::FinalDot];
pub(in crate::delivery) const MAIL: &[Stage] = &[Stage::Mail];
pub(in crate::delivery) const RCPT: &[Stage] = &[Stage::Rcpt];
pub(in crate::delivery) const FINAL_DOT: &[Stage] = &[Stage::FinalDot];
