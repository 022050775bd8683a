//! The reasons why a line is not a command, as a client hears them.

use thiserror::Error;

use crate::address::AddressError;

/// Why a line is not a command. The words are for the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CommandError {
    /// Nothing but blanks.
    #[error("empty command line")]
    Empty,
    /// A bare CR, a NUL or another control character.
    #[error("control character in a command line")]
    Character,
    /// Octets above 127 where only ASCII may be, or no UTF-8.
    #[error("only ASCII is allowed in this command")]
    EightBit,
    /// The arguments have the wrong form; the right one is given.
    #[error("syntax: {0}")]
    Usage(&'static str),
    /// A parameter of one of our extensions has a value that cannot be understood.
    #[error("the value of {0} is not valid")]
    Parameter(&'static str),
    /// The address of MAIL.
    #[error("bad sender address: {0}")]
    ReversePath(AddressError),
    /// The address of RCPT.
    #[error("bad recipient address: {0}")]
    ForwardPath(AddressError),
    /// What stands beside the address of MAIL is not a parameter.
    #[error("bad sender address: what stands beside it is not a parameter")]
    BehindSender,
    /// What stands beside the address of RCPT may be somebody else's.
    #[error("bad recipient address: name one recipient in each RCPT command")]
    BehindRecipient,
}
