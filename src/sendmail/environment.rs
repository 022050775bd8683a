//! The variables of the process, as far as the front end looks at them.
//!
//! Rule: read once, when the call begins; an empty variable is none. The variables are the caller's own, so they count
//! only while the program has no more rights than he has. Must not know what a variable means.

use std::{collections::BTreeMap, fs::File, io::Read as _};

use rustix::process::{getegid, geteuid, getgid, getuid};

/// The entry of the auxiliary vector that the kernel sets for a program with more rights than its caller: by setuid,
/// setgid, capabilities of the file, or a security module (getauxval(3)).
const AT_SECURE: usize = 23;
/// Octets of the vector that are read; it has some 400.
const VECTOR_BYTES_MAX: u64 = 16 * 1024;

/// Whether this process has rights that its caller has not. Then nothing counts that he could have set.
#[must_use]
pub fn has_foreign_rights() -> bool {
    let mut vector = Vec::new();
    if let Ok(file) = File::open("/proc/self/auxv") {
        // What was read before an error is as good as it is.
        drop(file.take(VECTOR_BYTES_MAX).read_to_end(&mut vector));
    }
    getuid() != geteuid() || getgid() != getegid() || is_secure(&vector)
}

/// What the auxiliary vector says: pairs of a type and a value, each a machine word.
fn is_secure(vector: &[u8]) -> bool {
    let (words, _) = vector.as_chunks::<{ size_of::<usize>() }>();
    let (pairs, _) = words.as_chunks::<2>();
    pairs.iter().any(|[kind, value]| {
        usize::from_ne_bytes(*kind) == AT_SECURE && usize::from_ne_bytes(*value) != 0
    })
}

/// Names and values.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<String, String>);

/// The variables that are kept besides those that begin with `PILLARBOX`.
const KEPT: [&str; 4] = ["NAME", "LOGNAME", "USER", "TMPDIR"];

impl Environment {
    /// Those of this process. A value that is not text is none.
    #[must_use]
    pub fn of_this_process() -> Self {
        if has_foreign_rights() {
            return Self::default();
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_of_rights_that_the_caller_has_not() {
        let vector = |pairs: &[(usize, usize)]| -> Vec<u8> {
            pairs
                .iter()
                .flat_map(|(kind, value)| [kind.to_ne_bytes(), value.to_ne_bytes()].concat())
                .collect()
        };
        assert!(is_secure(&vector(&[(6, 4_096), (AT_SECURE, 1), (0, 0)])));
        assert!(!is_secure(&vector(&[(6, AT_SECURE), (AT_SECURE, 0), (0, 0)])));
        assert!(!is_secure(b"") && !has_foreign_rights());
    }
}
