//! The fuzz target of the data decoder: where a message ends, and that its content survives.
//!
//! The first octet chooses how the input is cut.

use pillarbox::smtp::server::data::Decoder;

use super::session::text;

/// Runs one input. Panics when something does not hold.
pub(crate) fn run(input: &[u8]) {
    let Some((cut, input)) = input.split_first() else { return };
    let cut = usize::from(*cut).max(1);
    raw(input, cut);
    round_trip(input, cut);
}

/// The input as it comes from a client.
fn raw(input: &[u8], cut: usize) {
    let found = decode(input, cut);
    assert_eq!(found, decode(input, input.len().max(1)), "the message depends on the cuts");
    // The line end of DATA counts as the first one.
    let stream = [b"\r\n", input].concat();
    let end = stream.windows(5).position(|octets| octets == b"\r\n.\r\n").map(|at| at + 3);
    assert_eq!(found.end, end, "the end of {:?}", text(input));
    // What becomes of a bare CR is for another part of the program to say.
    let bare = found
        .message
        .iter()
        .enumerate()
        .find(|(at, octet)| **octet == b'\n' && !found.message[..*at].ends_with(b"\r"));
    assert_eq!(bare, None, "a bare LF in {:?}", text(&found.message));
    assert!(found.message.len() <= 2 * input.len() + 2, "a message grows by line ends only");
}

/// The input as a message: lines with CRLF, dots stuffed.
fn round_trip(input: &[u8], cut: usize) {
    let mut message = Vec::new();
    for line in input.split(|octet| matches!(octet, b'\r' | b'\n')) {
        message.extend_from_slice(line);
        message.extend_from_slice(b"\r\n");
    }
    let mut stuffed = Vec::new();
    for line in message.split_inclusive(|octet| *octet == b'\n') {
        stuffed.extend(line.starts_with(b".").then_some(b'.'));
        stuffed.extend_from_slice(line);
    }
    stuffed.extend_from_slice(b".\r\n");
    let end = stuffed.len();
    stuffed.extend_from_slice(b"QUIT\r\n");
    let found = decode(&stuffed, cut);
    assert_eq!((found.end, found.lone_dot), (Some(end), false));
    assert!(found.message == message, "{:?} became {:?}", text(&message), text(&found.message));
}

#[derive(Debug, PartialEq)]
struct Found {
    message: Vec<u8>,
    /// Octets up to and with the end.
    end: Option<usize>,
    lone_dot: bool,
}

fn decode(input: &[u8], cut: usize) -> Found {
    let (mut decoder, mut message, mut used) = (Decoder::new(), Vec::new(), 0);
    for piece in input.chunks(cut) {
        let decoded = decoder.decode(piece);
        message.extend(decoded.message);
        used += decoded.consumed;
        if decoded.ended {
            return Found { message, end: Some(used), lone_dot: decoder.has_lone_dot() };
        }
        assert_eq!(decoded.consumed, piece.len(), "everything is used until the end");
    }
    Found { message, end: None, lone_dot: decoder.has_lone_dot() }
}
