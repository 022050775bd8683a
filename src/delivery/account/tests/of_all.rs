//! Two hosts' accounts that talk by words, with clocks that differ by hours: what each makes of the other's.

use std::time::Duration;

use crate::{
    clock::Timestamp,
    delivery::{
        account::{Account, Adopted, Entry, Permit},
        account_failure::{AccountFailure, rank},
    },
    fleet::Word,
    queue::{
        pause::Pause,
        state::{AccountCondition, AccountState},
    },
};

const NOW: Timestamp = Timestamp(1_800_000_000_000);
/// How far the clock of the host `b` is ahead.
const AHEAD: Duration = Duration::from_secs(3 * 3_600);
const HOUR: Duration = Duration::from_secs(3_600);

struct Host {
    account: Account,
    name: &'static str,
    ahead: Duration,
}

/// What is between the hosts.
#[derive(Default)]
struct Board {
    word: Word,
    /// By a clock of its own.
    written: Duration,
    now: Duration,
}

impl Host {
    fn pair() -> [Self; 2] {
        let host = |name, ahead| {
            let account = Account::new(None, NOW.after(ahead));
            Self { account, name, ahead }
        };
        [host("a", Duration::ZERO), host("b", AHEAD)]
    }

    fn now(&self, board: &Board) -> Timestamp {
        NOW.after(self.ahead).after(board.now)
    }

    fn hear(&mut self, board: &Board) -> Adopted {
        let word = Word { age: board.now - board.written, ..board.word.clone() };
        let now = self.now(board);
        self.account.adopt(&word, now).expect("a word of ours")
    }

    /// Says what there is to be said, as a host does.
    fn tell(&mut self, board: &mut Board) {
        while let Some(saying) = self.account.to_tell(self.name, self.now(board)) {
            if saying.heard == board.word.number {
                board.written = board.now;
                let number = board.word.number + 1;
                let (text, said_at) = (saying.text(), saying.now);
                board.word = Word { number, text, said_at, ..Word::default() };
                self.account.was_told(saying, number);
            } else {
                self.hear(board);
            }
        }
    }

    fn enter(&mut self, board: &Board) -> Permit {
        let now = self.now(board);
        let Entry::Go(permit) = self.account.enter(now) else { panic!("{} waits", self.name) };
        permit
    }

    fn fails(&mut self, permit: Permit, condition: AccountCondition, board: &Board) -> bool {
        let now = self.now(board);
        let failure =
            AccountFailure::new(condition, format!("said to {}", self.name), "mend it".into());
        self.account.failed(permit, failure, now)
    }

    fn state(&self) -> &AccountState {
        self.account.state()
    }
}

fn joined() -> ([Host; 2], Board) {
    let (mut hosts, board) = (Host::pair(), Board::default());
    for host in &mut hosts {
        host.hear(&board);
        let permit = host.enter(&board);
        assert!(!host.account.accepted(permit, NOW), "{}", host.name);
        assert!(host.account.to_tell(host.name, NOW).is_none(), "nothing is news");
    }
    (hosts, board)
}

#[test]
fn a_refused_password_counts_for_all_by_each_hosts_own_clock_and_one_of_them_probes() {
    let ([mut a, mut b], mut board) = joined();
    let permit = a.enter(&board);
    assert!(a.fails(permit, AccountCondition::PausedCredentials, &board));
    a.tell(&mut board);
    board.now += HOUR;
    assert!(b.hear(&board).is_shown);
    assert_eq!(b.state().condition, AccountCondition::PausedCredentials);
    let began = NOW.after(b.ahead);
    assert_eq!((b.state().since, b.state().until), (began, Some(began.after(6 * HOUR))));
    assert_eq!((b.account.found_by("b"), a.account.found_by("a")), (Some("a"), None));
    assert!(b.account.is_told_elsewhere("b") && !a.account.is_told_elsewhere("a"));
    board.now += 5 * HOUR;
    let permit = b.enter(&board);
    assert!(permit.is_probe_of_all() && permit.heard() == Some(1));
    let now = b.now(&board);
    assert!(b.account.accepted(permit, now));
    b.tell(&mut board);
    assert!(a.hear(&board).is_shown);
    assert_eq!(a.state().condition, AccountCondition::Open);
    assert!(!a.enter(&board).is_probe_of_all());
}

#[test]
fn two_hosts_that_meet_the_same_refusal_count_it_once_and_the_graver_one_counts() {
    let ([mut a, mut b], mut board) = joined();
    let permits = [a.enter(&board), b.enter(&board)];
    a.fails(permits[0], AccountCondition::PausedCredentials, &board);
    b.fails(permits[1], AccountCondition::PausedCredentials, &board);
    a.tell(&mut board);
    b.tell(&mut board);
    assert_eq!((board.word.number, b.state().strikes, b.account.found_by("b")), (1, 1, Some("a")));
    let ([mut a, mut b], mut board) = joined();
    let permits = [a.enter(&board), b.enter(&board)];
    a.fails(permits[0], AccountCondition::PausedLogin, &board);
    b.fails(permits[1], AccountCondition::PausedCredentials, &board);
    a.tell(&mut board);
    b.tell(&mut board);
    a.hear(&board);
    assert_eq!(a.state().condition, AccountCondition::PausedCredentials);
}

