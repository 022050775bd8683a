//! The senders of devices that do not know what an address is: what is saved of them.
//!
//! Rule: such a sender costs nobody's mail, because the account stands in its place anyway; two senders, or a RCPT that
//! lost its line end, are no sender at all. Must not know who may send so.

use super::error::CommandError;
use crate::{
    address::Address,
    path::{self, Path},
    quirk::Quirks,
};

/// The reverse path where nothing can be saved: a name of this host, so that its failures are told to the
/// administrator. `<>` would silence them.
const UNKNOWN: &str = "unknown-sender";

/// What the client said of its sender, and the parameters behind it.
///
/// # Errors
/// The error itself, where it is not about the sender alone.
pub(super) fn unusable(text: &str, error: CommandError) -> Result<(&str, &str), CommandError> {
    if !matches!(
        error,
        CommandError::Usage(_) | CommandError::ReversePath(_) | CommandError::EightBit
    ) || has_lost_its_line_end(text)
    {
        return Err(error);
    }
    let mut quirks = Quirks::default();
    if let Ok((Path::Bracketed(_) | Path::Null, _, parameters)) = path::split(text, &mut quirks) {
        let said = text.strip_suffix(parameters).unwrap_or(text);
        return Ok((said.trim_ascii_end(), parameters));
    }
    let (said, parameters) = path::parameters_behind(text);
    let mut addresses = words(said).filter(|word| word.contains('@'));
    let first = addresses.next().unwrap_or_default();
    if addresses.any(|other| !other.eq_ignore_ascii_case(first)) {
        return Err(CommandError::BehindSender);
    }
    Ok((said, parameters))
}

/// Whether the next command of a client that forgot a line end stands behind its sender: that is a recipient.
pub(super) fn has_lost_its_line_end(text: &str) -> bool {
    text.to_ascii_uppercase().contains("RCPT TO")
}

/// A reverse path instead of such a text: the address in it, if there is one in ASCII.
pub(super) fn salvaged(text: &str) -> Option<Address> {
    let read =
        |word: &str| Address::rooted(word).ok().filter(|found| !found.is_internationalized());
    let whole = words(text).filter(|word| word.contains('@')).find_map(read);
    // `root@(none)`, where a host has no name.
    let name = || words(text).find_map(|word| word.strip_suffix('@').and_then(read));
    whole.or_else(name).or_else(|| UNKNOWN.parse().ok())
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', '\t', '<', '>', '(', ')', '[', ']', ',', ';', '"', '\''])
        .map(|word| word.trim_matches(':'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::AddressError;

    #[test]
    fn of_a_sender_that_is_no_address_the_address_in_it_is_saved() {
        for (text, saved) in [
            ("<a@b.example", "a@b.example"),
            ("a@b.example>", "a@b.example"),
            ("My Printer@office", "Printer@office"),
            ("root@web01.example.org..", "unknown-sender"),
            ("<root@(none)>", "root"),
            ("B\u{fc}ro@b.example", "unknown-sender"),
            ("'scan@b.example'", "scan@b.example"),
            ("My Printer", "unknown-sender"),
            ("", "unknown-sender"),
        ] {
            assert_eq!(salvaged(text).as_ref().map(Address::as_str), Some(saved), "{text}");
        }
    }

    #[test]
    fn two_senders_and_a_lost_line_end_are_no_sender() {
        let error = CommandError::ReversePath(AddressError::Character);
        assert_eq!(
            unusable("My Printer@office SIZE=5", error),
            Ok(("My Printer@office", "SIZE=5"))
        );
        assert_eq!(unusable("<a b@c> SIZE=5", error), Ok(("<a b@c>", " SIZE=5")));
        assert_eq!(unusable("a@b c@d", error), Err(CommandError::BehindSender));
        assert_eq!(unusable("a@bRCPT TO:<c@d>", error), Err(error));
        let parameter = CommandError::Parameter("SIZE");
        assert_eq!(unusable("<a@b> SIZE=x", parameter), Err(parameter));
    }
}
