//! The variables of the process, as far as the front end looks at them.
//!
//! Rule: read once, when the call begins; an empty variable is none. The variables are the caller's own, and so is
//! everything that they lead to: the program runs with no more rights than its caller.
//! Must not know what a variable means.

use std::collections::BTreeMap;

/// Names and values.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<String, String>);

/// The variables that are kept besides those that begin with `PILLARBOX`.
const KEPT: [&str; 4] = ["NAME", "LOGNAME", "USER", "TMPDIR"];

impl Environment {
    /// Those of this process. A value that is no text is none.
    #[must_use]
    pub fn of_this_process() -> Self {
        let text = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Self(
            text.filter(|(name, _)| name.starts_with("PILLARBOX") || KEPT.contains(&name.as_str()))
                .collect(),
        )
    }

    /// These.
    #[must_use]
    pub fn of(variables: &[(&str, &str)]) -> Self {
        Self(
            variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        )
    }

    /// The value, when it says something.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}
