//! The rules by which messages are judged as they come in: what a `[[rule]]` asks, and what follows from it.
//!
//! Rule: pure. Must not know where a message comes from or is kept.

mod explanation;
mod facts;
pub(crate) mod hint;
mod matching;
mod pattern;
mod recollection;
mod ruleset;

#[cfg(test)]
mod tests;

pub(crate) use self::{
    explanation::{Judgement, Outcome},
    facts::Facts,
    matching::{HeaderTest, Hours, Matcher, Sender, Size, Words},
    pattern::Pattern,
    recollection::Kept,
    ruleset::{
        Effect, NAME_LENGTH_MAX, PATTERNS_MAX, REFUSAL_LENGTH_MAX, ROUTES_MAX, RULES_MAX, Rule,
    },
};
// Nobody outside can name it; tests leave it empty in the options of the listener.
pub use self::ruleset::Rules;
