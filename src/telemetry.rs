//! Events as lines: text on a terminal, text and fields for the journal, JSON otherwise.
//!
//! Rule: one event is one line with fixed field names, whatever a client or an upstream put into a
//! value: deceptive characters are escaped and values are cut at [`VALUE_BYTES_MAX`]. Only our own events
//! are printed, never those of libraries, which may quote whole conversations. The work never waits for whoever
//! reads the log. Must not know who logs.

mod accounts;
pub(crate) mod dialogue;
mod journal;
mod level;
mod lines;

use std::{
    env,
    fmt::{self, Write as _},
    io::{self, IsTerminal},
    os::fd::AsFd,
    panic,
    path::PathBuf,
    sync::{OnceLock, mpsc},
    thread,
    time::Duration,
};

pub(crate) use self::accounts::of_account;
pub(crate) use self::level::{ASKED_MAX, LEVELS, LogLevel, name as level_name};
use self::{
    journal::Journal,
    lines::{Lines as Queue, Stream},
};
use crate::{addressed::addressed, text};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer,
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields, MakeWriter,
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

/// What systemd tells its services: device and inode of the stream that leads to the journal.
const JOURNAL_STREAM: &str = "JOURNAL_STREAM";
/// Another socket than the journal's, for tests on machines that have one.
const JOURNAL_SOCKET: &str = "PILLARBOX_JOURNAL_SOCKET";
/// How long the end of the process waits for a reader of its last words.
const LAST_WORDS_WAIT: Duration = Duration::from_secs(1);
/// The queue of this process.
static QUEUE: OnceLock<Queue> = OnceLock::new();

/// Octets of one value in a log line; an SMTP reply line has at most 512 (RFC 5321 section 4.5.3.1.5).
pub(crate) const VALUE_BYTES_MAX: usize = 1000;
/// What a value has room for at first: an id, an address, a reply.
const VALUE_BYTES_START: usize = 64;
/// What message and fields of a line have room for at first: most lines are shorter.
const FIELDS_BYTES_START: usize = 256;

/// How events are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// Text.
    Text,
    /// JSON.
    Json,
}

/// Where events are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// On standard error.
    Stderr,
    /// On standard output, which some container platforms take for the log and standard error for failures.
    Stdout,
}

/// Format and level of the log.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How.
    pub format: Format,
    /// How much.
    pub level: Level,
}

/// Where lines come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    /// A person.
    Terminal,
    /// systemd's journal, which has its own time stamp, and takes a priority in front of the line (sd-daemon(3)).
    Journal,
    /// A program.
    Other,
}

impl Reader {
    fn of(stream: &(impl AsFd + IsTerminal)) -> Self {
        match stream {
            stream if leads_to_the_journal(stream) => Self::Journal,
            stream if stream.is_terminal() => Self::Terminal,
            _ => Self::Other,
        }
    }
}

/// Whether systemd's variable is about this very stream, and not about one that was inherited and replaced.
fn leads_to_the_journal(stream: &impl AsFd) -> bool {
    let Ok(named) = env::var(JOURNAL_STREAM) else { return false };
    rustix::fs::fstat(stream).is_ok_and(|file| named == format!("{}:{}", file.st_dev, file.st_ino))
}

/// Prints the events of this process, and its panics. A second call changes nothing.
pub(crate) fn init(options: Options, output: Output) {
    let (shape, started) = match output {
        Output::Stderr => start(options, io::stderr()),
        Output::Stdout => start(options, io::stdout()),
    };
    // Without its thread the process can do nothing else either.
    let Ok(queue) = started else { return };
    if QUEUE.set(queue.clone()).is_err() {
        return;
    }
    // An error means that somebody has installed a subscriber already, as tests do.
    let level = LogLevel::of_this_process(options.level);
    drop(subscriber_for(shape, level, queue).try_init());
    // The usual hook would wait for a standard error that nobody reads.
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let words = panic.payload_as_str().unwrap_or("no words");
        tracing::error!(place, words, "a part of the program failed; please report it");
    }));
}

