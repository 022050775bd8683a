//! A row of the table of replies, and at which stages a reply can come.

use crate::delivery::{
    answer::{Reply, Stage},
    verdict::Verdict,
};

/// One known reply.
#[derive(Debug)]
pub(in crate::delivery) struct Row {
    /// At which stages.
    pub(super) stages: &'static [Stage],
    /// With which codes; empty means any.
    pub(super) codes: &'static [u16],
    /// With which enhanced codes; empty means any, "" means none given.
    pub(super) enhanced: &'static [&'static str],
    /// With one of these fragments, in lower case; empty means any text.
    pub(super) text: &'static [&'static str],
    /// What it means, in words.
    pub(super) meaning: &'static str,
    /// And for the relay.
    pub(in crate::delivery) verdict: Verdict,
    /// Where that is known from.
    pub(super) source: &'static str,
    /// Stages and lines as they were seen, at least one.
    pub(super) examples: &'static [(Stage, &'static str)],
}

impl Row {
    pub(super) fn fits(&self, stage: Stage, reply: &Reply, text: &str) -> bool {
        self.stages.contains(&stage)
            && (self.codes.is_empty() || self.codes.contains(&reply.code))
            && (self.enhanced.is_empty() || self.enhanced.contains(&reply.enhanced.as_str()))
            && (self.text.is_empty() || self.text.iter().any(|fragment| text.contains(fragment)))
    }
}

pub(super) const ANYWHERE: &[Stage] = &Stage::ALL;
pub(super) const OPENING: &[Stage] =
    &[Stage::Connect, Stage::Greeting, Stage::Ehlo, Stage::Starttls];
pub(super) const AUTH: &[Stage] = &[Stage::Auth];
pub(super) const TRANSACTION: &[Stage] = &[Stage::Mail, Stage::Rcpt, Stage::Data, Stage::FinalDot];
pub(super) const CONTENT: &[Stage] = &[Stage::Mail, Stage::Data, Stage::FinalDot];
pub(super) const MAIL: &[Stage] = &[Stage::Mail];
pub(super) const RCPT: &[Stage] = &[Stage::Rcpt];
pub(super) const FINAL_DOT: &[Stage] = &[Stage::FinalDot];
