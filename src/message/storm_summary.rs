//! The summary of a storm: one message that tells of hundreds that are alike, in text and in HTML.
//!
//! Rule: everything to know stands in the first part, because mail programs show nothing of a digest; at most two of the
//! originals go along as files. Built from facts alone; every text of others is cleaned and cut. Must not know what a
//! storm is or when it is told of.

use std::fmt::Write as _;

use maud::{DOCTYPE, html};

use super::{
    notice::{Letter, NoticeError, clean, time},
    subject_shape,
};
use crate::{clock::Timestamp, smtp::address::Address};

/// Subjects that have a line of their own; of others their number.
pub(crate) const SUBJECTS_MAX: usize = 40;
/// Octets of an original that is attached.
pub(crate) const ATTACHED_BYTES_MAX: u64 = 256 * 1024;
/// Octets of the text of an original that is shown.
pub(crate) const TEXT_MAX: usize = 4 * 1024;

/// A word of others that is wider than the window is broken: what is beside it nobody reads on a phone.
const BREAKABLE: &str = "overflow-wrap: anywhere; word-break: break-word";

/// What is told of a storm.
#[derive(Clone, Debug)]
pub(crate) struct Summary<'a> {
    /// The name of this host, as in the greeting and in Received.
    pub(crate) hostname: &'a str,
    /// The From address; the upstream account, so that the upstream takes it.
    pub(crate) from: &'a Address,
    /// Who gets it: the recipients of the originals.
    pub(crate) to: &'a [Address],
    /// When it was made.
    pub(crate) at: Timestamp,
    /// The text between the parts; must not occur in them.
    pub(crate) boundary: &'a str,
    /// The name of the storm, for commands.
    pub(crate) storm: String,
    /// Who handed the originals over.
    pub(crate) origin: String,
    /// What is summed up.
    pub(crate) tally: Tally,
    /// Whether no more of them is expected.
    pub(crate) is_over: bool,
    /// The Message-ID, with brackets, to which every summary of the storm refers.
    pub(crate) thread: Option<String>,
    /// The text of the first one, and of the last.
    pub(crate) first: Original,
    pub(crate) last: Option<Original>,
    /// Days for which the originals are kept.
    pub(crate) kept_days: u64,
}

/// An original that is shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Original {
    /// Its queue id.
    pub(crate) id: String,
    /// When it was accepted.
    pub(crate) at: Timestamp,
    pub(crate) subject: String,
    /// The beginning of its text; empty without any.
    pub(crate) text: String,
    /// Whether there is more.
    pub(crate) is_cut: bool,
    /// All of it, when it is small enough.
    pub(crate) whole: Option<Vec<u8>>,
}

/// How many there were, and what they were called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) messages: u64,
    /// When the first and the last one were accepted.
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    /// Each subject, how often, and when last.
    subjects: Vec<(String, u64, Timestamp)>,
    /// Messages with other subjects.
    others: u64,
}

impl Tally {
    /// One more, in the order of acceptance.
    pub(crate) fn add(&mut self, subject: &str, at: Timestamp) {
        if self.messages == 0 {
            self.first = at;
        }
        self.messages += 1;
        self.last = self.last.max(at);
        let has_room = self.subjects.len() < SUBJECTS_MAX;
        match self.subjects.iter_mut().find(|(known, ..)| known == subject) {
            Some((_, number, last)) => (*number, *last) = (*number + 1, at),
            None if has_room => {
                self.subjects.push((subject.to_owned(), 1, at));
            }
            None => self.others += 1,
        }
    }
}