fn start<S>(options: Options, stream: S) -> (Shape, io::Result<Queue>)
where
    S: io::Write + AsFd + IsTerminal + Send + 'static,
{
    let mut shape = Shape::of(options.format, Reader::of(&stream));
    let told = |shape: Shape| move |number| dropped(shape, number).into_bytes();
    if (options.format, shape.reader) != (Format::Auto, Reader::Journal) {
        return (shape, Queue::start(Stream(stream), told(shape)));
    }
    let socket = env::var_os(JOURNAL_SOCKET).unwrap_or_else(|| journal::SOCKET.into());
    match Journal::connect(&PathBuf::from(socket), stream) {
        Ok(journal) => {
            shape.form = Form::Fields;
            (shape, Queue::start(journal, told(shape)))
        }
        Err(stream) => (shape, Queue::start(Stream(stream), told(shape))),
    }
}

/// Waits until the log is written, but no longer than `limit`. Returns whether it is: if not, standard error may
/// stand still, and a write to it would as well.
pub(crate) fn flush(limit: Duration) -> bool {
    QUEUE.get().is_none_or(|queue| queue.flush(limit))
}

/// Says on standard error with which failure the process ends. Once there is a log, the process must not wait for the
/// reader of these words either.
pub(crate) fn last_words(words: &str) {
    let words = text::printable_lines(words);
    let words = match leads_to_the_journal(&io::stderr()) {
        true => words.lines().fold(String::new(), |all, line| all + "<3>" + line + "\n"),
        false => format!("{words}\n"),
    };
    let say = move || drop(io::Write::write_all(&mut io::stderr(), words.as_bytes()));
    let Some(queue) = QUEUE.get() else { return say() };
    queue.flush(LAST_WORDS_WAIT);
    let (said, wait) = mpsc::channel();
    let thread = thread::Builder::new().spawn(move || {
        say();
        said.send(()).ok();
    });
    if thread.is_ok() {
        wait.recv_timeout(LAST_WORDS_WAIT).ok();
    }
}

/// The subscriber that prints to `writer`, for tests.
pub fn subscriber<W>(
    options: Options,
    is_terminal: bool,
    writer: W,
) -> impl Subscriber + Send + Sync
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    // With one subscriber alone, tracing asks the thread that comes first to an event whether anybody wants it, and
    // remembers a no for all threads. So there is always a second one, which wants everything and prints nothing.
    static SECOND: OnceLock<tracing::Dispatch> = OnceLock::new();
    SECOND.get_or_init(|| tracing::Dispatch::new(tracing_subscriber::registry()));
    let reader = if is_terminal { Reader::Terminal } else { Reader::Other };
    subscriber_for(Shape::of(options.format, reader), LogLevel::new(options.level), writer)
}

fn subscriber_for<W>(shape: Shape, level: LogLevel, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer()
        .event_format(Lines(shape))
        .fmt_fields(accounts::Values)
        .with_writer(writer)
        // A closed output must not end the daemon, which it would by a panic in `eprintln`.
        .log_internal_errors(false);
    tracing_subscriber::registry().with(lines.with_filter(level))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    Json,
    /// Text, and each field once more by itself, as the journal's socket takes them.
    Fields,
}

/// How lines look.
#[derive(Clone, Copy, Debug)]
struct Shape {
    form: Form,
    reader: Reader,
}

impl Shape {
    fn of(format: Format, reader: Reader) -> Self {
        let form = match (format, reader) {
            (Format::Text, _) | (Format::Auto, Reader::Terminal | Reader::Journal) => Form::Text,
            (Format::Json, _) | (Format::Auto, Reader::Other) => Form::Json,
        };
        Self { form, reader }
    }
}

/// What stands in front of a line.
fn begin(writer: &mut Writer<'_>, Shape { form, reader }: Shape, level: Level) -> fmt::Result {
    let priority = match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    };
    match (form, reader) {
        (Form::Fields, _) => {
            let [of_priority, of_message] = [journal::PRIORITY, journal::MESSAGE];
            return write!(writer, "{of_priority}{priority}\n{}{of_message}", journal::IDENTIFIER);
        }
        (_, Reader::Journal) => write!(writer, "<{priority}>")?,
        _ => {}
    }
    match (form, reader) {
        (Form::Text | Form::Fields, Reader::Journal) => Ok(()),
        (Form::Text | Form::Fields, _) => {
            SystemTime.format_time(writer)?;
            write!(writer, " {level:>5} ")
        }
        (Form::Json, _) => {
            writer.write_str("{\"timestamp\":\"")?;
            SystemTime.format_time(writer)?;
            write!(writer, "\",\"level\":\"{level}\",\"message\":")
        }
    }
}

