//! A person at a terminal: answers, mistakes, refusals, interruptions.

use std::{fs, time::Duration};

use rustix::termios::LocalModes;

use super::scene::{ACCOUNT, PASSWORD, STORED, Scene, write_secret};
use crate::support::{
    daemon::{pillarbox, within},
    gmail::Gmail,
    terminal::AtTerminal,
};

/// Every prompt on the shortest way, with an answer. The password is last, because no draft keeps it.
const WAY: [(&str, &str); 6] = [
    ("Gmail account", ACCOUNT),
    ("How to log in", "1"),
    ("Who reads root's mail", ""),
    ("Who may send", ""),
    ("App password", PASSWORD),
    ("Do this?", "yes"),
];

/// Answers the questions from one on, and reads to the end.
fn answer_from(terminal: &mut AtTerminal, first: usize) {
    for (prompt, answer) in &WAY[first..] {
        terminal.answer(prompt, answer);
    }
}

/// Neither colours nor anything else but a cleared line and a moved cursor.
fn assert_harmless(shown: &str) {
    for (at, _) in shown.match_indices('\u{1b}') {
        let sequence: String =
            shown[at..].chars().take_while(|letter| !letter.is_ascii_alphabetic()).collect();
        let end = shown[at + sequence.len()..].chars().next();
        assert!(matches!(end, Some('A'..='D' | 'K' | 'G')), "{:?}", &shown[at..]);
    }
    let others = |letter: &char| letter.is_control() && !"\r\n\u{1b}\u{8}".contains(*letter);
    assert_eq!(shown.chars().find(others), None, "{shown:?}");
}

#[test]
fn a_person_is_asked_shown_the_plan_and_served_once_he_says_yes() {
    let scene = Scene::new();
    let before = scene.text();
    let mut terminal = scene.at_terminal(&[]);
    answer_from(&mut terminal, 0);
    terminal.wait_for("localhost takes it.");
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    for words in [
        "localhost can be reached from here on port",
        "https://myaccount.google.com/apppasswords",
        "2-step verification",
        "store the app password in",
        "mode 0600",
        "[upstream] username = \"me@gmail.com\"",
        "Nothing else is changed.",
        "pillarbox run --config",
    ] {
        assert!(shown.replace("\r\n", " ").contains(words), "{words}: {shown}");
    }
    assert_harmless(&shown);
    assert!(!shown.contains("abcd") && !shown.contains("mnop"), "{shown}");
    let account = "username = \"me@gmail.com\"\npassword_file = \"password\"\n";
    let after = scene.text();
    assert!(after.contains(account), "{after}");
    assert_eq!(after.replace(account, ""), before, "and nothing else has changed");
    assert_eq!(fs::read_to_string(scene.path("password")).unwrap(), STORED);
    assert_eq!(scene.mode("password"), 0o600);
    assert_eq!(scene.files().len(), 2, "the draft is gone");
}

#[test]
fn a_new_file_is_short_readable_and_what_a_relay_starts_with() {
    let scene = Scene::new();
    fs::remove_file(scene.config()).unwrap();
    let mut terminal = scene.at_terminal(&["--no-prove"]);
    terminal.answer("Whose server relays the mail [gmail]", "");
    answer_from(&mut terminal, 0);
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    let text = scene.text();
    assert!(!text.contains("provider"), "Gmail needs no line: {text}");
    assert!(text.starts_with("# Pillarbox.") && text.lines().count() < 30, "{text}");
    assert_eq!(scene.mode("relay.toml"), 0o644);
    let mut check = pillarbox();
    check.args(["check", "--config"]).arg(scene.config());
    let output = check.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_no_changes_nothing_and_a_wrong_answer_is_explained_and_asked_again() {
    let scene = Scene::new();
    let before = scene.text();
    let mut terminal = scene.at_terminal(&[]);
    terminal.answer("Gmail account", "me");
    terminal.wait_for("not a full address");
    terminal.answer("Gmail account", ACCOUNT);
    terminal.answer("How to log in", "9");
    terminal.wait_for("is not one of");
    terminal.answer("How to log in", "");
    terminal.answer("Who reads", "");
    terminal.answer("Who may send", "192.168.1.5/24");
    terminal.wait_for("write 192.168.1.0/24");
    terminal.answer("Who may send", "host");
    terminal.answer("App password", "");
    terminal.wait_for("no password");
    terminal.answer("App password", PASSWORD);
    terminal.answer("Do this?", "perhaps");
    terminal.wait_for("yes or no is needed");
    terminal.answer("Do this?", "n");
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("Nothing was changed."), "{shown}");
    assert_eq!(scene.text(), before);
    assert!(!scene.path("password").exists());
}