impl Summary<'_> {
    /// The whole message with CRLF line ends; Message-ID is left to the queue.
    ///
    /// # Errors
    /// When From or To cannot be written.
    pub(crate) fn build(&self) -> Result<Vec<u8>, NoticeError> {
        let originals = [("first.eml", Some(&self.first)), ("last.eml", self.last.as_ref())];
        let attached: Vec<(&'static str, &[u8])> = originals
            .into_iter()
            .filter_map(|(name, original)| Some((name, original?.whole.as_deref()?)))
            .collect();
        let letter = Letter {
            hostname: self.hostname,
            from: self.from,
            to: self.to,
            at: self.at,
            boundary: self.boundary,
            subject: &self.subject(),
            thread: self.thread.as_deref(),
            text: &self.text(),
            html: &self.html(),
            attached: &attached,
        };
        letter.build()
    }

    fn subject(&self) -> String {
        let first = &self.first.subject;
        let said = match self.tally.subjects.as_slice() {
            [_] if self.tally.others == 0 => first.clone(),
            _ => subject_shape::shape(first),
        };
        let said = if said.is_empty() { "(no subject)".to_owned() } else { clean(&said) };
        format!("[{} x] {said}", self.tally.messages)
    }

    fn beginning(&self) -> String {
        let Tally { messages, first, last, .. } = &self.tally;
        format!(
            "{messages} messages that are alike were folded into this one by the mail relay on {}. The first came at {}, the \
             last at {}, from {}.",
            self.hostname,
            time(*first),
            time(*last),
            clean(&self.origin)
        )
    }

    fn outlook(&self) -> &'static str {
        if self.is_over {
            "No more has come for a while: the storm is over, and the next such message leaves as it is."
        } else {
            "More may come: they are folded as well, and the next summary tells of them."
        }
    }

    /// A line for each subject: how often, when last, what.
    fn lines(&self) -> impl Iterator<Item = (String, String, String)> {
        let Tally { subjects, others, .. } = &self.tally;
        let named = subjects.iter().map(|(subject, number, last)| {
            let subject =
                if subject.is_empty() { "(no subject)".to_owned() } else { clean(subject) };
            (format!("{number} x"), time(*last), subject)
        });
        let others = (*others > 0)
            .then(|| (format!("{others} x"), String::new(), "with other subjects".to_owned()));
        named.chain(others)
    }

    fn originals(&self) -> impl Iterator<Item = (&'static str, &Original)> {
        let first = if self.last.is_some() { "The first" } else { "The message" };
        std::iter::once((first, &self.first))
            .chain(self.last.iter().map(|original| ("The last", original)))
    }

    fn commands(&self) -> [(String, &'static str); 3] {
        let storm = &self.storm;
        [
            (format!("pillarbox storm show {storm}"), "lists them"),
            (format!("pillarbox queue show {}", self.first.id), "shows one"),
            (format!("pillarbox storm release {storm}"), "sends them all, each as it is"),
        ]
    }

    fn kept(&self) -> String {
        format!(
            "Nothing is lost: each of them is kept for {} days. On the relay's host:",
            self.kept_days
        )
    }

    fn text(&self) -> String {
        let mut text = format!("{}\n{}\n\n", self.beginning(), self.outlook());
        for (number, last, subject) in self.lines() {
            let last = if last.is_empty() { String::new() } else { format!(", last {last}") };
            let _written = writeln!(text, "  {number:>8}  {subject}{last}");
        }
        for (which, original) in self.originals() {
            let _written = writeln!(text, "\n--- {which}: {}", heading(original));
            let _written = writeln!(text, "{}{}", said(original), more(original));
        }
        let _written = writeln!(text, "\n---\n{}\n", self.kept());
        for (command, what) in self.commands() {
            let _written = writeln!(text, "  {command}\n      {what}");
        }
        text
    }

    fn html(&self) -> String {
        let document = html! {
            (DOCTYPE)
            html lang="en" {
                head { meta charset="utf-8"; title { (self.subject()) } }
                body {
                    p style=(BREAKABLE) { b { (self.tally.messages) } (self.beginning().trim_start_matches(|one: char| one.is_ascii_digit())) }
                    p { (self.outlook()) }
                    table cellpadding="4" {
                        tr { th align="right" { "number" } th align="left" { "last" } th align="left" { "subject" } }
                        @for (number, last, subject) in self.lines() {
                            tr {
                                td align="right" valign="top" { (number) }
                                td valign="top" { (last) }
                                td style=(BREAKABLE) { (subject) }
                            }
                        }
                    }
                    @for (which, original) in self.originals() {
                        h3 style=(BREAKABLE) { (which) ": " (heading(original)) }
                        pre style={ "white-space: pre-wrap; " (BREAKABLE) } { (said(original)) }
                        @if original.is_cut { p { i { (more(original).trim_start()) } } }
                    }
                    hr;
                    p { (self.kept()) }
                    ul { @for (command, what) in self.commands() { li { code { (command) } " " (what) } } }
                }
            }
        };
        document.into_string()
    }
}

