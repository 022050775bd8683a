//! The fuzz target of replies: any octets of a server, as `smtp::client::reply` gets them.

use pillarbox::smtp::client::{
    capabilities::Capabilities,
    reply::{LINE_OCTETS_MAX, LINES_MAX, Reply, ReplyError, ReplyParser},
};

/// Runs one input: a size of pieces, then what the server says. Panics when something does not hold.
pub(crate) fn run(input: &[u8]) {
    let Some((size, said)) = input.split_first() else { return };
    let whole = read(said, said.len().max(1));
    assert_eq!(read(said, usize::from(*size).max(1)), whole, "the pieces decide");
    for reply in &whole.0 {
        assert!((200..600).contains(&reply.code), "{reply:?}");
        assert!(!reply.lines.is_empty() && reply.lines.len() <= LINES_MAX);
        // An octet that is not UTF-8 is written as four characters.
        assert!(reply.lines.iter().all(|line| line.len() <= 4 * LINE_OCTETS_MAX));
        assert!(!reply.lines.iter().any(|line| line.contains('\n')), "{reply:?}");
        assert!(!reply.to_string().contains(char::is_control), "{reply}");
        assert!(!reply.joined().contains('\n'));
        assert_eq!(Capabilities::of(reply), Capabilities::of(&reply.clone()));
    }
}

/// The replies, and what ended them.
fn read(said: &[u8], size: usize) -> (Vec<Reply>, Option<ReplyError>) {
    let (mut parser, mut replies) = (ReplyParser::default(), Vec::new());
    for mut piece in said.chunks(size) {
        while !piece.is_empty() {
            match parser.push(&mut piece) {
                Ok(reply) => replies.extend(reply),
                Err(error) => return (replies, Some(error)),
            }
        }
    }
    (replies, None)
}
