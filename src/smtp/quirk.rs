//! The oddities of old clients that are put right instead of refused.
//!
//! Rule: each has one name, for the log and for the count of each client, so that an administrator sees
//! which device is odd. Must not know what is done about them.

/// One kind of oddity, named as in the documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quirk {
    /// Lines of the message ended with LF alone.
    BareLf,
    /// A CR without LF in the message.
    BareCr,
}

impl Quirk {
    /// The word for log, counts and documents.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BareLf => "bare-lf",
            Self::BareCr => "bare-cr",
        }
    }
}