#[test]
fn a_network_that_nobody_may_trust_is_asked_for_again() {
    let scene = Scene::new();
    let mut terminal = scene.at_terminal(&["--no-prove"]);
    answer_from_until_serve(&mut terminal);
    terminal.answer("Who may send", "8.0.0.0/8");
    terminal.answer("takes their mail", "127.0.0.1:2525");
    terminal.answer("App password", PASSWORD);
    terminal.wait_for("That cannot be");
    terminal.answer("Who may send", "host");
    terminal.answer("Do this?", "yes");
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    assert!(!scene.text().contains("8.0.0.0"), "{}", scene.text());
}

fn answer_from_until_serve(terminal: &mut AtTerminal) {
    for (prompt, answer) in &WAY[..3] {
        terminal.answer(prompt, answer);
    }
}

#[test]
fn a_refused_password_shows_its_remedy_and_is_asked_for_again() {
    let scene = Scene::new();
    let mut terminal = scene.at_terminal(&[]);
    for (prompt, answer) in &WAY[..4] {
        terminal.answer(prompt, answer);
    }
    terminal.answer("App password", "aaaa bbbb cccc dddd");
    terminal.answer("Do this?", "yes");
    terminal.wait_for("the login was refused");
    terminal.wait_for("app password");
    terminal.wait_for("enter the password again");
    terminal.answer("What now", "");
    terminal.answer("App password", PASSWORD);
    terminal.wait_for("replace the password in");
    terminal.answer("Do this?", "yes");
    terminal.wait_for("localhost takes it.");
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    assert_harmless(&shown);
    assert!(!shown.contains("aaaa") && !shown.contains("bbbb"), "{shown}");
    assert_eq!(fs::read_to_string(scene.path("password")).unwrap(), STORED);
}

#[test]
fn a_password_that_was_refused_in_an_earlier_call_is_asked_for_again() {
    let scene = Scene::new();
    write_secret(&scene.path("password"), "aaaabbbbccccdddd\n");
    let mut terminal = scene.at_terminal(&[]);
    for (prompt, answer) in &WAY[..4] {
        terminal.answer(prompt, answer);
    }
    terminal.answer("Do this?", "yes");
    terminal.answer("What now", "1");
    terminal.answer("App password", PASSWORD);
    terminal.answer("Do this?", "yes");
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
}

#[test]
fn killed_at_any_question_the_next_call_goes_on_there_and_asks_nothing_twice() {
    let scene = Scene::new();
    for (index, (prompt, answer)) in WAY.iter().enumerate().take(4) {
        let mut terminal = scene.at_terminal(&[]);
        terminal.wait_for(prompt);
        for (earlier, _) in &WAY[..index] {
            assert!(!terminal.shown().contains(earlier), "{earlier}: {}", terminal.shown());
        }
        terminal.press(&format!("{answer}\r"));
        terminal.wait_for(WAY[index + 1].0);
        terminal.kill();
        assert_eq!(scene.mode("relay.toml.draft"), 0o600);
    }
    // The password is in no draft: it is asked for until it is stored.
    for _ in 0..2 {
        let mut terminal = scene.at_terminal(&[]);
        terminal.answer("App password", PASSWORD);
        terminal.wait_for("Do this?");
        let shown = terminal.kill();
        assert!(!shown.contains("Gmail account"), "{shown}");
        let draft = fs::read_to_string(scene.path("relay.toml.draft")).unwrap();
        assert!(draft.contains(ACCOUNT) && !draft.contains("abcd"), "{draft}");
        assert!(!scene.text().contains("username"));
    }
    let mut terminal = scene.at_terminal(&[]);
    answer_from(&mut terminal, 4);
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    assert!(!scene.path("relay.toml.draft").exists());
}

