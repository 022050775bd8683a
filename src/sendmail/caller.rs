//! The caller: the login and the name of the user, and what this host is called.
//!
//! Rule: only a wish. The daemon believes the socket's credentials and the owner of a file, not this; it is what
//! a From or a reverse path says when the caller does not. No name service is asked: a call must be fast, and a
//! static binary has none. Must not know how mail is sent.

use super::configured::Environment;
use crate::{
    passwd::{self, Entry},
    smtp::address::Address,
    text,
};

/// The user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The login, or `uid1000` for a user without one.
    pub login: Address,
    /// The full name; empty when nobody has entered one.
    pub name: String,
    /// The host's name, as the system says it.
    pub(crate) host: String,
}

impl Caller {
    /// The user of this process.
    #[must_use]
    pub fn of_this_process(environment: &Environment) -> Self {
        let uid = rustix::process::getuid().as_raw();
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self::new(uid, &passwd::read(), environment, host)
    }

    fn new(uid: u32, passwd: &str, environment: &Environment, host: String) -> Self {
        let entry = passwd::entry(passwd, uid);
        let known = entry.map(|entry| entry.login.to_owned());
        // For users that only a name service knows; and root is root, also in an empty container.
        let said =
            || environment.get("LOGNAME").or_else(|| environment.get("USER")).map(str::to_owned);
        let nobody = || if uid == 0 { "root".to_owned() } else { format!("uid{uid}") };
        let login = known
            .or_else(|| if uid == 0 { None } else { said() })
            .and_then(|login| address(&login));
        let login = login.or_else(|| address(&nobody()));
        let name = entry.map_or_else(String::new, full_name);
        Self { login: login.unwrap_or_else(fallback), name, host }
    }
}

/// A login as a local address.
fn address(login: &str) -> Option<Address> {
    login.parse().ok().filter(|address: &Address| address.domain().is_none())
}

#[expect(clippy::expect_used, reason = "a constant that the tests parse")]
fn fallback() -> Address {
    "nobody".parse().expect("a name is an address")
}

/// Up to the first comma; `&` is the login with a capital.
fn full_name(Entry { login, comment }: Entry<'_>) -> String {
    let name = comment.split(',').next().unwrap_or_default().trim();
    name.replace('&', &text::capitalized(login))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\njoe:x:1000:1000:& Public,Room 1,,:/home/joe:/bin/sh\n\
                          bad line\na b:x:1001:1:::\n";

    fn caller(uid: u32, variables: &[(&str, &str)]) -> (String, String) {
        let caller = Caller::new(uid, PASSWD, &Environment::of(variables), "host".into());
        (caller.login.to_string(), caller.name)
    }

    #[test]
    fn a_user_is_who_the_system_says_and_only_a_stranger_may_say_it_himself() {
        assert_eq!(caller(0, &[("LOGNAME", "joe")]), ("root".into(), "root".into()));
        assert_eq!(caller(1000, &[("USER", "root")]), ("joe".into(), "Joe Public".into()));
        assert_eq!(
            caller(2000, &[("LOGNAME", "ldap"), ("USER", "other")]),
            ("ldap".into(), String::new())
        );
        assert_eq!(caller(2000, &[("USER", "a@b")]), ("uid2000".into(), String::new()));
        assert_eq!(caller(2000, &[]), ("uid2000".into(), String::new()));
        // A login that is not an address.
        assert_eq!(caller(1001, &[]), ("uid1001".into(), String::new()));
        assert_eq!(fallback().as_str(), "nobody");
        let nowhere = Caller::new(0, "", &Environment::of(&[]), String::new());
        assert_eq!(nowhere.login.as_str(), "root");
    }
}