fn heading(original: &Original) -> String {
    let subject = match original.subject.as_str() {
        "" => "(no subject)".to_owned(),
        subject => clean(subject),
    };
    format!("{subject} ({}, {})", time(original.at), original.id)
}

/// Its text, line by line, without what drives a terminal.
fn said(original: &Original) -> String {
    if original.text.trim().is_empty() {
        return "(it has no text; see the attached file, or pillarbox queue show)".to_owned();
    }
    let lines = original.text.lines().map(|line| {
        line.chars().filter(|one| !one.is_control() || *one == '\t').collect::<String>()
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn more(original: &Original) -> &'static str {
    if original.is_cut { "\n(and so on)" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::parts::{Found, Keep, PartScan};

    const START: Timestamp = Timestamp(1_795_860_000_000);

    fn original(number: i64) -> Original {
        Original {
            id: format!("id{number}"),
            at: START.moved(number * 1_000),
            subject: format!("[Fail2Ban] sshd: banned 192.0.2.{number} from nas"),
            text: format!("The IP 192.0.2.{number} <b>was banned</b>.\u{1b}[2J\nRegards"),
            is_cut: number == 7,
            whole: Some(format!("Subject: {number}\r\n\r\nB\u{fc}ro {number}\r\n").into_bytes()),
        }
    }

    fn summary<'a>(from: &'a Address, to: &'a [Address], tally: Tally) -> Summary<'a> {
        Summary {
            hostname: "nas.example.org",
            from,
            to,
            at: START.moved(600_000),
            boundary: "pillarbox-0123456789abcdef",
            storm: "id5".into(),
            origin: "127.0.0.1".into(),
            tally,
            is_over: false,
            thread: Some("<5@nas>".into()),
            first: original(5),
            last: Some(original(7)),
            kept_days: 30,
        }
    }

    fn parts(bytes: &[u8], keep: Keep) -> Found {
        let mut scan = PartScan::new(keep, 100_000);
        scan.push(bytes);
        scan.finish()
    }

    fn bans(number: i64) -> Tally {
        let mut tally = Tally::default();
        (0..number).for_each(|one| {
            let address = one % 60;
            tally.add(
                &format!("[Fail2Ban] sshd: banned 192.0.2.{address} from nas"),
                START.moved(one),
            );
        });
        tally
    }

    #[test]
    fn it_says_everything_in_text_and_in_html_and_has_two_originals_as_named_files() {
        let (from, to) = ("me@gmail.com".parse().unwrap(), ["boss@example.org".parse().unwrap()]);
        let bytes = summary(&from, &to, bans(512)).build().unwrap();
        let head = String::from_utf8_lossy(&bytes[..bytes.len().min(1_500)]).replace("\r\n ", " ");
        for field in [
            "Subject: [512 x] [Fail2Ban] sshd: banned <address> from nas\r\n",
            "To: boss@example.org\r\n",
            "References: <5@nas>\r\n",
            "In-Reply-To: <5@nas>\r\n",
            "Auto-Submitted: auto-generated\r\n",
            "Content-Type: multipart/mixed; boundary=\"pillarbox-0123456789abcdef\"",
        ] {
            assert!(head.contains(field), "{field} {head}");
        }
        let found = parts(&bytes, Keep::FirstText);
        let types: Vec<_> = found.parts.iter().map(|part| part.media_type.as_str()).collect();
        assert_eq!(types, ["text/plain", "text/html", "message/rfc822", "message/rfc822"]);
        let names: Vec<_> = found.parts[2..].iter().map(|part| part.name.as_deref()).collect();
        assert_eq!(names, [Some("first.eml"), Some("last.eml")]);
        let text = found.kept.unwrap().text.replace("\r\n", "\n");
        let html = parts(&bytes, Keep::Part("1.2".into())).kept.unwrap().text.replace("\r\n", "\n");
        for said in [
            "messages that are alike were folded into this one by the mail relay on nas.example.org",
            "banned 192.0.2.39 from nas",
            "9 x",
            "with other subjects",
            "The first: ",
            "The IP 192.0.2.5",
            "The last: ",
            "The IP 192.0.2.7",
            "(and so on)",
            "More may come",
            "pillarbox storm show id5",
            "pillarbox storm release id5",
            "kept for 30 days",
        ] {
            assert!(text.contains(said) && html.contains(said), "{said}\n{text}\n{html}");
        }
        assert!(html.contains("&lt;b&gt;was banned"), "{html}");
        assert!(!text.contains('\u{1b}') && !html.contains('\u{1b}'));
        let whole = String::from_utf8(bytes).unwrap();
        assert!(whole.contains("Subject: 5\r\n\r\nB\u{fc}ro 5\r\n"), "octet by octet");
    }

    /// `tests/golden/NAME`, which BLESS=1 writes anew; other tests read it as mail programs and browsers do.
    fn check_golden(name: &str, octets: &[u8]) {
        let golden =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&golden, octets).unwrap();
        }
        let written = std::fs::read(&golden).unwrap_or_default();
        assert!(octets == written, "{} (BLESS=1 writes it)", golden.display());
    }

    #[test]
    fn the_summary_that_others_read_is_this_one() {
        let (from, to) = ("me@gmail.com".parse().unwrap(), ["boss@example.org".parse().unwrap()]);
        let mut tally = Tally::default();
        tally.add("<script>document.title = 'broken out'</script>", START);
        tally.add(&format!("banned {} B\u{fc}ro \u{202e}", "x".repeat(90)), START.moved(9_000));
        (0..512).for_each(|one| tally.add(&format!("banned 192.0.2.{}", one % 60), START));
        let mut summary = summary(&from, &to, tally);
        let wide = "0123456789".repeat(20);
        summary.first.text = format!("From nobody\n.\n--pillarbox-0--\n{wide}\n<img src=x>");
        check_golden("storm_summary.eml", &summary.build().unwrap());
        check_golden("storm_summary.html", summary.html().as_bytes());
    }

    #[test]
    fn subjects_that_are_the_same_stay_as_they_are_and_the_end_is_told() {
        let (from, to) = ("me@gmail.com".parse().unwrap(), ["boss@example.org".parse().unwrap()]);
        let mut tally = Tally::default();
        (0..3).for_each(|one| tally.add("backup 7 failed", START.moved(one)));
        let mut summary = summary(&from, &to, tally);
        summary.first.subject = "backup 7 failed".into();
        (summary.is_over, summary.last) = (true, None);
        summary.first.whole = None;
        let bytes = summary.build().unwrap();
        let found = parts(&bytes, Keep::FirstText);
        assert_eq!(found.parts.len(), 2, "nothing is attached");
        let text = found.kept.unwrap().text;
        assert!(
            text.contains("the storm is over") && text.contains("3 x  backup 7 failed"),
            "{text}"
        );
        assert!(String::from_utf8_lossy(&bytes).contains("Subject: [3 x] backup 7 failed\r\n"));
    }

    #[test]
    fn ten_thousand_different_subjects_keep_it_small() {
        let (from, to) = ("me@gmail.com".parse().unwrap(), ["boss@example.org".parse().unwrap()]);
        let mut tally = Tally::default();
        (0..10_000).for_each(|one| tally.add(&format!("{one} {}", "x".repeat(110)), START));
        assert_eq!((tally.messages, tally.others), (10_000, 10_000 - SUBJECTS_MAX as u64));
        assert!(summary(&from, &to, tally).build().unwrap().len() < 64 * 1024);
    }
}
