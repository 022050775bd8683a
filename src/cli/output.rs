//! Standard output, for readers who may have read enough (`| head -1`).
//!
//! Rule: a reader who has gone away ends no command and needs no words: it goes on to its end, and its exit code is the
//! one that it would have had. Must not know what is printed.

use std::io::{self, Stdout, Write};

/// Where a command prints.
#[derive(Debug)]
pub(super) struct Output<W = Stdout> {
    target: W,
    /// Nobody reads any more.
    is_idle: bool,
}

impl Output {
    /// That of this process.
    pub(super) fn standard() -> Self {
        Self { target: io::stdout(), is_idle: false }
    }
}

impl<W> Output<W> {
    fn unless_nobody_reads<T>(&mut self, result: io::Result<T>, otherwise: T) -> io::Result<T> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_idle = true;
                Ok(otherwise)
            }
            result => result,
        }
    }
}

impl<W: Write> Write for Output<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_idle {
            return Ok(bytes.len());
        }
        let written = self.target.write(bytes);
        self.unless_nobody_reads(written, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.is_idle {
            return Ok(());
        }
        let flushed = self.target.flush();
        self.unless_nobody_reads(flushed, ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Failing(io::ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    #[test]
    fn a_reader_who_has_gone_is_no_failure_and_a_full_disk_is() {
        let mut gone = Output { target: Failing(io::ErrorKind::BrokenPipe), is_idle: false };
        assert!(gone.write_all(b"one").is_ok() && gone.flush().is_ok());
        let mut full = Output { target: Failing(io::ErrorKind::StorageFull), is_idle: false };
        assert!(full.write_all(b"one").is_err());
    }
}
