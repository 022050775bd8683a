//! The hosts of a fleet: in memory as in PostgreSQL, and one host's own view of itself.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{
    roll::{Roll, seen},
    scene::{ACCOUNT, Known, PASSWORD, Scene, ask, beat},
};
use crate::{
    clock::{Clock, ManualClock, Timestamp},
    fleet::{
        books::Books as _,
        examine,
        hosts::{FORGOTTEN_AFTER, GONE_AFTER, Hosts, Load, LoggedIn, Register, Standing},
        logins::{LoginAsk, LoginBooks as _, Over, Renewal, Terms},
        options::{Database, Options, Password},
        own_file::OwnFile,
    },
    live::Live,
};

const MINUTE: Duration = Duration::from_secs(60);

/// As if so much time had passed for the hosts in the database.
fn pass(scene: &Scene, time: Duration) {
    let seconds = time.as_secs();
    scene.sql(&format!(
        "UPDATE pillarbox.host SET since = since - interval '{seconds} s', seen = seen - interval '{seconds} s',
             drained = drained - interval '{seconds} s', namesake = namesake - interval '{seconds} s'"
    ));
}

#[tokio::test]
async fn the_hosts_in_memory_are_those_in_the_database_whatever_becomes_of_them() {
    let scene = Scene::new();
    let clock = ManualClock::new(Timestamp(1_800_000_000_000));
    let (books, roll) = (scene.books(), Roll::new(&clock));
    let both: [&dyn Register; 2] = [&books, &roll];
    let mut random = fastrand::Rng::with_seed(7);
    let mut instances = Vec::new();
    for step in 0..150 {
        let host = ["a", "b", "c"][random.usize(..3)];
        let known = instances.iter().filter(|(name, _)| *name == host).map(|(_, number)| *number);
        let known: Vec<i64> = known.collect();
        let instance = (!known.is_empty()).then(|| known[random.usize(..known.len())]);
        let deed = random.u32(..10);
        let mut answers = Vec::new();
        for register in both {
            let answer = match (deed, instance) {
                (0..=1, _) | (2..=5, None) => {
                    let heard = register.beat(&beat(host, None)).await.unwrap();
                    (heard.instance, heard.drained.is_some(), heard.has_namesake, heard.living)
                }
                (2..=5, instance) => {
                    let heard = register.beat(&beat(host, instance)).await.unwrap();
                    (heard.instance, heard.drained.is_some(), heard.has_namesake, heard.living)
                }
                (6, Some(instance)) => {
                    register.leave(host, instance).await.unwrap();
                    (0, false, false, 0)
                }
                (6, None) | (7, _) => {
                    (0, register.drain(host, step % 2 == 0).await.unwrap(), false, 0)
                }
                _ => (0, false, false, 0),
            };
            answers.push(answer);
        }
        assert_eq!(answers[0], answers[1], "step {step}");
        if answers[0].0 > 0 && !instances.contains(&(host, answers[0].0)) {
            instances.push((host, answers[0].0));
        }
        if deed == 8 {
            pass(&scene, 10 * MINUTE);
            clock.advance(10 * MINUTE);
        }
        let (stored, kept) = (books.list().await.unwrap(), roll.list().await.unwrap());
        let all =
            |rows: &[_]| rows.iter().map(seen).map(|row| format!("{row:?}")).collect::<Vec<_>>();
        assert_eq!(all(&stored.hosts), all(&kept.hosts), "step {step}");
    }
    assert!(instances.len() > 6, "{instances:?}");
}

