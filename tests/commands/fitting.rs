//! The output of the commands at real terminals: as wide as those are, nothing but text, and whole where there is none.

use unicode_width::UnicodeWidthStr as _;

use super::say;
use crate::support::{
    client::Client,
    daemon::{Home, Upstream},
    terminal::AtTerminal,
};

const LONG: &str =
    "somebody.with.a.very.long.name.and.several.titles@a-department-of-the.office.example.org";
/// A title, a cleared screen, a C1 control, a direction, and what is wider or narrower than its characters.
const SUBJECT: &str = "\u{1b}]0;title\u{7}\u{1b}[2J\u{9b}31m \u{202e}gpj.exe \u{4e2d}\u{6587}\u{4e2d}\u{6587} e\u{301} \u{1f600} and a subject that goes on for more than eighty columns";
const COMMANDS: [&str; 20] = [
    "status",
    "queue list",
    "queue list --count-by from",
    "queue show ID",
    "queue explain ID",
    "queue cat ID",
    "queue hold ID",
    "dead list",
    "history list",
    "budget",
    "budget forecast",
    "budget report",
    "budget simulate",
    "storm list",
    "clients",
    "alert list",
    "log",
    "check",
    "doctor --check daemon --check queue-directory --check budget",
    "mailq",
];

/// A daemon with a message that has what a stranger can write.
fn with_mail(home: &Home) -> (crate::support::daemon::Daemon, String) {
    let daemon = home.start();
    let mut client = Client::hello(daemon.smtp);
    let mail = format!("Subject: {SUBJECT}\r\n\r\nx");
    let answer = client.mail(LONG, &["boss@example.net", LONG], &mail);
    assert!(answer.starts_with("250"), "{answer}");
    let id =
        super::json(home, &["queue", "list"])["messages"][0]["id"].as_str().unwrap().to_owned();
    (daemon, id)
}

fn shown(home: &Home, words: &str, columns: u16) -> String {
    let mut command = home.command(words.split(' '));
    command.env("TERM", "xterm-256color").env("CLICOLOR_FORCE", "1").env("COLORTERM", "truecolor");
    let (_, shown) = AtTerminal::run(&command, columns).end();
    shown.replace("\r\n", "\n")
}

#[test]
fn no_command_prints_a_line_wider_than_the_terminal_or_anything_but_text() {
    let home = Home::with_sections(
        &Upstream::nobody(),
        "[alert]\ncommand = [\"/usr/local/lib/pillarbox/tell-the-administrator-who-is-on-duty-this-week\"]\n",
    );
    let (_daemon, id) = with_mail(&home);
    for command in COMMANDS {
        let words = command.replace("ID", &id);
        for columns in [80, 120, 60] {
            let shown = shown(&home, &words, columns);
            assert!(shown.lines().count() > 0, "{words}");
            for line in shown.lines() {
                // A message is shown in the lines of its writer.
                let is_fitted = command.starts_with("queue cat");
                assert!(is_fitted || line.width() <= usize::from(columns), "{words}: {line:?}");
            }
            let odd =
                |letter: &char| letter.is_control() && *letter != '\n' || *letter == '\u{202e}';
            assert_eq!(shown.chars().find(odd), None, "{words}: {shown:?}");
        }
    }
}

#[test]
fn off_a_terminal_nothing_is_broken_or_cut() {
    let home = Home::new(&Upstream::nobody());
    let (_daemon, id) = with_mail(&home);
    for words in ["queue list", "queue show ID", "queue explain ID", "queue list --count-by from"] {
        let words = words.replace("ID", &id);
        let text = say(&home, &words.split(' ').collect::<Vec<_>>());
        assert!(text.lines().any(|line| line.contains(LONG)), "{text}");
    }
}

#[test]
fn the_help_of_every_command_fits_its_terminal() {
    let home = Home::new(&Upstream::nobody());
    for words in ["--help", "queue list --help", "send --help", "sandbox --help", "status --help"] {
        for columns in [80, 120] {
            for line in shown(&home, words, columns).lines() {
                assert!(line.width() <= usize::from(columns), "{words} at {columns}: {line:?}");
            }
        }
    }
}
