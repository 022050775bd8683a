//! The name of an account in every line of the log about its work, where there are several.
//!
//! Rule: nobody who logs knows of it: whatever happens within the span of an account gets one field more.

use std::fmt;

use tracing::{
    Span,
    field::{Field, Visit},
};
use tracing_subscriber::{
    field::RecordFields,
    fmt::{FormatFields, format::Writer},
};

/// The name of the spans.
pub(super) const SPAN: &str = "of_account";

/// The work of the account with this name.
pub(crate) fn of_account(name: &str) -> Span {
    // A span has a level as events do, and one of a lower level would be left out with them.
    tracing::error_span!("of_account", account_name = name)
}

/// The bare value of a span's only field.
pub(super) struct Values;

impl<'writer> FormatFields<'writer> for Values {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut value = Value { writer, result: Ok(()) };
        fields.record(&mut value);
        value.result
    }
}

struct Value<'writer> {
    writer: Writer<'writer>,
    result: fmt::Result,
}

impl Visit for Value<'_> {
    fn record_str(&mut self, _: &Field, value: &str) {
        self.result = self.writer.write_str(value);
    }

    /// Spans of other libraries, which are not shown.
    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}