#[tokio::test]
async fn the_database_says_of_itself_and_of_its_hosts_what_a_person_asks_for() {
    let scene = Scene::new();
    let books = scene.books();
    for host in ["b", "a"] {
        books.beat(&beat(host, None)).await.unwrap();
    }
    books.reserve(ACCOUNT, "a", &ask(3, 10)).await.unwrap();
    books.reserve(ACCOUNT, "gone since", &ask(2, 10)).await.unwrap();
    let listed = books.list().await.unwrap();
    assert!(listed.server.starts_with(|first: char| first.is_ascii_digit()), "{}", listed.server);
    assert_eq!(listed.schema, crate::fleet::schema::version());
    assert_eq!(listed.hosts.iter().map(|row| &*row.name).collect::<Vec<_>>(), ["a", "b"]);
    let load = listed.hosts[0].load;
    assert_eq!((load.messages, load.recipients), (3, 4));
    assert!(load.oldest.is_some_and(|age| (60..70).contains(&age.as_secs())), "{load:?}");
    assert_eq!(listed.hosts[0].version, env!("CARGO_PKG_VERSION"));
    let spent = |host: &str, number| (ACCOUNT.to_owned(), host.to_owned(), number);
    assert_eq!(listed.spent, [spent("a", 3), spent("gone since", 2)]);
    assert!(listed.logins.is_empty());
    let terms = Terms { logins: Some(9), connections: 9 };
    for (token, host) in [(1, "a"), (2, "a"), (3, "b")] {
        let asked = LoginAsk { token, terms, over: Vec::new() };
        books.log_in(ACCOUNT, host, &asked).await.unwrap();
    }
    let over = vec![Over { token: 1, was_made: true }, Over { token: 2, was_made: false }];
    books.renew(ACCOUNT, "a", &Renewal { over, terms, ..Renewal::default() }).await.unwrap();
    let of = |host: &str, open| LoggedIn {
        account: ACCOUNT.to_owned(),
        host: host.to_owned(),
        logins: 1,
        open,
        waits: None,
    };
    assert_eq!(books.list().await.unwrap().logins, [of("a", 0), of("b", 1)]);
    let asked = LoginAsk { token: 4, terms: Terms { connections: 1, ..terms }, over: Vec::new() };
    books.log_in(ACCOUNT, "a", &asked).await.unwrap();
    let logins = books.list().await.unwrap().logins;
    assert!(logins[0].waits.is_some_and(|span| span < MINUTE), "{logins:?}");
    assert_eq!(logins[1], of("b", 1));
    pass(&scene, FORGOTTEN_AFTER + MINUTE);
    books.beat(&beat("b", Some(1))).await.unwrap();
    books.forget().await.unwrap();
    let hosts = books.list().await.unwrap().hosts;
    assert_eq!(hosts.iter().map(|row| &*row.name).collect::<Vec<_>>(), ["b"]);
}

fn hosts(roll: &Arc<Roll>, name: &str, clock: &ManualClock) -> (Hosts, Live<Option<Timestamp>>) {
    let of_all: Arc<dyn Clock> = Arc::new(clock.clone());
    let door = Live::new(None);
    let own = (name.to_owned(), OwnFile::none());
    (Hosts::new(Arc::clone(roll) as _, own, of_all, door.clone()), door)
}

async fn standings(hosts: &Hosts) -> Vec<(String, Standing)> {
    let members = hosts.ask().await.unwrap();
    members.hosts.into_iter().map(|host| (host.name, host.standing)).collect()
}

#[tokio::test]
async fn a_host_lives_while_it_gives_signs_of_life_and_is_gone_or_stopped_afterwards() {
    let clock = ManualClock::new(Timestamp(1_800_000_000_000));
    let roll = Arc::new(Roll::new(&clock));
    let ((a, _), (b, _)) = (hosts(&roll, "a", &clock), hosts(&roll, "b", &clock));
    a.beat(Load::default()).await;
    b.beat(Load::default()).await;
    let of = |a, b| [("a".to_owned(), a), ("b".to_owned(), b)];
    assert_eq!(standings(&a).await, of(Standing::Living, Standing::Living));
    clock.advance(GONE_AFTER + Duration::from_secs(1));
    a.beat(Load::default()).await;
    assert_eq!(standings(&a).await, of(Standing::Living, Standing::Gone));
    b.beat(Load::default()).await;
    b.leave().await;
    clock.advance(MINUTE);
    assert_eq!(standings(&a).await, of(Standing::Gone, Standing::Stopped));
    assert!(a.pause() <= Duration::from_secs(10) && a.pause() >= Duration::from_secs(7));
}

#[tokio::test]
async fn a_host_hears_that_it_is_drained_and_goes_by_that_while_nobody_can_be_asked() {
    let clock = ManualClock::new(Timestamp(1_800_000_000_000));
    let roll = Arc::new(Roll::new(&clock));
    let ((a, _), (b, door)) = (hosts(&roll, "a", &clock), hosts(&roll, "b", &clock));
    a.beat(Load::default()).await;
    b.beat(Load::default()).await;
    assert!(!a.drain("nobody", true).await.unwrap());
    assert!(a.drain("b", true).await.unwrap());
    assert_eq!(*door.get(), None, "it has not asked since");
    clock.advance(MINUTE);
    b.beat(Load::default()).await;
    assert_eq!(*door.get(), Some(clock.wall().before(MINUTE)));
    roll.is_away.store(true, Ordering::Relaxed);
    b.beat(Load::default()).await;
    assert!(door.get().is_some() && a.drain("b", false).await.is_err());
    roll.is_away.store(false, Ordering::Relaxed);
    // A start asks before it takes anything.
    let (again, its_door) = hosts(&roll, "b", &clock);
    again.beat(Load::default()).await;
    assert!(its_door.get().is_some());
    assert!(again.drain("b", false).await.unwrap());
    assert_eq!(*its_door.get(), None, "its own order holds at once");
    b.beat(Load::default()).await;
    assert_eq!(*door.get(), None);
    assert!(a.ask().await.unwrap().hosts[1].has_namesake, "the one before still lives");
}

