//! The status that is watched: in place on a terminal, one below the other elsewhere, and left as it was found.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
};

use rustix::{process::Signal, termios::LocalModes};
use serde_json::Value;

use super::{PATIENCE, refused};
use crate::support::{
    daemon::{Daemon, Home, Upstream, within},
    terminal::AtTerminal,
};

const ENTER: &str = "\u{1b}[?1049h";
const LEAVE: &str = "\u{1b}[?1049l";
const HOME: &str = "\u{1b}[H";

fn watched(columns: u16) -> (Home, Daemon, AtTerminal) {
    let home = Home::new(&Upstream::nobody());
    let daemon = home.start();
    let terminal = at_terminal(&home, columns);
    (home, daemon, terminal)
}

fn at_terminal(home: &Home, columns: u16) -> AtTerminal {
    let mut command = home.command(["status", "--watch=1"]);
    command.env("TERM", "xterm-256color");
    AtTerminal::run(&command, columns)
}

/// Each screen that was drawn, without what moves the cursor.
fn screens(shown: &str) -> Vec<Vec<String>> {
    let (_, drawn) = shown.split_once(ENTER).expect("the other screen");
    let drawn = drawn.split(LEAVE).next().expect("a part");
    let lines = |screen: &str| {
        let lines = screen.replace("\u{1b}[K", "").replace("\u{1b}[J", "");
        lines.split('\n').map(|line| line.trim_end_matches('\r').to_owned()).collect()
    };
    drawn.split(HOME).skip(1).map(lines).collect()
}

fn assert_fits(screen: &[String], columns: usize, rows: usize) {
    assert!(screen.len() <= rows, "{} rows: {screen:#?}", screen.len());
    for line in screen {
        assert!(line.chars().count() <= columns && !line.contains('\u{1b}'), "{line:?}");
    }
}

#[test]
fn on_a_terminal_it_is_drawn_in_place_until_q_and_the_terminal_is_as_before() {
    let (_home, _daemon, mut terminal) = watched(60);
    let before = terminal.modes();
    for _ in 0..2 {
        terminal.wait_for(HOME);
        terminal.wait_for("pillarbox ");
        terminal.wait_for("queue");
    }
    assert!(!terminal.modes().intersects(LocalModes::ECHO | LocalModes::ICANON));
    terminal.press("x\rq");
    assert_eq!(terminal.wait_for_end(), 0);
    assert!(before.contains(LocalModes::ECHO | LocalModes::ICANON));
    assert_eq!(terminal.modes(), before);
    let (_, shown) = terminal.end();
    assert!(shown.ends_with(LEAVE) && shown.matches(LEAVE).count() == 1, "{shown:?}");
    let screens = screens(&shown);
    assert!(screens.len() >= 2);
    for screen in &screens {
        assert!(screen[0].ends_with(", every 1 s; q ends it"), "{screen:#?}");
        assert_fits(screen, 60, 40);
    }
}

#[test]
fn a_signal_ends_it_with_success_and_the_terminal_is_as_before() {
    let (home, _daemon, mut terminal) = watched(80);
    let before = terminal.modes();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        terminal.wait_for("queue");
        terminal.signal(signal);
        assert_eq!(terminal.wait_for_end(), 0, "{signal:?}");
        assert_eq!(terminal.modes(), before, "{signal:?}");
        let (_, shown) = terminal.end();
        assert!(shown.ends_with(LEAVE), "{shown:?}");
        terminal = at_terminal(&home, 80);
    }
}

#[test]
fn stopped_and_continued_it_gives_the_terminal_back_and_takes_it_again() {
    let (_home, _daemon, mut terminal) = watched(80);
    let before = terminal.modes();
    terminal.wait_for("queue");
    terminal.signal(Signal::TSTP);
    terminal.wait_for(LEAVE);
    assert!(within(PATIENCE, || terminal.modes() == before));
    terminal.signal(Signal::CONT);
    terminal.wait_for(ENTER);
    terminal.wait_for("queue");
    terminal.press("q");
    let (code, shown) = terminal.end();
    assert!(code == 0 && shown.ends_with(LEAVE), "{shown:?}");
}

