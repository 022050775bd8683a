//! The list of a users file as it is printed, compared with files.

use super::*;
use crate::cli::printed::compare_at_every_width;

#[test]
fn the_list_shows_every_login_and_why_a_line_is_skipped_and_nothing_in_it_steers() {
    let hash = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$WjYrJ6sQqtkKmGJxsm3q5Gq1m9wVC0uC0sEYcVfSH5c";
    let long = "the-scanner-in-the-copy-room-on-the-second-floor-beside-the-stairs-of-the-old-building.example.org";
    let text = [
        format!("printer:{hash}"),
        format!("{long}:{hash}"),
        format!("\u{202e}gpj.exe:{hash}"),
        format!("bob:{hash}{LOOK}"),
        format!("printer:{hash}"),
        format!("an apparatus\u{1b}[2J:{hash}"),
        "no colon \u{1b}]0;title\u{7}".to_owned(),
        "weak:$1$salt$0123456789".to_owned(),
    ];
    let users = UsersFile::parse(text.join("\n"), UsersOf::Page);
    assert_eq!((users.logins.len(), users.skipped.len()), (4, 4));
    compare_at_every_width("user_list", |out| {
        print(out, Path::new("/etc/pillarbox/page-users"), &users)
    });
}
