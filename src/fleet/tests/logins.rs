//! The page of an account's logins: who may log in, who gives a connection up to whom, and the same in PostgreSQL.

use std::{collections::BTreeMap, time::Duration};

#[cfg(feature = "fleet")]
use super::scene::{ACCOUNT, Scene};
use crate::fleet::logins::{Held, LoginAnswer, LoginAsk, Over, Page, Renewal, Spans, Terms, turn};
#[cfg(feature = "fleet")]
use crate::{
    clock::{ManualClock, Timestamp},
    fleet::{login_twin::LoginTwin, logins::LoginBooks},
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const TERMS: Terms = Terms { logins: Some(20), connections: 2 };

fn ask(token: i64, terms: Terms) -> LoginAsk {
    LoginAsk { token, terms, over: Vec::new() }
}

/// Hosts over seconds: each does what a host does.
struct Hosts {
    page: Page,
    now: Duration,
    terms: Terms,
    tokens: i64,
    /// Its connections, by host.
    open: BTreeMap<&'static str, Vec<i64>>,
    /// Those that have mail all the time; the others' connections carry nothing.
    busy: Vec<&'static str>,
    /// How many of them a busy host would like to have.
    wants: usize,
    /// When each login was.
    logins: Vec<Duration>,
}

impl Hosts {
    fn new(terms: Terms, wants: usize) -> Self {
        let (page, now, tokens) = (Page::default(), 1_000 * HOUR, 0);
        let (open, busy, logins) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self { page, now, terms, tokens, open, busy, wants, logins }
    }

    fn number(&self, host: &str) -> usize {
        self.open.get(host).map_or(0, Vec::len)
    }

    fn second(&mut self) {
        self.now += SECOND;
        let tick = self.now.as_secs();
        for host in self.busy.clone() {
            if tick.is_multiple_of(3) && self.number(host) < self.wants {
                self.tokens += 1;
                let answer = self.page.log_in(self.now, host, &ask(self.tokens, self.terms));
                if matches!(answer, LoginAnswer::Granted { .. }) {
                    self.open.entry(host).or_default().push(self.tokens);
                    self.logins.push(self.now);
                }
            }
        }
        let hosts: Vec<_> = self.open.keys().copied().collect();
        for host in hosts.into_iter().filter(|_| tick.is_multiple_of(5)) {
            let held = self.open.get(host).cloned().unwrap_or_default();
            let idle = if self.busy.contains(&host) { 0 } else { held.len() };
            let renewed = self.page.renew(
                self.now,
                host,
                &Renewal {
                    held: held.iter().map(|token| Held { token: *token, is_made: true }).collect(),
                    idle: u32::try_from(idle).expect("few"),
                    terms: self.terms,
                    over: Vec::new(),
                },
            );
            assert_eq!(renewed.kept, held);
            let gone: Vec<_> = held.into_iter().take(renewed.give_up as usize).collect();
            let over = gone.iter().map(|token| Over { token: *token, was_made: true }).collect();
            let renewal = Renewal { over, terms: self.terms, ..Renewal::default() };
            self.page.renew(self.now, host, &renewal);
            self.open.entry(host).or_default().retain(|token| !gone.contains(token));
        }
        let open: usize = self.open.values().map(Vec::len).sum();
        assert!(open <= self.terms.connections as usize, "{:?}", self.open);
    }

    fn pass(&mut self, time: Duration) {
        (0..time.as_secs()).for_each(|_| self.second());
    }

    fn most_in_an_hour(&self) -> usize {
        let within = |first: &Duration| {
            self.logins.iter().filter(|at| (*first..*first + HOUR).contains(*at)).count()
        };
        self.logins.iter().map(within).max().unwrap_or(0)
    }
}

#[test]
fn no_more_logins_than_the_hour_has_and_the_next_one_when_the_first_is_an_hour_and_a_lease_old() {
    let (mut page, terms) = (Page::default(), Terms { logins: Some(2), connections: 9 });
    let start = 1_000 * HOUR;
    for token in 0..2 {
        let answer = page.log_in(start + 60 * SECOND * token as u32, "a", &ask(token, terms));
        assert!(matches!(answer, LoginAnswer::Granted { .. }), "{answer:?}");
    }
    let Spans { counts_for, lease } = Spans::default();
    assert_eq!(counts_for, HOUR + lease);
    let frees_in = counts_for - 100 * SECOND;
    let spent = LoginAnswer::HourIsSpent { logins: 2, frees_in };
    assert_eq!(page.log_in(start + 100 * SECOND, "b", &ask(2, terms)), spent);
    let answer = page.log_in(start + counts_for, "b", &ask(3, terms));
    assert_eq!(answer, LoginAnswer::Granted { logins: 2 });
}

#[test]
fn a_login_that_was_not_made_counts_no_more_and_one_that_was_made_counts_without_its_connection() {
    let (mut page, terms) = (Page::default(), Terms { logins: Some(1), connections: 1 });
    let now = 1_000 * HOUR;
    page.log_in(now, "a", &ask(1, terms));
    let again = LoginAsk { over: vec![Over { token: 1, was_made: false }], ..ask(2, terms) };
    assert_eq!(
        page.log_in(now, "b", &again),
        LoginAnswer::HourIsSpent { logins: 1, frees_in: Spans::default().counts_for }
    );
    assert_eq!(page.log_in(now, "a", &again), LoginAnswer::Granted { logins: 1 });
    let renewal =
        Renewal { over: vec![Over { token: 2, was_made: true }], terms, ..Renewal::default() };
    let renewed = page.renew(now, "a", &renewal);
    assert_eq!((renewed.logins, renewed.frees_in.is_some()), (1, true));
    assert!(matches!(page.log_in(now, "a", &ask(3, terms)), LoginAnswer::HourIsSpent { .. }));
}

#[test]
fn a_login_counts_anew_with_each_renewal_before_it_is_made_and_not_afterwards() {
    let (mut page, start) = (Page::default(), 1_000 * HOUR);
    page.log_in(start, "a", &ask(1, TERMS));
    for (is_made, at) in [(false, 30), (true, 30)] {
        let now = start + if is_made { 60 } else { 30 } * SECOND;
        let held = vec![Held { token: 1, is_made }];
        let renewal = Renewal { held, terms: TERMS, ..Renewal::default() };
        assert_eq!(page.renew(now, "a", &renewal).kept, [1]);
        assert_eq!(page.logins[&1].at, start + at * SECOND);
    }
}

#[test]
fn a_connection_that_nobody_renews_is_anothers_after_its_lease_and_never_its_hosts_again() {
    let (mut page, terms) = (Page::default(), Terms { connections: 1, ..TERMS });
    let start = 1_000 * HOUR;
    page.log_in(start, "a", &ask(1, terms));
    let after = |seconds: u32| start + seconds * SECOND;
    assert_eq!(page.log_in(after(59), "b", &ask(2, terms)), LoginAnswer::AllInUse);
    assert_eq!(page.log_in(after(60), "b", &ask(3, terms)), LoginAnswer::Granted { logins: 2 });
    let held = vec![Held { token: 1, is_made: true }, Held { token: 3, is_made: true }];
    let renewal = Renewal { held, terms, ..Renewal::default() };
    assert_eq!(page.renew(after(61), "a", &renewal).kept, Vec::<i64>::new());
}

#[test]
fn a_host_with_more_than_its_part_gives_one_up_to_another_that_waits_and_then_both_keep_theirs() {
    let mut hosts = Hosts::new(TERMS, 2);
    hosts.busy = vec!["a"];
    hosts.pass(20 * SECOND);
    assert_eq!(hosts.number("a"), 2);
    hosts.busy = vec!["a", "b"];
    hosts.pass(12 * SECOND);
    assert_eq!((hosts.number("a"), hosts.number("b")), (1, 1));
    hosts.pass(HOUR);
    assert_eq!(hosts.logins.len(), 3, "nothing is passed to and fro");
}

#[test]
fn what_carries_nothing_is_given_up_at_once_while_there_are_logins_enough() {
    let terms = Terms { connections: 1, ..TERMS };
    let mut hosts = Hosts::new(terms, 1);
    hosts.busy = vec!["a"];
    hosts.pass(3 * SECOND);
    hosts.busy = vec!["b"];
    hosts.pass(12 * SECOND);
    assert_eq!((hosts.number("a"), hosts.number("b")), (0, 1));
    // To and fro, as often as it may be: half of the hour's logins go like this, the others in turns.
    for round in 0..240 {
        hosts.busy = vec![["a", "b"][round % 2]];
        hosts.pass(15 * SECOND);
    }
    assert!((10..=20).contains(&hosts.most_in_an_hour()), "{}", hosts.most_in_an_hour());
}

#[test]
fn more_hosts_than_connections_take_turns_and_every_one_comes_to_its_own() {
    let mut hosts = Hosts::new(TERMS, 2);
    hosts.busy = vec!["a", "b", "c", "d", "e"];
    let mut waits = BTreeMap::new();
    let most = turn(TERMS) * 2;
    assert_eq!(turn(TERMS), 720 * SECOND);
    for _ in 0..6 * HOUR.as_secs() {
        hosts.second();
        for host in hosts.busy.clone() {
            let wait = waits.entry(host).or_insert(Duration::ZERO);
            *wait = if hosts.number(host) > 0 { Duration::ZERO } else { *wait + SECOND };
            assert!(*wait <= most + 60 * SECOND, "{host} has waited for {wait:?}");
        }
    }
    assert!(hosts.most_in_an_hour() <= 12, "{} logins in an hour", hosts.most_in_an_hour());
}

#[test]
fn nobody_gives_a_connection_up_while_no_login_is_left_for_another_host() {
    let terms = Terms { logins: Some(2), connections: 2 };
    let mut hosts = Hosts::new(terms, 2);
    hosts.busy = vec!["a"];
    hosts.pass(6 * SECOND);
    hosts.busy = vec!["a", "b"];
    hosts.pass(HOUR - 60 * SECOND);
    assert_eq!((hosts.number("a"), hosts.number("b")), (2, 0));
    hosts.pass(300 * SECOND);
    assert_eq!((hosts.number("a"), hosts.number("b")), (1, 1));
}

#[test]
fn a_host_that_waits_comes_before_one_that_has_just_given_up() {
    let (mut page, terms) = (Page::default(), Terms { connections: 1, ..TERMS });
    let now = 1_000 * HOUR;
    page.log_in(now, "a", &ask(1, terms));
    for host in ["c", "b"] {
        let answer = page.log_in(now + host.len() as u32 * SECOND, host, &ask(2, terms));
        assert_eq!(answer, LoginAnswer::AllInUse, "{host}");
    }
    let over = vec![Over { token: 1, was_made: true }];
    let back = LoginAsk { over, ..ask(3, terms) };
    assert_eq!(page.log_in(now + 3 * SECOND, "a", &back), LoginAnswer::AllInUse);
    // Both wait since the same moment.
    let late = now + 4 * SECOND;
    assert_eq!(page.log_in(late, "c", &ask(4, terms)), LoginAnswer::AllInUse);
    assert!(matches!(page.log_in(late, "b", &ask(5, terms)), LoginAnswer::Granted { .. }));
    // Who does not ask any more waits no more.
    let over = vec![Over { token: 5, was_made: true }];
    page.renew(late, "b", &Renewal { over, terms, ..Renewal::default() });
    let later = late + 25 * SECOND;
    assert!(matches!(page.log_in(later, "a", &ask(6, terms)), LoginAnswer::Granted { .. }));
}

#[cfg(feature = "fleet")]
#[tokio::test]
async fn the_pages_in_memory_are_those_in_the_database_whatever_becomes_of_them() {
    let scene = Scene::new();
    let clock = ManualClock::new(Timestamp(1_800_000_000_000));
    clock.advance(10 * HOUR);
    let (books, twin) = (scene.books(), LoginTwin::new(&clock));
    let both: [&dyn LoginBooks; 2] = [&books, &twin];
    let terms = Terms { logins: Some(5), connections: 2 };
    let (mut random, mut held) = (fastrand::Rng::with_seed(11), Vec::<(&str, i64, bool)>::new());
    let mut seen = BTreeMap::<&str, usize>::new();
    for step in 1..=120 {
        clock.advance(Duration::from_millis(1));
        let host = ["a", "b", "c"][random.usize(..3)];
        let over = match random.usize(..3) {
            0 if !held.is_empty() => Some(held.swap_remove(random.usize(..held.len()))),
            _ => None,
        };
        let over: Vec<_> =
            over.into_iter().map(|(_, token, was_made)| Over { token, was_made }).collect();
        match random.u32(..6) {
            0..=2 => {
                let ask = LoginAsk { over, ..ask(step, terms) };
                let mut answers = Vec::new();
                for books in both {
                    let answer = books.log_in(ACCOUNT, host, &ask).await.unwrap();
                    answers.push(match answer {
                        LoginAnswer::HourIsSpent { logins, .. } => ("spent", logins),
                        LoginAnswer::Granted { logins } => ("granted", logins),
                        LoginAnswer::AllInUse => ("in use", 0),
                    });
                }
                assert_eq!(answers[0], answers[1], "step {step}");
                *seen.entry(answers[0].0).or_default() += 1;
                if answers[0].0 == "granted" {
                    held.push((host, step, random.bool()));
                }
            }
            3..=4 => {
                let own = held.iter().filter(|(name, ..)| *name == host);
                let own = own.map(|(_, token, is_made)| Held { token: *token, is_made: *is_made });
                let renewal = Renewal { held: own.collect(), idle: step as u32 % 2, terms, over };
                let mut answers = Vec::new();
                for books in both {
                    let answer = books.renew(ACCOUNT, host, &renewal).await.unwrap();
                    answers.push((
                        answer.kept,
                        answer.give_up,
                        answer.logins,
                        answer.frees_in.is_some(),
                    ));
                }
                assert_eq!(answers[0], answers[1], "step {step}");
                *seen.entry(if answers[0].1 > 0 { "give up" } else { "renewed" }).or_default() += 1;
            }
            _ => {
                let time = [25, 25, 25, 1_000][random.usize(..4)] * SECOND;
                scene.pass(time);
                clock.advance(time);
            }
        }
    }
    assert_eq!(seen.len(), 5, "{seen:?}");
}

#[cfg(feature = "fleet")]
#[tokio::test]
async fn twenty_hosts_that_ask_at_once_get_what_there_is_and_what_is_over_is_removed() {
    let scene = Scene::new();
    let mut running = tokio::task::JoinSet::new();
    for token in 0..20 {
        let books = scene.books();
        running.spawn(async move {
            let terms = Terms { logins: Some(20), connections: 3 };
            let host = format!("host {token}");
            books.log_in(ACCOUNT, &host, &ask(token, terms)).await.unwrap()
        });
    }
    let answers = running.join_all().await;
    let granted = answers.iter().filter(|it| matches!(it, LoginAnswer::Granted { .. })).count();
    assert_eq!(granted, 3);
    let rows = || {
        scene.sql("SELECT (SELECT count(*) FROM pillarbox.login), (SELECT count(*) FROM pillarbox.login_wish)")
    };
    assert_eq!(rows(), "3|17");
    scene.pass(3 * HOUR);
    crate::fleet::books::Books::sweep(&scene.books()).await.unwrap();
    assert_eq!(rows(), "0|0");
}