#[test]
fn the_success_of_an_attempt_from_before_a_pause_does_not_end_it() {
    let ([mut a, mut b], mut board) = joined();
    let permit = b.enter(&board);
    let old = a.enter(&board);
    a.fails(old, AccountCondition::PausedQuota, &board);
    a.tell(&mut board);
    assert!(!b.account.accepted(permit, NOW));
    b.hear(&board);
    assert!(!b.account.accepted(permit, NOW));
    b.tell(&mut board);
    assert_eq!((board.word.number, b.state().condition), (1, AccountCondition::PausedQuota));
}

#[test]
fn a_pause_and_its_end_count_for_all_and_neither_is_lost_between_other_words() {
    let ([mut a, mut b], mut board) = joined();
    let permit = b.enter(&board);
    a.account.pause(Some(Pause::new(NOW, None, "new server")));
    b.fails(permit, AccountCondition::PausedQuota, &board);
    a.tell(&mut board);
    b.tell(&mut board);
    a.hear(&board);
    for host in [&a, &b] {
        assert_eq!(host.state().condition, AccountCondition::PausedQuota, "{}", host.name);
        assert!(host.state().pause.is_some(), "{}", host.name);
    }
    let now = b.now(&board);
    b.account.resume(now);
    b.tell(&mut board);
    let late = a.account.to_tell("a", NOW);
    assert!(late.is_none());
    let heard = a.hear(&board);
    assert!(heard.is_shown && heard.resumed);
    assert_eq!((a.state().condition, &a.state().pause), (AccountCondition::Open, &None));
    // One of all is tried first.
    assert!(a.enter(&board).is_probe_of_all());
    assert!(b.enter(&board).is_probe_of_all());
}

#[test]
fn what_a_host_finds_for_itself_stays_its_own() {
    for condition in [AccountCondition::BackingOff, AccountCondition::PausedConfiguration] {
        let ([mut a, mut b], mut board) = joined();
        let permit = a.enter(&board);
        a.fails(permit, condition, &board);
        a.tell(&mut board);
        assert_eq!(board.word.number, 0, "{condition:?}");
        let permit = b.enter(&board);
        b.fails(permit, AccountCondition::PausedLogin, &board);
        b.tell(&mut board);
        a.hear(&board);
        let graver = condition.max_of(AccountCondition::PausedLogin);
        assert_eq!(a.state().condition, graver);
        board.now += 7 * HOUR;
        let permit = b.enter(&board);
        let now = b.now(&board);
        b.account.accepted(permit, now);
        b.tell(&mut board);
        a.hear(&board);
        let own = condition == AccountCondition::PausedConfiguration;
        assert_eq!(a.state().condition == AccountCondition::Open, !own, "{condition:?}");
    }
}

#[test]
fn what_was_stored_before_a_start_is_told_where_it_is_news_and_over_where_it_is_not() {
    let paused = |since| AccountState {
        condition: AccountCondition::PausedCredentials,
        since,
        until: Some(since.after(6 * HOUR)),
        pause: Some(Pause::new(since, None, "")),
        ..AccountState::open(NOW)
    };
    let ([mut a, _], mut board) = joined();
    a.account = Account::new(Some(paused(NOW)), NOW);
    a.hear(&board);
    a.tell(&mut board);
    assert_eq!(board.word.number, 1, "nobody had said anything");
    let mut b = Host { account: Account::new(None, NOW), name: "b", ahead: Duration::ZERO };
    b.hear(&board);
    b.account.resume(NOW);
    b.tell(&mut board);
    a.account = Account::new(Some(paused(NOW.before(HOUR))), NOW);
    a.hear(&board);
    a.tell(&mut board);
    assert_eq!((a.state().condition, &a.state().pause), (AccountCondition::Open, &None));
    board.now += HOUR;
    a.account = Account::new(Some(paused(NOW.after(HOUR / 2))), NOW.after(HOUR));
    a.hear(&board);
    a.tell(&mut board);
    b.hear(&board);
    assert!(b.state().pause.is_some(), "ordered since, while the database was away");
}

#[test]
fn what_a_full_day_taught_one_host_the_others_know() {
    use crate::{budget::Limit, delivery::account::Counted};
    let ([mut a, mut b], mut board) = joined();
    let limit = Limit::of(400);
    for again in 0..2 {
        let permit = a.enter(&board);
        let now = a.now(&board);
        let mut failure =
            AccountFailure::new(AccountCondition::PausedQuota, "full".into(), String::new());
        failure.day_full = true;
        a.account.failed(permit, failure, now);
        let counted = a.account.counted(permit, false, (300, limit), now);
        assert_eq!(matches!(counted, Counted::Early(_)), again == 0);
        a.tell(&mut board);
        board.now += 2 * HOUR;
    }
    b.hear(&board);
    let now = b.now(&board);
    let allowed = b.account.allowance(limit, now).expect("less than the limit");
    assert_eq!(allowed.recipients, 300);
    assert!(b.state().is_day_full(now));
}

trait Graver {
    fn max_of(self, other: Self) -> Self;
}

impl Graver for AccountCondition {
    fn max_of(self, other: Self) -> Self {
        if rank(self) > rank(other) { self } else { other }
    }
}
