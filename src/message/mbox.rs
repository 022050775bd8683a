//! The mbox format in its reversible form, called mboxrd: a line "From " begins each message, and every line
//! of a message that looks like one, however often it has been quoted, gets one `>` more.
//!
//! Rule: what is written is read back octet by octet; files of other programs are read as well as such files
//! can be. Must not know what the messages are.

/// How a message begins.
const SEPARATOR: &[u8] = b"From ";

/// Which octets end the lines of a message in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineEnds {
    /// A LF stands for each CRLF of the message, as in every file of a Unix system.
    Unix,
    /// The octets are those of the message, because it has a line end that is not CRLF.
    Verbatim,
}

/// The message as it lies in a file, without quoting.
#[must_use]
pub(crate) fn for_a_file(message: &[u8]) -> (LineEnds, Vec<u8>) {
    let pairs = message.windows(2).filter(|pair| pair == b"\r\n").count();
    let count = |octet| message.iter().filter(|found| **found == octet).count();
    if count(b'\r') != pairs || count(b'\n') != pairs {
        return (LineEnds::Verbatim, message.to_vec());
    }
    (LineEnds::Unix, message.iter().copied().filter(|octet| *octet != b'\r').collect())
}

/// The message that lies in a file, with CRLF at the end of each line.
#[must_use]
pub(crate) fn from_a_file(lines: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(lines.len() + lines.len() / 32);
    for octet in lines {
        if *octet == b'\n' && message.last() != Some(&b'\r') {
            message.push(b'\r');
        }
        message.push(*octet);
    }
    message
}

/// One entry of an mbox: the separator with `sender` and `date` (as asctime writes it), the quoted message, and
/// the empty line behind it.
#[must_use]
pub(crate) fn entry(sender: &str, date: &str, message: &[u8]) -> Vec<u8> {
    let mut entry = Vec::with_capacity(message.len() + 128);
    entry.extend_from_slice(SEPARATOR);
    entry.extend_from_slice(format!("{sender} {date}\n").as_bytes());
    for line in message.split_inclusive(|octet| *octet == b'\n') {
        if is_quotable(line) {
            entry.push(b'>');
        }
        entry.extend_from_slice(line);
    }
    if message.last().is_some_and(|octet| *octet != b'\n') {
        entry.push(b'\n');
    }
    entry.push(b'\n');
    entry
}

fn is_quotable(line: &[u8]) -> bool {
    let quotes = line.iter().take_while(|octet| **octet == b'>').count();
    line[quotes..].starts_with(SEPARATOR)
}

/// A message that is longer than its reader takes. What follows it may be whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// Takes the lines of an mbox and gives its messages.
#[derive(Debug)]
pub(crate) struct Reader {
    message: Option<Result<Vec<u8>, TooLong>>,
    after_an_empty_line: bool,
    length_max: usize,
}

impl Reader {
    /// One that keeps at most `length_max` octets of a message.
    #[must_use]
    pub(crate) fn new(length_max: usize) -> Self {
        Self { message: None, after_an_empty_line: false, length_max }
    }

    /// Whether a file that begins with this line is an mbox.
    #[must_use]
    pub(crate) fn begins(line: &[u8]) -> bool {
        line.starts_with(SEPARATOR)
    }

    /// Takes the next line, with its line end; of one that is longer than a message may be, the beginning is enough, and
    /// the rest may follow as another. Returns the message that ends before it.
    pub(crate) fn line(&mut self, line: &[u8]) -> Option<Result<Vec<u8>, TooLong>> {
        let follows_a_gap = std::mem::replace(&mut self.after_an_empty_line, is_empty(line));
        if line.starts_with(SEPARATOR) && (follows_a_gap || self.message.is_none()) {
            let ended = self.message.replace(Ok(Vec::new()));
            return ended.map(|message| message.map(without_the_gap));
        }
        let message = self.message.get_or_insert_with(|| Ok(Vec::new()));
        if let Ok(octets) = message {
            let is_quoted = line.first() == Some(&b'>') && is_quotable(line);
            let line = &line[usize::from(is_quoted)..];
            if octets.len() + line.len() <= self.length_max {
                octets.extend_from_slice(line);
            } else {
                *message = Err(TooLong);
            }
        }
        None
    }

