//! Events as lines: text on a terminal, JSON otherwise.
//!
//! Rule: one event is one line with fixed field names, whatever a client or an upstream put into a
//! value: control characters are escaped and values are cut at [`VALUE_BYTES_MAX`]. Only our own events
//! are printed, never those of libraries, which may quote whole conversations. Must not know who logs.

use std::{
    fmt::{self, Write as _},
    io::{self, IsTerminal},
};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer,
    filter::Targets,
    fmt::{
        FmtContext, FormatEvent, FormatFields, MakeWriter,
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

/// Octets of one value in a log line; an SMTP reply line has at most 512 (RFC 5321 section 4.5.3.1.5).
pub const VALUE_BYTES_MAX: usize = 1000;

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
pub enum Output {
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
    pub level: tracing::Level,
}

/// Prints the events of this process. A second call changes nothing.
pub fn init(options: Options, output: Output) {
    // An error means that somebody has installed a subscriber already, as tests do.
    match output {
        Output::Stderr => {
            drop(subscriber(options, io::stderr().is_terminal(), io::stderr).try_init())
        }
        Output::Stdout => {
            drop(subscriber(options, io::stdout().is_terminal(), io::stdout).try_init())
        }
    }
}

/// The subscriber that prints to `writer`, for tests and for [`init`].
pub fn subscriber<W>(
    options: Options,
    is_terminal: bool,
    writer: W,
) -> impl Subscriber + Send + Sync
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let form = match options.format {
        Format::Text => Form::Text,
        Format::Json => Form::Json,
        Format::Auto if is_terminal => Form::Text,
        Format::Auto => Form::Json,
    };
    let lines = tracing_subscriber::fmt::layer()
        .event_format(Lines(form))
        .with_writer(writer)
        // A closed output must not end the daemon, which it would by a panic in `eprintln`.
        .log_internal_errors(false);
    let ours = Targets::new().with_target(env!("CARGO_CRATE_NAME"), options.level);
    tracing_subscriber::registry().with(lines.with_filter(ours))
}

#[derive(Clone, Copy, Debug)]
enum Form {
    Text,
    Json,
}

/// Formats an event as one line.
struct Lines(Form);

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields { form: self.0, message: String::new(), rest: String::new() };
        event.record(&mut fields);
        let level = event.metadata().level();
        match self.0 {
            Form::Text => {
                SystemTime.format_time(&mut writer)?;
                writeln!(writer, " {level:>5} {}{}", fields.message, fields.rest)
            }
            Form::Json => {
                writer.write_str("{\"timestamp\":\"")?;
                SystemTime.format_time(&mut writer)?;
                let message = if fields.message.is_empty() { "\"\"" } else { &fields.message };
                writeln!(writer, "\",\"level\":\"{level}\",\"message\":{message}{}}}", fields.rest)
            }
        }
    }
}

/// The fields of an event, already formatted; the message comes first in the line.
struct Fields {
    form: Form,
    message: String,
    rest: String,
}

impl Fields {
    fn text(&mut self, field: &Field, value: &str) {
        let is_message = field.name() == "message";
        if !is_message {
            self.name(field);
        }
        let target = if is_message { &mut self.message } else { &mut self.rest };
        match self.form {
            Form::Json => quote(target, value),
            Form::Text if is_message || is_plain(value) => escape(target, value),
            Form::Text => quote(target, value),
        }
    }

    fn bare(&mut self, field: &Field, value: impl fmt::Display) {
        self.name(field);
        // Writing to a String cannot fail.
        let _: fmt::Result = write!(self.rest, "{value}");
    }

    fn name(&mut self, field: &Field) {
        let name = field.name();
        let _: fmt::Result = match self.form {
            Form::Json => write!(self.rest, ",\"{name}\":"),
            Form::Text => write!(self.rest, " {name}="),
        };
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        let mut bounded = Bounded::default();
        let _: fmt::Result = bounded.write_str(value);
        self.text(field, bounded.text());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut bounded = Bounded::default();
        // An error means that the limit was reached.
        let _: fmt::Result = write!(bounded, "{value:?}");
        self.text(field, bounded.text());
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
            !character.is_whitespace() && !is_deceptive(character) && !"\"=\\".contains(character)
        })
}

/// Control characters, line separators and changes of the writing direction: they could end a line, or
/// make a terminal show something else than what is there.
fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{feff}')
        || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Appends `value` as a JSON string (RFC 8259 section 7).
fn quote(target: &mut String, value: &str) {
    target.push('"');
    for character in value.chars() {
        if matches!(character, '"' | '\\') {
            target.push('\\');
        }
        push_escaped(target, character);
    }
    target.push('"');
}

/// Appends `value` with its deceptive characters escaped.
fn escape(target: &mut String, value: &str) {
    value.chars().for_each(|character| push_escaped(target, character));
}

fn push_escaped(target: &mut String, character: char) {
    if is_deceptive(character) {
        // All of them lie within four hexadecimal digits, as JSON's \u wants.
        let _: fmt::Result = write!(target, "\\u{:04x}", u32::from(character));
    } else {
        target.push(character);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Keeps what is logged, for the tests of those who log.
    #[derive(Clone, Default)]
    pub(crate) struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Captured {
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
        let options = Options { format, level: tracing::Level::INFO };
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
    fn a_client_cannot_forge_a_line_nor_reach_the_terminal() {
        let forged =
            "x\r\n2026-01-01T00:00:00Z INFO accepted id=forged\u{1b}[2J\u{9b}2J\u{2028}\u{202e}";
        for format in [Format::Text, Format::Json] {
            let lines = lines(format, || {
                tracing::info!(helo = forged, from = %forged, to = ?[forged], "{forged}");
            });
            assert_eq!(lines.len(), 1, "{lines:?}");
            assert!(!lines[0].chars().any(is_deceptive), "{lines:?}");
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