#[test]
fn it_follows_the_size_of_the_terminal_and_is_never_wider_or_higher() {
    let (_home, _daemon, mut terminal) = watched(100);
    terminal.wait_for("queue");
    for (columns, rows) in [(40, 6), (200, 50), (5, 2), (1, 1), (80, 24)] {
        let drawn = screens(&terminal.shown()).len();
        terminal.resize(columns, rows);
        // The one that is drawn just now may be of the old size.
        assert!(within(PATIENCE, || screens(&terminal.shown()).len() > drawn + 2));
        let screens = screens(&terminal.shown());
        let screen = &screens[screens.len() - 2];
        assert_fits(screen, columns.into(), rows.into());
        assert_eq!(rows == 6, screen.last().unwrap().contains("lines more"), "{screen:#?}");
    }
}

#[test]
fn a_daemon_that_goes_away_is_told_in_place_with_its_last_sign_and_it_goes_on_when_that_is_back() {
    let (home, daemon, mut terminal) = watched(80);
    terminal.wait_for("queue");
    assert!(daemon.terminate(PATIENCE).success());
    terminal.wait_for("The daemon does not answer. It was last seen 20");
    terminal.wait_for("no daemon answers on");
    let daemon = home.start();
    terminal.wait_for("pillarbox ");
    terminal.wait_for("listening");
    terminal.press("q");
    let (code, shown) = terminal.end();
    assert_eq!(code, 0);
    screens(&shown).iter().for_each(|screen| assert_fits(screen, 80, 40));
    drop(daemon);
}

#[test]
fn where_nobody_answers_from_the_beginning_it_ends_as_a_single_look_does() {
    let home = Home::new(&Upstream::nobody());
    let words = refused(&home, &["status", "--watch"], 69);
    assert!(words.contains("no daemon answers on"), "{words}");
    for seconds in ["0", "3601", "2s", ""] {
        let words = refused(&home, &["status", &format!("--watch={seconds}")], 64);
        assert!(words.contains("--watch"), "{words}");
    }
}

fn piped(home: &Home, arguments: &[&str]) -> Child {
    let mut command = home.command(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("it starts")
}

#[test]
fn off_a_terminal_each_look_is_a_block_or_a_line_of_json_and_ends_with_its_reader() {
    let home = Home::new(&Upstream::nobody());
    let daemon = home.start();
    let mut child = piped(&home, &["status", "--watch=1", "--json"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap()).unwrap();
    let (first, second) = (next(), next());
    assert!(first["now"].as_i64() < second["now"].as_i64(), "{second}");
    assert_eq!(first["queue"]["messages"], 0);
    assert!(daemon.terminate(PATIENCE).success());
    let missed = std::iter::repeat_with(next).take(5).find(|look| look.get("queue").is_none());
    let missed = missed.expect("it says so");
    assert!(missed["unreachable"].as_str().unwrap().contains("no daemon answers"), "{missed}");
    assert!(missed["last_seen"].as_i64() < missed["now"].as_i64(), "{missed}");
    drop(lines);
    assert!(within(PATIENCE, || child.try_wait().unwrap().is_some()), "nobody reads any more");
    assert_eq!(child.wait().unwrap().code(), Some(0));

    let _daemon = home.start();
    let mut child = piped(&home, &["status", "--watch=1"]);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut blocks = 0;
    for line in lines {
        assert!(!line.contains('\u{1b}'), "{line:?}");
        blocks += u32::from(line.starts_with("pillarbox "));
        if blocks == 2 {
            break;
        }
    }
    assert!(within(PATIENCE, || child.try_wait().unwrap().is_some()));
}