#[test]
fn killed_while_the_login_is_tried_the_next_call_asks_and_writes_nothing() {
    let slow = Gmail::with(|options| options.latency = Duration::from_secs(3));
    let scene = Scene::against(slow);
    let mut terminal = scene.at_terminal(&[]);
    answer_from(&mut terminal, 0);
    terminal.wait_for("Trying the login");
    terminal.kill();
    let written = [scene.text(), fs::read_to_string(scene.path("password")).unwrap()];
    let mut terminal = scene.at_terminal(&[]);
    terminal.wait_for("Trying the login");
    let shown = terminal.kill();
    for (prompt, _) in WAY {
        assert!(!shown.contains(prompt), "{prompt}: {shown}");
    }
    assert!(!shown.contains("store the app password"), "{shown}");
    assert_eq!(written, [scene.text(), fs::read_to_string(scene.path("password")).unwrap()]);
}

#[test]
fn a_second_call_finds_all_in_place_and_sends_nothing() {
    let scene = Scene::new();
    scene.set_up();
    let files = scene.files();
    let (code, shown) = scene.at_terminal(&[]).end();
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("All is in place") && shown.contains("takes it"), "{shown}");
    assert_eq!(scene.files(), files);
}

#[test]
fn everything_is_asked_anew_when_that_is_wished_with_the_present_answers_as_defaults() {
    let scene = Scene::new();
    scene.set_up();
    let mut terminal = scene.at_terminal(&["--again"]);
    terminal.answer("Whose server relays the mail [gmail]", "");
    terminal.answer("How mail leaves [smtp]", "");
    terminal.answer("Gmail account [me@gmail.com]", "");
    terminal.answer("How to log in [app-password]", "");
    terminal.answer("Who reads root's mail [me@gmail.com]", "boss@example.org");
    terminal.answer("Who may send [host]", "");
    terminal.answer("Do this?", "");
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    assert!(scene.text().contains("admin = \"boss@example.org\""), "{}", scene.text());
}

#[test]
fn a_first_mail_is_sent_once_and_followed_to_the_upstreams_reply() {
    let scene = Scene::new();
    scene.set_up();
    let mut run = pillarbox();
    run.args(["run", "--config"]).arg(scene.config());
    let log = fs::File::create(scene.path("log")).unwrap();
    let mut daemon = run.stderr(log).spawn().unwrap();
    let is_up = within(Duration::from_secs(20), || scene.path("admin.sock").exists());
    assert!(is_up, "{}", fs::read_to_string(scene.path("log")).unwrap());
    let mut terminal = scene.at_terminal(&["--again"]);
    for prompt in [
        "Whose server",
        "How mail leaves",
        "Gmail account",
        "How to log in",
        "Who reads",
        "Who may send",
    ] {
        terminal.answer(prompt, "");
    }
    terminal.answer("Send a first mail to [me@gmail.com]", "you@example.org");
    let (code, shown) = terminal.end();
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("relayed to you@example.org: 250 2.0.0"), "{shown}");
    assert_eq!(scene.gmail.recipients(), 1);
}

