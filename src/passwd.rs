//! The users of this host, as /etc/passwd has them, and whose program speaks to us.
//!
//! Rule: read by ourselves, without the system's name services: those may ask a network, and a static binary has none. A
//! name is for people and decides nothing: where there is none the number is enough.

use std::{fs::File, io::Read as _};

use tokio::task::spawn_blocking;

use crate::message::envelope::{LocalUser, OVERFLOW_UID};

/// The file (passwd(5)).
const PATH: &str = "/etc/passwd";
/// Which users of the host this process can tell apart, user_namespaces(7).
const UID_MAP: &str = "/proc/self/uid_map";
/// How many numbers there are: a map with all of them is that of a host.
const ALL_UIDS: &str = "4294967295";
/// Octets of either file that are read: some 20,000 users.
const BYTES_MAX: u64 = 1024 * 1024;
/// Characters of a login name that is shown; useradd makes none longer than 32.
const NAME_LENGTH_MAX: usize = 64;

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
    text_of(PATH).unwrap_or_default()
}

fn text_of(path: &str) -> Option<String> {
    let mut bytes = Vec::new();
    drop(File::open(path).ok()?.take(BYTES_MAX).read_to_end(&mut bytes));
    Some(String::from_utf8_lossy(&bytes).into_owned())
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

/// The user, with the name if it can be had.
pub(crate) async fn named(uid: u32, claimed: Option<u32>) -> LocalUser {
    let named = spawn_blocking(move || user(uid, claimed)).await;
    named.unwrap_or(LocalUser { uid, name: None, claimed: false })
}

/// The user with this number. Where the kernel has one number for all users, what the program says of itself is all
/// that there is. Reads files: to be called where that may take a moment.
fn user(uid: u32, claimed: Option<u32>) -> LocalUser {
    let anybody = uid == OVERFLOW_UID && text_of(UID_MAP).is_some_and(|map| is_partial(&map));
    let (uid, claimed) = claimed_by(uid, claimed.filter(|_| anybody));
    let name = if claimed || !anybody { name_of(uid, &read()) } else { None };
    LocalUser { uid, name, claimed }
}

/// Root has a number everywhere, so a program that says it was root's has lied.
fn claimed_by(uid: u32, claim: Option<u32>) -> (u32, bool) {
    claim.filter(|claim| *claim != 0).map_or((uid, false), |claim| (claim, true))
}

/// Whether there are users without a number of their own, as in the namespace of a service with `PrivateUsers=`:
/// there, `nobody` would be a name for all of them.
fn is_partial(map: &str) -> bool {
    !map.lines().any(|line| line.split_whitespace().nth(2) == Some(ALL_UIDS))
}

/// The name of this number. One with characters that mean something in a header field, or in the log, counts as none.
fn name_of(uid: u32, passwd: &str) -> Option<String> {
    let name = entry(passwd, uid)?.login;
    let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-_.$".contains(&octet);
    let usable = name.len() <= NAME_LENGTH_MAX && name.bytes().all(is_plain);
    usable.then(|| name.to_owned())
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

    #[test]
    fn users_without_a_number_of_their_own_are_known_from_the_map() {
        assert!(!is_partial("         0          0 4294967295\n"));
        assert!(is_partial("         0          0          1\n       998        998          1\n"));
    }

    #[test]
    fn a_claim_is_heard_and_never_to_be_root() {
        assert_eq!(claimed_by(OVERFLOW_UID, Some(1_000)), (1_000, true));
        assert_eq!(claimed_by(OVERFLOW_UID, Some(0)), (OVERFLOW_UID, false));
        assert_eq!(claimed_by(OVERFLOW_UID, None), (OVERFLOW_UID, false));
    }

    #[test]
    fn the_first_name_with_the_number_counts_and_an_odd_one_is_none() {
        let passwd = "root:x:0:0:root:/:/bin/sh\ntoor:x:0:0::/:/bin/sh\n\n+::::::\nbroken\nodd)name:x:7:7::/:\n\
                      www-data:x:33:33::/var/www:/usr/sbin/nologin\npc01$:x:1001:100::/:\n";
        assert_eq!(name_of(0, passwd).as_deref(), Some("root"));
        assert_eq!(name_of(33, passwd).as_deref(), Some("www-data"));
        assert_eq!(name_of(1001, passwd).as_deref(), Some("pc01$"));
        assert_eq!((name_of(7, passwd), name_of(4_294_967_294, passwd)), (None, None));
        let long = format!("{}:x:8:8::/:\n", "x".repeat(NAME_LENGTH_MAX + 1));
        assert_eq!(name_of(8, &long), None);
    }
}
