//! The users of this host, as /etc/passwd has them.
//!
//! Rule: read by ourselves, without the system's name services: those may ask a network, and a static binary has none. A
//! name is for people and decides nothing. Must not know what it is for.

use std::{fs::File, io::Read as _};

/// The file (passwd(5)).
const PATH: &str = "/etc/passwd";
/// Octets of it that are read: some 20,000 users.
const BYTES_MAX: u64 = 1024 * 1024;

/// What the file says of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    /// The name, as it stands there.
    pub(crate) login: &'a str,
    /// The comment: a full name, and what else was entered.
    pub(crate) comment: &'a str,
}

/// The text of the file; what was read before an error is as good as it is.
pub(crate) fn read() -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(PATH) {
        drop(file.take(BYTES_MAX).read_to_end(&mut bytes));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The first entry with this number, as getpwuid(3) would find it.
pub(crate) fn entry(passwd: &str, uid: u32) -> Option<Entry<'_>> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (login, number) = (fields.next()?, fields.nth(1)?);
        let comment = fields.nth(1).unwrap_or_default();
        (number.parse() == Ok(uid) && !login.is_empty()).then_some(Entry { login, comment })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_entry_with_the_number_counts() {
        let passwd = "root:x:0:0:System,Room 1:/:/bin/sh\ntoor:x:0:0::/:/bin/sh\n\n+::::::\nbroken\n:x:33:33::/:\n\
                      www:x:33:33\n";
        assert_eq!(entry(passwd, 0), Some(Entry { login: "root", comment: "System,Room 1" }));
        assert_eq!(entry(passwd, 33), Some(Entry { login: "www", comment: "" }));
        assert_eq!(entry(passwd, 4_294_967_294), None);
    }
}