#[test]
fn a_password_is_in_no_draft_no_argument_no_variable_and_not_on_the_screen() {
    let scene = Scene::new();
    let mut terminal = scene.at_terminal(&[]);
    for (prompt, answer) in &WAY[..5] {
        terminal.answer(prompt, answer);
    }
    terminal.wait_for("Do this?");
    let process = format!("/proc/{}", terminal.process_id());
    for file in ["cmdline", "environ"] {
        // What root's own process hides from others is hidden.
        let octets = fs::read(format!("{process}/{file}")).unwrap_or_default();
        let text = String::from_utf8_lossy(&octets).replace(' ', "");
        assert!(!text.contains("abcdefgh"), "{file}: {text}");
    }
    let shown = terminal.kill();
    assert!(!shown.replace(' ', "").contains("abcdefgh"), "{shown}");
    for (name, octets) in scene.files() {
        let text = String::from_utf8_lossy(&octets).replace(' ', "");
        assert!(!text.contains("abcdefgh"), "{name}: {text}");
    }
}

#[test]
fn an_interruption_at_the_password_gives_the_terminal_its_echo_back() {
    let scene = Scene::new();
    let mut terminal = scene.at_terminal(&[
        "--account",
        ACCOUNT,
        "--root-to",
        ACCOUNT,
        "--serve",
        "host",
        "--login",
        "1",
    ]);
    terminal.wait_for("App password");
    let echo = LocalModes::ECHO | LocalModes::ICANON;
    assert!(!terminal.modes().intersects(echo));
    terminal.press("abcd\u{3}");
    terminal.wait_for("interrupted");
    let modes = terminal.modes();
    let (code, shown) = terminal.end();
    assert_eq!(code, 75, "{shown}");
    assert!(modes.contains(echo) && !shown.contains("abcd"), "{shown}");
}

#[test]
fn an_interruption_at_any_other_question_leaves_the_terminal_as_it_was() {
    let scene = Scene::new();
    let mut terminal = scene.at_terminal(&[]);
    let before = terminal.modes();
    terminal.answer("Gmail account", ACCOUNT);
    terminal.wait_for("How to log in [app-password]: ");
    // The prompt takes keys a moment after it is shown; before that the terminal itself would take this one.
    assert!(within(Duration::from_secs(30), || !terminal.modes().contains(LocalModes::ICANON)));
    terminal.press("\u{3}");
    let ended = terminal.wait_for_end();
    assert_eq!((ended, terminal.modes()), (130, before), "{}", terminal.shown());
    assert!(!terminal.shown().contains("\u{1b}[?25l"), "the cursor was never hidden");
}

#[test]
fn what_is_typed_or_found_never_steers_the_terminal() {
    let scene = Scene::new();
    let text = scene.text().replace(
        "[upstream]",
        "[upstream]\nusername = \"me\\u001b[31m\\u009b2J\\u202e@gmail.com\"",
    );
    fs::write(scene.config(), text).unwrap();
    let mut terminal = scene.at_terminal(&["--again"]);
    terminal.answer("Whose server", "");
    terminal.answer("How mail leaves", "");
    terminal.answer("Gmail account", "\u{1b}]0;title\u{7}\u{9b}31m\u{202e}me@gmail.com");
    terminal.wait_for("cannot be seen");
    // The name that was found is not offered.
    terminal.answer("Gmail account: ", "");
    terminal.wait_for("an answer is needed");
    let shown = terminal.kill();
    assert_harmless(&shown);
    assert!(!shown.contains('\u{9b}') && !shown.contains('\u{202e}'), "{shown:?}");
}

#[test]
fn there_are_no_colours_with_and_without_no_color() {
    let scene = Scene::new();
    for value in [None, Some("1")] {
        let mut command = scene.command(&[]);
        command
            .envs(value.map(|value| ("NO_COLOR", value)))
            .env("COLORTERM", "truecolor")
            .env("CLICOLOR_FORCE", "1");
        let mut terminal = AtTerminal::run(&command, 120);
        terminal.answer("Gmail account", "x");
        terminal.wait_for("not a full address");
        assert_harmless(&terminal.kill());
    }
}
