//! The configuration that holds, key by key: each value, and where it comes from.
//!
//! Rule: no secret is in it, because whoever makes it shows none. Must not know what the keys mean.

use serde::{Deserialize, Serialize};

/// `GET /v1/settings`: the configuration that holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Configured {
    /// The file, or that there is none.
    pub(crate) source: String,
    /// Every key, in the order of the annotated relay.toml.
    pub(crate) settings: Vec<Setting>,
}

/// A key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Setting {
    /// Its section; of several sections of one name with its number, from 0: `alert.target[0]`.
    pub(crate) section: String,
    /// Its name.
    pub(crate) key: String,
    /// Its value as it could be written, or words in the place of a secret; `None` when it is not set.
    pub(crate) value: Option<String>,
    /// Where the value comes from.
    pub(crate) origin: Origin,
    /// Whether another value is written there by now, which holds after a restart.
    #[serde(default)]
    pub(crate) waits_for_restart: bool,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "kebab-case")]
pub(crate) enum Origin {
    /// A line of a file.
    File {
        /// Which file.
        file: String,
        /// Counted from 1.
        line: usize,
    },
    /// A variable of the environment.
    Environment {
        /// Its name.
        variable: String,
    },
    /// Nobody has written it.
    Default,
    /// The command that was started, which is the sandbox, whatever is written.
    Command,
}