    /// The last message.
    #[must_use]
    pub(crate) fn finish(self) -> Option<Result<Vec<u8>, TooLong>> {
        self.message.map(|message| message.map(without_the_gap))
    }
}

fn is_empty(line: &[u8]) -> bool {
    matches!(line, b"\n" | b"\r\n")
}

/// Without the empty line that belongs to the format.
fn without_the_gap(mut message: Vec<u8>) -> Vec<u8> {
    for gap in [b"\n\r\n".as_slice(), b"\n\n"] {
        if message.ends_with(gap) {
            message.truncate(message.len() - gap.len() + 1);
            return message;
        }
    }
    if is_empty(&message) {
        message.clear();
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &[u8]) -> Vec<Vec<u8>> {
        let whole = |message: Result<Vec<u8>, TooLong>| message.expect("there is no limit");
        read_up_to(usize::MAX, file).into_iter().map(whole).collect()
    }

    fn read_up_to(length_max: usize, file: &[u8]) -> Vec<Result<Vec<u8>, TooLong>> {
        let mut reader = Reader::new(length_max);
        let lines = file.split_inclusive(|octet| *octet == b'\n');
        let mut messages: Vec<_> = lines.filter_map(|line| reader.line(line)).collect();
        messages.extend(reader.finish());
        messages
    }

    #[test]
    fn a_message_that_is_too_long_ends_where_the_next_one_begins() {
        let file: Vec<u8> =
            [&b"12345678\n"[..], b"12345678\n\nFrom", b"1\n2\n3\n4\n5\n6\n", b"last\n"]
                .iter()
                .flat_map(|message| entry("a@b", "date", message))
                .collect();
        let found = read_up_to(10, &file);
        let whole: Vec<_> = found.iter().map(|one| one.as_deref().ok()).collect();
        assert_eq!(whole, [Some(&b"12345678\n"[..]), None, None, Some(b"last\n")]);
        assert_eq!(found[1], Err(TooLong));
    }

    #[test]
    fn every_message_comes_back_whatever_its_lines_look_like() {
        let messages: Vec<&[u8]> = vec![
            b"",
            b"\n",
            b"\n\n",
            b"Subject: a\n\n",
            b"From me to you\n>From x\n>>From y\n> From z\nFrom\n",
            b"A: b\n\nbody\n\nFrom the heart\n\n\n",
            b"\xff\x00\xfe\n",
        ];
        let file: Vec<u8> =
            messages.iter().flat_map(|message| entry("a@b", "date", message)).collect();
        assert_eq!(read(&file), messages);
    }

    #[test]
    fn a_message_without_a_last_line_end_gets_one() {
        assert_eq!(read(&entry("a", "b", b"last words")), [b"last words\n"]);
    }

    #[test]
    fn an_mbox_that_does_not_quote_is_split_at_the_gaps_only() {
        let file = b"From a b\nA: b\n\nx\nFrom here on\n\nFrom c d\nC: d\n";
        assert_eq!(read(file), [b"A: b\n\nx\nFrom here on\n".to_vec(), b"C: d\n".to_vec()]);
        assert_eq!(
            read(b"From a b\r\nA: b\r\n\r\nFrom c d\r\nC: d\r\n"),
            [&b"A: b\r\n"[..], b"C: d\r\n"]
        );
        assert!(Reader::begins(b"From x\n") && !Reader::begins(b"From: x\n"));
    }

    #[test]
    fn line_ends_are_those_of_the_system_unless_that_would_lose_something() {
        for message in [&b"a\r\nb\r\n"[..], b"a\r\nb", b"", b"\r\n"] {
            let (ends, lines) = for_a_file(message);
            assert_eq!((ends, lines.contains(&b'\r')), (LineEnds::Unix, false));
            assert_eq!(from_a_file(&lines), message);
        }
        for message in [&b"a\nb\r\n"[..], b"a\rb\r\n", b"a\r\r\n", b"\r"] {
            assert_eq!(for_a_file(message), (LineEnds::Verbatim, message.to_vec()));
        }
        assert_eq!(from_a_file(b"a\r\nb\n"), b"a\r\nb\r\n");
    }
}