/// The line that says how many were not written.
fn dropped(shape: Shape, number: u64) -> String {
    const WORDS: &str = "log lines were dropped, because the log was not read";
    let mut line = String::new();
    // Writing to a String cannot fail.
    let _: fmt::Result = begin(&mut Writer::new(&mut line), shape, Level::WARN);
    line += &match shape.form {
        Form::Text => format!("{WORDS} lines={number}\n"),
        Form::Json => format!("\"{WORDS}\",\"lines\":{number}}}\n"),
        Form::Fields => {
            let mut fields = String::new();
            journal::add(&mut fields, "lines", &number.to_string());
            format!("{WORDS} lines={number}\n{fields}")
        }
    };
    line
}

/// Formats an event as one line.
struct Lines(Shape);

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let [message, rest] = [(); 2].map(|()| String::with_capacity(FIELDS_BYTES_START));
        // In the work of one account of several: its name, of which the events know nothing.
        let mut scope = context.event_scope().into_iter().flatten();
        let span = scope.find(|span| span.name() == accounts::SPAN);
        let known = span.as_ref().map(|span| span.extensions());
        let account = known.as_ref().and_then(|known| known.get::<FormattedFields<N>>());
        let account = account.map(|known| known.fields.as_str());
        let form = self.0.form;
        let (apart, bounded) = (String::new(), Bounded::default());
        let mut fields = Fields { form, account, message, rest, apart, bounded };
        event.record(&mut fields);
        if let Some((account, span)) = account.zip(span.as_ref()) {
            span.fields().iter().for_each(|field| fields.text(&field, account));
        }
        begin(&mut writer, self.0, *event.metadata().level())?;
        match self.0.form {
            Form::Fields => {
                writeln!(writer, "{}{}\n{}", fields.message, fields.rest, fields.apart.trim_end())
            }
            Form::Text => writeln!(writer, "{}{}", fields.message, fields.rest),
            Form::Json => {
                let message = if fields.message.is_empty() { "\"\"" } else { &fields.message };
                writeln!(writer, "{message}{}}}", fields.rest)
            }
        }
    }
}

/// The fields of an event, already formatted; the message comes first in the line.
struct Fields<'a> {
    form: Form,
    /// The account that it is about, where there are several.
    account: Option<&'a str>,
    message: String,
    rest: String,
    /// Each by itself, for [`Form::Fields`].
    apart: String,
    /// The value that is being written; its memory serves all of them.
    bounded: Bounded,
}

