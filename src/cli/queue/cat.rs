//! `pillarbox queue cat`: the octets of a message.
//!
//! Rule: what goes into a file or a pipe is what was taken, octet by octet, and block by block. Must not know how a
//! message is rewritten.

use std::io::{self, IsTerminal as _, Write};

use clap::Args;

use crate::{
    admin::client::Client,
    cli::screen::Form,
    exit::{Exit, Failure},
    queue::id::QueueId,
};

/// Which message, and which form of it.
#[derive(Clone, Debug, Args)]
pub(crate) struct Cat {
    /// An id as `queue list` prints it; also of a dead letter.
    id: QueueId,
    /// As the upstream gets it: with the fields that were added, and the header section edited by the present
    /// configuration.
    #[arg(long)]
    as_sent: bool,
}

/// Whether standard output is a terminal, which must not be steered.
pub(crate) fn is_for_eyes() -> bool {
    io::stdout().is_terminal()
}

pub(super) async fn print(
    out: &mut dyn Write,
    client: &Client,
    cat: Cat,
    form: Form,
) -> Result<(), Failure> {
    if form == Form::Json {
        let message = "a message is octets, which JSON does not carry; leave --json out";
        return Err(Failure::new(Exit::Usage, message));
    }
    let mut octets = client.octets(cat.id, cat.as_sent).await?;
    let mut lines = UnixLines::new(out, is_for_eyes());
    while let Some(block) = octets.next().await? {
        lines.write(&block)?;
    }
    Ok(lines.end()?)
}

/// The ends of lines as a terminal has them; a pipe gets them as they are.
struct UnixLines<'a> {
    out: &'a mut dyn Write,
    is_on: bool,
    /// A carriage return whose line feed may follow.
    held: bool,
}

impl<'a> UnixLines<'a> {
    fn new(out: &'a mut dyn Write, is_on: bool) -> Self {
        Self { out, is_on, held: false }
    }

    fn write(&mut self, block: &[u8]) -> io::Result<()> {
        if !self.is_on {
            return self.out.write_all(block);
        }
        for piece in block.split_inclusive(|octet| *octet == b'\r') {
            if std::mem::take(&mut self.held) && piece.first() != Some(&b'\n') {
                self.out.write_all(b"\r")?;
            }
            let text = piece.strip_suffix(b"\r");
            self.held = text.is_some();
            self.out.write_all(text.unwrap_or(piece))?;
        }
        Ok(())
    }

    fn end(self) -> io::Result<()> {
        if self.held { self.out.write_all(b"\r") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(is_on: bool, blocks: &[&str]) -> String {
        let mut out = Vec::new();
        let mut lines = UnixLines::new(&mut out, is_on);
        blocks.iter().for_each(|block| lines.write(block.as_bytes()).expect("written"));
        lines.end().expect("written");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_terminal_gets_line_feeds_and_a_pipe_every_octet() {
        let blocks = ["a\r", "\nb\r\rc\r\n", "\r", "d\r"];
        assert_eq!(printed(true, &blocks), "a\nb\r\rc\n\rd\r");
        assert_eq!(printed(false, &blocks), "a\r\nb\r\rc\r\n\rd\r");
    }
}
