//! The oddities of old clients that are put right instead of refused.
//!
//! Rule: each has one name, for the log and for the count of each client, so that an administrator sees
//! which device is unusual; one session reports each of them once. `docs/smtp.md` explains them.
//! Must not know what is done about them.

/// Declares the oddities: variant, word for log and documents, meaning.
macro_rules! quirks {
    ($($variant:ident, $name:literal, $meaning:literal;)+) => {
        /// One kind of oddity, named as in the documents.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Quirk {
            $(#[doc = $meaning] $variant,)+
        }

        impl Quirk {
            /// All of them, in the order of the documents.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The word for log, counts and documents.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// What it is, in one sentence.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => $meaning,)+
                }
            }
        }
    };
}

quirks! {
    EarlyTalker, "early-talker", "Commands before the greeting, or before the reply to EHLO.";
    TlsOnPlaintext, "tls-on-plaintext", "A TLS handshake on a port that begins in plaintext.";
    Http, "http", "An HTTP request.";
    ProxyHeader, "proxy-header", "A header of the PROXY protocol on a port that expects none.";
    CommandBareLf, "command-bare-lf", "A command line ended with LF alone.";
    NoHello, "no-hello", "MAIL or AUTH without HELO or EHLO before it.";
    EmptyHello, "empty-hello", "HELO or EHLO without a name.";
    OddHello, "odd-hello", "HELO or EHLO with something that is neither a domain nor an address literal.";
    HeloThenAuth, "helo-then-auth", "AUTH after HELO, which offers no AUTH.";
    SpaceAfterColon, "space-after-colon", "Blanks around the colon of MAIL FROM: or RCPT TO:.";
    MissingBrackets, "missing-brackets", "An address of MAIL or RCPT without angle brackets.";
    DisplayName, "display-name", "A display name or a comment in MAIL or RCPT.";
    SourceRoute, "source-route", "A source route, which was dropped.";
    FinalDot, "final-dot", "A dot behind the domain of an address of MAIL or RCPT.";
    BadSender, "bad-sender", "A reverse path that is not an address; what could be saved of it was taken.";
    UnqualifiedSender, "unqualified-sender", "A reverse path without a domain.";
    UnknownParameter, "unknown-parameter", "A parameter of MAIL or RCPT that nobody offered; it was ignored.";
    BareLf, "bare-lf", "Lines of the message ended with LF alone.";
    BareCr, "bare-cr", "A CR without LF in the message.";
    Nul, "nul", "NUL octets in the message; they were dropped.";
    LoneDot, "lone-dot", "A dot alone on a line that was not delimited by CRLF; it was kept.";
    LongLine, "long-line", "A line of more than 998 octets in the message.";
    EightBitUndeclared, "eight-bit-undeclared", "8-bit octets in a body without BODY=8BITMIME.";
    EightBitHeader, "eight-bit-header", "8-bit octets in the header section without SMTPUTF8.";
    NoMessageId, "no-message-id", "No Message-ID field.";
    BadMessageId, "bad-message-id", "A Message-ID field that names no message.";
    NoDate, "no-date", "No Date field.";
    BadDate, "bad-date", "A Date field that is not a date.";
    NoFrom, "no-from", "No From field.";
    Bcc, "bcc", "A Bcc field, which other recipients would see.";
    NoHeaderEnd, "no-header-end", "A header section that does not end with an empty line.";
    ClosedWithoutQuit, "closed-without-quit", "The connection was closed without QUIT.";
}

/// A set of oddities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quirks(u64);

// One bit for each.
const _: () = assert!(Quirk::ALL.len() <= u64::BITS as usize);

impl Quirks {
    /// Adds one.
    pub fn insert(&mut self, quirk: Quirk) {
        self.0 |= Self::bit(quirk);
    }

    /// Adds one, if there is a reason to.
    pub fn insert_if(&mut self, condition: bool, quirk: Quirk) {
        if condition {
            self.insert(quirk);
        }
    }

    /// Adds those of another set.
    pub fn extend(&mut self, others: Self) {
        self.0 |= others.0;
    }

    /// Whether it is among them.
    #[must_use]
    pub fn contains(self, quirk: Quirk) -> bool {
        self.0 & Self::bit(quirk) != 0
    }

    /// Those of this set that are not in the other.
    #[must_use]
    pub fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// All of them, in the order of [`Quirk::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Quirk> {
        Quirk::ALL.iter().copied().filter(move |quirk| self.contains(*quirk))
    }

    const fn bit(quirk: Quirk) -> u64 {
        1 << quirk as u32
    }
}

/// What was noticed in one session: each oddity is reported once.
#[derive(Debug, Default)]
pub struct QuirkLog {
    noticed: Quirks,
    reported: Quirks,
}

impl QuirkLog {
    /// Records one.
    pub fn record(&mut self, quirk: Quirk) {
        self.noticed.insert(quirk);
    }

    /// Records all of a set.
    pub fn record_all(&mut self, quirks: Quirks) {
        self.noticed.extend(quirks);
    }

    /// What has not been reported yet.
    pub fn take(&mut self) -> Vec<Quirk> {
        let news = self.noticed.without(self.reported);
        if news == Quirks::default() {
            return Vec::new();
        }
        self.reported = self.noticed;
        news.iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_quirk_is_reported_once_a_session() {
        let mut quirk_log = QuirkLog::default();
        assert_eq!(quirk_log.take(), []);
        quirk_log.record(Quirk::Nul);
        quirk_log.record(Quirk::Nul);
        quirk_log.record(Quirk::EarlyTalker);
        assert_eq!(quirk_log.take(), [Quirk::EarlyTalker, Quirk::Nul]);
        quirk_log.record(Quirk::Nul);
        quirk_log.record(Quirk::ClosedWithoutQuit);
        assert_eq!(quirk_log.take(), [Quirk::ClosedWithoutQuit]);
    }

    #[test]
    fn names_are_words_for_a_log_and_none_is_used_twice() {
        let mut names: Vec<_> = Quirk::ALL.iter().map(|quirk| quirk.name()).collect();
        assert!(
            names
                .iter()
                .all(|name| name.bytes().all(|octet| octet == b'-' || octet.is_ascii_lowercase()))
        );
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Quirk::ALL.len());
    }

    #[test]
    fn each_quirk_is_explained_in_the_documents() {
        let document = include_str!("../../../docs/smtp.md");
        let (_, table) = document.split_once("## Oddities").unwrap();
        for quirk in Quirk::ALL {
            assert!(table.contains(&format!("`{}`", quirk.name())), "{} is missing", quirk.name());
        }
    }
}
