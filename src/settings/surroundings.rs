//! The surroundings of a process as it sees them: variables, the usual files, the host, directories of secrets.
//!
//! Rule: a value, so that a test can make its own. No secret is read here, and no value of a variable is ever printed.

use std::{collections::BTreeMap, env, fmt, path::PathBuf};

use super::host::Host;

/// Where a configuration is looked for when none is named: here first, then [`SYSTEM_FILE`].
pub(crate) const LOCAL_FILE: &str = "relay.toml";
/// The configuration of a system-wide installation.
pub(crate) const SYSTEM_FILE: &str = "/etc/pillarbox/relay.toml";
/// What the password is called in a directory of secrets, when the configuration names no source for it.
pub const SECRET_NAMES: [&str; 3] = ["pillarbox-password", "pillarbox_password", "gmail_password"];
/// Where container engines mount secrets.
const CONTAINER_SECRETS: &str = "/run/secrets";

/// What the process can see of its surroundings; a value, so that a test can make its own.
#[derive(Clone)]
pub struct Surroundings {
    /// Environment variables whose names start with `PILLARBOX`.
    pub variables: BTreeMap<String, String>,
    /// The file that is tried first when none is named.
    pub local_file: PathBuf,
    /// The file that is tried next.
    pub system_file: PathBuf,
    /// What the host knows about its name.
    pub host: Host,
    /// Directories in which systemd or a container's engine puts secrets, see [`SECRET_NAMES`].
    pub secret_directories: Vec<PathBuf>,
}

/// Without the values of the variables: one may be a password.
impl fmt::Debug for Surroundings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.variables.keys().collect();
        formatter.debug_struct("Surroundings").field("variables", &names).finish_non_exhaustive()
    }
}

impl Surroundings {
    /// Those of this process. A variable that is not UTF-8 keeps its name and a value that no key takes.
    #[must_use]
    pub(crate) fn of_this_process() -> Self {
        let variables = env::vars_os()
            .filter_map(|(name, value)| {
                Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
            })
            .filter(|(name, _)| name.starts_with("PILLARBOX"))
            .collect();
        Self {
            variables,
            local_file: LOCAL_FILE.into(),
            system_file: SYSTEM_FILE.into(),
            host: Host::of_this_machine(),
            secret_directories: secret_directories(),
        }
    }
}

/// systemd's directory for this service (`LoadCredential=`), then that of containers.
fn secret_directories() -> Vec<PathBuf> {
    let credentials = env::var_os("CREDENTIALS_DIRECTORY").filter(|path| !path.is_empty());
    credentials.map(PathBuf::from).into_iter().chain([CONTAINER_SECRETS.into()]).collect()
}