#[tokio::test]
async fn a_drained_host_that_starts_while_nobody_can_be_asked_takes_no_mail() {
    let clock = ManualClock::new(Timestamp(1_800_000_000_000));
    let (roll, directory) = (Arc::new(Roll::new(&clock)), tempfile::tempdir().unwrap());
    let start = || {
        let (of_all, door): (Arc<dyn Clock>, _) = (Arc::new(clock.clone()), Live::new(None));
        let own = ("a".to_owned(), OwnFile::in_directory(directory.path()));
        (Hosts::new(Arc::clone(&roll) as _, own, of_all, door.clone()), door)
    };
    let (host, _) = start();
    host.beat(Load::default()).await;
    assert!(host.drain("a", true).await.unwrap());
    roll.is_away.store(true, Ordering::Relaxed);
    let (again, door) = start();
    again.beat(Load::default()).await;
    assert_eq!(*door.get(), Some(clock.wall()), "as it was last told");
    // What was ordered meanwhile it hears with the first answer.
    roll.is_away.store(false, Ordering::Relaxed);
    assert!(roll.drain("a", false).await.unwrap());
    again.beat(Load::default()).await;
    assert_eq!((*door.get(), *start().1.get()), (None, None));
}

#[tokio::test]
async fn an_examination_finds_what_is_set_what_is_missing_and_who_stands_in_the_way_and_makes_nothing()
 {
    let scene = Scene::new();
    let options = |user: &str, password| {
        let password: Option<Arc<dyn Password>> = Some(Arc::new(Known(password)));
        let database = Database { user: user.to_owned(), password, ..scene.options() };
        Options { host: "a".into(), database }
    };
    let found = examine(&options("postgres", PASSWORD), true).await.unwrap();
    assert_eq!((found.schema.0, found.syncs, found.is_standby), (0, false, false), "{found:?}");
    assert!(found.writes_full_pages && found.lacking.is_empty(), "{found:?}");
    assert!(found.clock_ms > 1_700_000_000_000 && found.transactions.is_empty(), "{found:?}");
    let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname = 'pillarbox'";
    assert_eq!(scene.sql(schemas), "0", "nothing was made");

    scene.books().beat(&beat("a", None)).await.unwrap();
    scene.books().beat(&beat("b", None)).await.unwrap();
    scene.books().beat(&beat("b", None)).await.unwrap();
    scene.books().beat(&beat("b", Some(1))).await.unwrap();
    scene.sql("UPDATE pillarbox.host SET seen = seen - interval '5 min' WHERE name = 'a'");
    let found = examine(&options("postgres", PASSWORD), true).await.unwrap();
    assert_eq!(found.namesakes, ["b"]);
    assert_eq!(found.gone.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["a"]);
    let role = format!("poor_{}", scene.database);
    scene.sql(&format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'rows alone'; GRANT USAGE ON SCHEMA pillarbox TO {role};
         GRANT SELECT ON pillarbox.version TO {role};
         GRANT SELECT, INSERT, UPDATE ON pillarbox.account TO {role};
         GRANT SELECT, INSERT, UPDATE, DELETE ON pillarbox.reservation TO {role}"
    ));
    let lacking = examine(&options(&role, "rows alone"), false).await.unwrap().lacking;
    let tables = ["pillarbox.host", "pillarbox.login", "pillarbox.login_wish"];
    let rights = ["DELETE", "INSERT", "SELECT", "UPDATE"];
    let of = |table: &'static str| rights.map(|right| (table.to_owned(), right.to_owned()));
    assert_eq!(lacking, tables.map(of).concat());
    let next = crate::fleet::schema::version() + 1;
    scene.sql(&format!("UPDATE pillarbox.version SET number = {next}, oldest = {next}"));
    let newer = examine(&options("postgres", PASSWORD), true).await.unwrap().schema;
    assert!(newer.1.is_some_and(|words| words.contains("upgrade")), "{next}");
    let away = examine(&options("postgres", "another"), true).await.unwrap_err().to_string();
    assert!(away.contains("the database says") && !away.contains("another"), "{away}");
}
