//! The configuration that holds in words: each key, its value, and where that comes from.
//!
//! Rule: pure; the values have no secret in them when they come here.

use crate::admin::configured::{Origin, Setting};

/// What is said of a key without a value.
const UNSET: &str = "not set";

/// Its value, or that it has none.
pub(crate) fn value(setting: &Setting) -> &str {
    setting.value.as_deref().unwrap_or(UNSET)
}

/// `line 12 of /etc/pillarbox/relay.toml`, `PILLARBOX__LOG__LEVEL in the environment`, `default`.
pub(crate) fn origin(setting: &Setting) -> String {
    let origin = match &setting.origin {
        Origin::File { file, line } => format!("line {line} of {file}"),
        Origin::Environment { variable } => format!("{variable} in the environment"),
        Origin::Default => "default".to_owned(),
        Origin::Command => "the sandbox".to_owned(),
    };
    let waits = if setting.waits_for_restart { "; changed, and waits for a restart" } else { "" };
    format!("{origin}{waits}")
}

/// A section as its header is written, and which one of several of its name: `[queue]`, `[[alert.target]] 2`.
pub(crate) fn header(section: &str) -> String {
    let several = section.strip_suffix(']').and_then(|section| section.rsplit_once('['));
    match several.and_then(|(name, index)| Some((name, index.parse::<usize>().ok()?))) {
        Some((name, index)) => format!("[[{name}]] {}", index + 1),
        None => format!("[{section}]"),
    }
}

/// The sections in their order, each with its keys.
pub(crate) fn sections(settings: &[Setting]) -> impl Iterator<Item = &[Setting]> {
    settings.chunk_by(|one, next| one.section == next.section)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_named_as_it_is_written() {
        assert_eq!(header("queue"), "[queue]");
        assert_eq!(header("alert.target[1]"), "[[alert.target]] 2");
        assert_eq!(header("odd[x]"), "[odd[x]]");
    }
}