impl Fields<'_> {
    fn text(&mut self, field: &Field, value: &str) {
        let is_message = field.name() == "message";
        // What a person is told to do was written as of the main account.
        let is_advice = is_message || field.name() == "remedy";
        let addressed = self.account.filter(|_| is_advice).map(|name| addressed(value, name));
        let value = addressed.as_deref().unwrap_or(value);
        if !is_message {
            self.name(field);
        }
        if self.form == Form::Fields && !is_message {
            journal::add(&mut self.apart, field.name(), &text::printable(value));
        }
        let target = if is_message { &mut self.message } else { &mut self.rest };
        match self.form {
            Form::Json => quote(target, value),
            Form::Text | Form::Fields if is_message || is_plain(value) => {
                target.push_str(&text::printable(value))
            }
            Form::Text | Form::Fields => quote(target, value),
        }
    }

    /// What is written, up to its limit.
    fn bounded(&mut self, field: &Field, write: impl FnOnce(&mut Bounded) -> fmt::Result) {
        let mut bounded = std::mem::take(&mut self.bounded);
        bounded.text.clear();
        bounded.text.reserve(VALUE_BYTES_START);
        bounded.is_full = false;
        // An error means that the limit was reached.
        let _: fmt::Result = write(&mut bounded);
        self.text(field, bounded.text());
        self.bounded = bounded;
    }

    fn bare(&mut self, field: &Field, value: impl fmt::Display) {
        self.name(field);
        if self.form == Form::Fields {
            journal::add(&mut self.apart, field.name(), &value.to_string());
        }
        // Writing to a String cannot fail.
        let _: fmt::Result = write!(self.rest, "{value}");
    }

    fn name(&mut self, field: &Field) {
        let name = field.name();
        let _: fmt::Result = match self.form {
            Form::Json => write!(self.rest, ",\"{name}\":"),
            Form::Text | Form::Fields => write!(self.rest, " {name}="),
        };
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if value.len() <= VALUE_BYTES_MAX {
            return self.text(field, value);
        }
        self.bounded(field, |bounded| bounded.write_str(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.bounded(field, |bounded| write!(bounded, "{value:?}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.bare(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.bare(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.bare(field, value);
    }
}

/// Keeps the first [`VALUE_BYTES_MAX`] octets of what is written to it.
#[derive(Default)]
struct Bounded {
    text: String,
    is_full: bool,
}

impl Bounded {
    /// What was kept, marked when it is not all.
    fn text(&mut self) -> &str {
        if self.is_full {
            self.text.push_str(" ...(cut)");
        }
        &self.text
    }
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut end = text.len().min(VALUE_BYTES_MAX.saturating_sub(self.text.len()));
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.text.push_str(&text[..end]);
        self.is_full |= end < text.len();
        if self.is_full { Err(fmt::Error) } else { Ok(()) }
    }
}

/// Whether a value can stand in a text line without quotes.
fn is_plain(value: &str) -> bool {
    !value.is_empty()
        && value.chars().all(|character| {
            !character.is_whitespace()
                && !text::is_deceptive(character)
                && !"\"=\\".contains(character)
        })
}

/// Appends `value` as a JSON string (RFC 8259 section 7).
fn quote(target: &mut String, value: &str) {
    target.push('"');
    value.chars().for_each(|character| text::push_json(target, character));
    target.push('"');
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Keeps what is logged, for the tests of those who log.
    #[derive(Clone, Default)]
    pub(crate) struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Captured {
        /// What is logged as text on this thread from now on, until the guard is dropped.
        pub(crate) fn listening() -> (Self, tracing::subscriber::DefaultGuard) {
            let captured = Self::default();
            let writer = captured.clone();
            let options = Options { format: Format::Text, level: Level::INFO };
            let subscriber = subscriber(options, false, move || writer.clone());
            (captured, tracing::subscriber::set_default(subscriber))
        }

        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(format: Format, log: impl FnOnce()) -> Vec<String> {
        let captured = Captured::default();
        let writer = captured.clone();
        let options = Options { format, level: Level::INFO };
        let subscriber = subscriber(options, false, move || writer.clone());
        tracing::subscriber::with_default(subscriber, log);
        captured.text().lines().map(str::to_owned).collect()
    }

    #[test]
    fn an_event_is_one_json_object_with_flat_fields() {
        let lines = lines(Format::Auto, || {
            tracing::info!(id = "abc", size = 5_u64, cut = false, error = %"no \"room\"", "accepted");
        });
        assert_eq!(lines.len(), 1);
        let event: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(event["message"], "accepted");
        assert_eq!(event["level"], "INFO");
        assert_eq!(
            (&event["id"], &event["size"], &event["cut"]),
            (&"abc".into(), &5.into(), &false.into())
        );
        assert_eq!(event["error"], "no \"room\"");
        let timestamp = event["timestamp"].as_str().unwrap();
        assert!(timestamp.contains('T') && timestamp.ends_with('Z'), "{timestamp}");
    }

    #[test]
    fn an_event_as_text_is_readable_and_in_the_same_order() {
        let lines =
            lines(Format::Text, || tracing::warn!(id = "abc", reason = "no room", "refused"));
        assert!(lines[0].ends_with("  WARN refused id=abc reason=\"no room\""), "{}", lines[0]);
    }

    #[test]
    fn what_happens_in_the_work_of_an_account_has_its_name_once() {
        let log = || {
            let span = of_account("shop");
            let (_outer, _inner) = (span.enter(), span.enter());
            tracing::info!(id = "abc", "relayed");
        };
        let text = lines(Format::Text, log);
        assert!(text[0].ends_with("  INFO relayed id=abc account_name=shop"), "{}", text[0]);
        let advice = lines(Format::Text, || {
            let span = of_account("shop");
            let _inside = span.enter();
            let (reason, remedy) = ("says upstream.host", "Correct upstream.host.");
            tracing::warn!(reason, remedy, "once mended: pillarbox resume");
        });
        let words = "once mended: pillarbox resume --account shop reason=\"says upstream.host\" \
                     remedy=\"Correct shop's host.\" account_name=shop";
        assert!(advice[0].ends_with(words), "{}", advice[0]);
        let json = lines(Format::Json, log);
        let event: serde_json::Value = serde_json::from_str(&json[0]).unwrap();
        assert_eq!((&event["id"], &event["account_name"]), (&"abc".into(), &"shop".into()));
        let without = lines(Format::Text, || {
            let span = tracing::error_span!("another", name = "library");
            let _inside = span.enter();
            tracing::info!("relayed");
        });
        assert!(without[0].ends_with("  INFO relayed"), "{}", without[0]);
    }

    #[test]
    fn the_journal_gets_a_priority_and_no_second_time_stamp() {
        for (format, expected) in [
            (Format::Auto, "<4>refused id=abc\n<6>accepted id=abc\n<3>failed\n<7>noise\n"),
            (Format::Text, "<4>refused id=abc\n<6>accepted id=abc\n<3>failed\n<7>noise\n"),
        ] {
            let captured = Captured::default();
            let writer = captured.clone();
            let shape = Shape::of(format, Reader::Journal);
            let subscriber =
                subscriber_for(shape, LogLevel::new(Level::DEBUG), move || writer.clone());
            tracing::subscriber::with_default(subscriber, || {
                tracing::warn!(id = "abc", "refused");
                tracing::info!(id = "abc", "accepted");
                tracing::error!("failed");
                tracing::debug!("noise");
            });
            assert_eq!(captured.text(), expected);
        }
        assert!(
            dropped(Shape::of(Format::Text, Reader::Journal), 7)
                .starts_with("<4>log lines were dropped")
        );
    }

    #[test]
    fn the_journal_gets_each_field_by_itself_and_nobody_can_forge_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let (mut stream, rest) = io::pipe().map(|(rest, stream)| (Some(stream), rest)).unwrap();
        let given = Journal::connect(&path, stream.take().unwrap());
        let stream = given.err().expect("nobody listens yet");
        let listening = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        let shape = Shape { form: Form::Fields, reader: Reader::Journal };
        let journal = Journal::connect(&path, stream).ok().unwrap();
        let queue = Queue::start(journal, |_| Vec::new()).unwrap();
        let subscriber = subscriber_for(shape, LogLevel::new(Level::INFO), queue.clone());
        let log = || {
            let forged = "x\nQUEUE_ID=forged\u{1b}[2J\0";
            tracing::warn!(
                id = "abc",
                size = 5_u64,
                reply = forged,
                long = "y".repeat(5_000),
                "refused"
            );
        };
        let heard = |socket: &std::os::unix::net::UnixDatagram| {
            let mut datagram = vec![0; 64 * 1024];
            let length = socket.recv(&mut datagram).unwrap();
            datagram.truncate(length);
            String::from_utf8(datagram).unwrap()
        };
        let guard = tracing::subscriber::set_default(subscriber);
        log();
        let datagram = heard(&listening);
        let lines: Vec<&str> = datagram.lines().collect();
        assert_eq!(lines[..2], ["PRIORITY=4", "SYSLOG_IDENTIFIER=pillarbox"]);
        assert!(lines[2].starts_with("MESSAGE=refused id=abc size=5 reply="), "{datagram}");
        assert_eq!(lines[3..5], ["QUEUE_ID=abc", "PILLARBOX_SIZE=5"]);
        assert!(lines[5].starts_with("PILLARBOX_REPLY=x") && lines[5].contains("QUEUE_ID=forged"));
        assert!(lines[6].len() < VALUE_BYTES_MAX + 40 && lines.len() == 7, "{datagram}");
        assert!(!datagram.contains(['\u{1b}', '\0']), "{datagram:?}");

        // It is started anew, and later gone for good.
        drop(listening);
        std::fs::remove_file(&path).unwrap();
        let listening = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        log();
        assert!(heard(&listening).contains("QUEUE_ID=abc"));
        drop(listening);
        log();
        assert!(queue.flush(Duration::from_secs(60)));
        drop(guard);
        let mut line = String::new();
        io::BufRead::read_line(&mut io::BufReader::new(rest), &mut line).unwrap();
        assert!(line.starts_with("<4>refused id=abc size=5"), "{line}");
    }

    #[test]
    fn a_journal_that_stands_still_keeps_nobody_waiting_and_what_is_dropped_is_counted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listening = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        let shape = Shape { form: Form::Fields, reader: Reader::Journal };
        let journal = Journal::connect(&path, io::pipe().unwrap().1).ok().unwrap();
        let told = move |number| dropped(shape, number).into_bytes();
        let queue = Queue::start(journal, told).unwrap();
        let subscriber = subscriber_for(shape, LogLevel::new(Level::INFO), queue.clone());
        tracing::subscriber::with_default(subscriber, || {
            (0..10_000).for_each(|_| tracing::info!(words = "z".repeat(500), "noise"));
        });
        assert!(!queue.flush(Duration::from_millis(1)), "nobody reads");
        listening.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let (mut heard, mut lost) = (0, 0);
        let mut datagram = vec![0; 64 * 1024];
        while heard + lost < 10_000 {
            let length = listening.recv(&mut datagram).unwrap();
            let text = String::from_utf8_lossy(&datagram[..length]);
            match text.lines().find_map(|line| line.strip_prefix("PILLARBOX_LINES=")) {
                Some(number) => lost += number.parse::<u32>().unwrap(),
                None => heard += 1,
            }
        }
        assert!(heard > 500 && lost > 500, "{heard} {lost}");
    }

    #[test]
    fn the_line_about_dropped_lines_is_one_of_its_form() {
        let line = dropped(Shape::of(Format::Json, Reader::Other), 7);
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&event["lines"], &event["level"]), (&7.into(), &"WARN".into()));
        assert!(
            dropped(Shape::of(Format::Text, Reader::Terminal), 7)
                .contains("  WARN log lines were dropped")
        );
    }

    #[test]
    fn a_client_cannot_forge_a_line_nor_reach_the_terminal() {
        let forged = "x\r\n2026-01-01T00:00:00Z INFO accepted id=forged\u{1b}[2J\u{9b}2J\u{2028}\u{202e}\u{200b}\u{ad}\u{e0041}";
        for format in [Format::Text, Format::Json] {
            let lines = lines(format, || {
                tracing::info!(helo = forged, from = %forged, to = ?[forged], "{forged}");
            });
            assert_eq!(lines.len(), 1, "{lines:?}");
            assert!(!lines[0].chars().any(text::is_deceptive), "{lines:?}");
            if format == Format::Json {
                let event: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
                assert_eq!(event["helo"], forged, "the escapes lose nothing");
            }
        }
    }

    #[test]
    fn a_value_is_cut_at_its_limit_on_a_character() {
        let long = "ä".repeat(VALUE_BYTES_MAX);
        let lines = lines(Format::Json, || tracing::info!(reply = long, debug = ?long, "relayed"));
        let event: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(event["reply"], format!("{} ...(cut)", "ä".repeat(VALUE_BYTES_MAX / 2)));
        assert!(event["debug"].as_str().unwrap().len() < VALUE_BYTES_MAX + 20);
    }

    #[test]
    fn events_below_the_level_and_of_other_crates_are_not_printed() {
        let lines = lines(Format::Json, || {
            tracing::debug!("noise");
            tracing::error!(target: "hyper", "somebody else's");
        });
        assert_eq!(lines, Vec::<String>::new());
    }
}
