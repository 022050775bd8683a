//! The books in a real PostgreSQL: what they promise, whoever asks at once.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::task::JoinSet;

use super::scene::{A, ACCOUNT, Known, LEASE, Scene, Server, ask, beat, granted, spent, ticket};
use crate::{
    budget::{Limit, WINDOW},
    clock::{ManualClock, Timestamp},
    fleet::{
        books::{Answer, Ask, Books as _, Probe, Spent, Ticket, Told},
        hosts::Register as _,
        logins::{LoginAsk, LoginBooks as _, Over, Renewal, Terms},
        options::{Database, Password},
        postgres::Postgres,
        schema,
        twin::Twin,
    },
};

#[tokio::test]
async fn many_hosts_at_once_never_reserve_more_than_the_limit_and_all_of_it() {
    let scene = Scene::new();
    let mut hosts = JoinSet::new();
    for host in 0..12 {
        let books = scene.books();
        hosts.spawn(async move {
            let mut reserved = 0;
            let mut fences = Vec::new();
            while let Some(granted) =
                granted(books.reserve(ACCOUNT, &format!("host {host}"), &ask(7, 250)).await)
            {
                reserved += granted.recipients;
                fences.push(granted.fence);
            }
            (reserved, fences)
        });
    }
    let all = hosts.join_all().await;
    assert_eq!(all.iter().map(|(reserved, _)| reserved).sum::<u32>(), 250);
    let fences: Vec<_> = all.into_iter().flat_map(|(_, fences)| fences).collect();
    let different: BTreeSet<_> = fences.iter().collect();
    assert_eq!(different.len(), fences.len(), "one number for each claim");
    assert_eq!(spent(&scene.books()).await, 250);
}

#[tokio::test]
async fn the_reserve_of_a_lane_is_kept_and_what_is_spent_frees_after_a_window() {
    let scene = Scene::new();
    let books = scene.books();
    let first = ask(5, 10);
    let granted = granted(books.reserve(ACCOUNT, "a", &first).await).unwrap();
    assert_eq!(granted.recipients, 5);
    assert_eq!(
        books.reserve(ACCOUNT, "b", &ask(2, 5)).await.unwrap(),
        Answer::Full,
        "ordinary mail"
    );
    let urgent = Ask { ledger: 2, ..ask(2, 10) };
    assert_ne!(books.reserve(ACCOUNT, "b", &urgent).await.unwrap(), Answer::Full, "urgent mail");
    let another = books.reserve("another", "b", &ask(9, 10)).await.unwrap();
    assert!(matches!(another, Answer::Granted(granted) if granted.recipients == 9));
    assert!(books.settle(ACCOUNT, ticket(&first, granted), 4).await.unwrap());
    scene.pass(Duration::from_secs(600));
    let spent = books.spent(ACCOUNT, A, Limit::of(5)).await.unwrap();
    assert_eq!((spent.recipients, spent.by_host), (6, 4));
    let left = WINDOW - spent.frees_in.expect("some time");
    assert!((595..700).contains(&left.as_secs()), "{left:?}");
    assert_eq!(books.spent(ACCOUNT, A, Limit::of(7)).await.unwrap().frees_in, None);
    assert_eq!(books.spent(ACCOUNT, A, Limit::of(0)).await.unwrap().frees_in, None);
    scene.pass(WINDOW - Duration::from_secs(600));
    assert_eq!(books.spent(ACCOUNT, A, Limit::of(5)).await.unwrap().recipients, 2);
}

#[tokio::test]
async fn what_two_hosts_of_one_name_have_spent_alone_counts_for_each_of_them_once() {
    let scene = Scene::new();
    let books = scene.books();
    let first = ask(5, 10);
    let granted = granted(books.reserve(ACCOUNT, "a", &first).await).unwrap();
    assert!(books.settle(ACCOUNT, ticket(&first, granted), 5).await.unwrap());
    let namesake = ("a", A.1 + 1);
    for _ in 0..2 {
        books.bring_in(ACCOUNT, A, 5).await.unwrap();
        assert_eq!(spent(&books).await, 5, "its own ledger has what it has reserved");
    }
    for _ in 0..2 {
        books.bring_in(ACCOUNT, namesake, 4).await.unwrap();
        assert_eq!(spent(&books).await, 9);
    }
    for (own, by_host) in [(A, 5), (namesake, 4)] {
        let found = books.spent(ACCOUNT, own, Limit::NONE).await.unwrap();
        assert_eq!((found.recipients, found.by_host), (9, by_host));
    }
    // A host that is called otherwise from now on is the same one.
    books.bring_in(ACCOUNT, ("b", A.1), 6).await.unwrap();
    assert_eq!(spent(&books).await, 10);
    // Programs of before gave the name alone.
    scene.sql("UPDATE pillarbox.reservation SET ledger = NULL, host = 'c'");
    books.bring_in(ACCOUNT, ("c", 9), 10).await.unwrap();
    assert_eq!(spent(&books).await, 10);
}

#[tokio::test]
async fn a_lease_that_ends_unsettled_stays_spent_and_whoever_comes_late_changes_nothing() {
    let scene = Scene::new();
    let books = scene.books();
    let late = ask(5, 10);
    let granted = granted(books.reserve(ACCOUNT, "a", &late).await).unwrap();
    scene.pass(LEASE);
    for spent in [0, 3] {
        assert!(!books.settle(ACCOUNT, ticket(&late, granted), spent).await.unwrap());
    }
    assert_eq!(spent(&books).await, 5);
    scene.pass(WINDOW - Duration::from_secs(60));
    assert_eq!(spent(&books).await, 5, "a window from the end of the lease");
    scene.pass(Duration::from_secs(61));
    assert_eq!(spent(&books).await, 0);
    books.sweep().await.unwrap();
    assert_eq!(scene.sql("SELECT count(*) FROM pillarbox.reservation"), "1", "an hour longer");
    scene.pass(Duration::from_secs(3_700));
    books.sweep().await.unwrap();
    assert_eq!(scene.sql("SELECT count(*) FROM pillarbox.reservation"), "0");
}

#[tokio::test]
async fn a_reservation_is_settled_by_its_own_fence_once_and_never_grows() {
    let scene = Scene::new();
    let books = scene.books();
    let own = ask(5, 10);
    let granted = granted(books.reserve(ACCOUNT, "a", &own).await).unwrap();
    let fence = Some(granted.fence + 1);
    assert!(
        !books.settle(ACCOUNT, Ticket { token: own.token, fence, probe: false }, 0).await.unwrap()
    );
    let token = own.token + 1_000_000;
    let another = Ticket { token, fence: Some(granted.fence), probe: false };
    assert!(!books.settle(ACCOUNT, another, 0).await.unwrap());
    assert!(!books.settle("another", ticket(&own, granted), 0).await.unwrap());
    assert!(books.settle(ACCOUNT, ticket(&own, granted), 9).await.unwrap());
    assert!(!books.settle(ACCOUNT, ticket(&own, granted), 0).await.unwrap(), "settled once");
    assert_eq!(spent(&books).await, 5);
    let lost = ask(3, 10);
    books.reserve(ACCOUNT, "a", &lost).await.unwrap();
    let unanswered = Ticket { token: lost.token, fence: None, probe: false };
    assert!(books.settle(ACCOUNT, unanswered, 0).await.unwrap());
    assert_eq!(spent(&books).await, 5);
}

#[tokio::test]
async fn time_never_goes_back_with_the_clock_of_the_database() {
    let scene = Scene::new();
    let books = scene.books();
    books.reserve(ACCOUNT, "a", &ask(1, 10)).await.unwrap();
    // The clock was five hours ahead when that was done, and is set right.
    scene.sql(
        "UPDATE pillarbox.account SET latest = latest + interval '5 h';
         UPDATE pillarbox.reservation SET counts_until = counts_until + interval '5 h'",
    );
    books.reserve(ACCOUNT, "a", &ask(2, 10)).await.unwrap();
    let left = scene.sql(
        "SELECT min(floor(extract(epoch FROM counts_until - clock_timestamp()) / 3600)) FROM pillarbox.reservation",
    );
    assert_eq!(left, "29", "five hours and a lease more than a day");
}

/// The same questions to both kinds of books have the same answers.
#[tokio::test]
async fn the_books_of_the_model_and_those_in_the_database_answer_alike() {
    let scene = Scene::new();
    let books = scene.books();
    let clock = ManualClock::new(Timestamp(1_800_000_000_000));
    let twin = Twin::new(&clock);
    let mut random = fastrand::Rng::with_seed(7);
    let mut tickets = Vec::new();
    for _ in 0..150 {
        let host = [A, ("b", 2), ("c", 3)][random.usize(..3)];
        match random.u32(..11) {
            0..5 => {
                let asked = Ask { ledger: host.1, ..ask(random.u32(1..9), 30) };
                let both = (
                    books.reserve(ACCOUNT, host.0, &asked).await.unwrap(),
                    twin.reserve(ACCOUNT, host.0, &asked).await.unwrap(),
                );
                assert_eq!(both.0, both.1);
                tickets.extend(granted(Ok(both.0)).map(|granted| ticket(&asked, granted)));
            }
            5..8 if !tickets.is_empty() => {
                let ticket = tickets[random.usize(..tickets.len())];
                let spent = random.u32(..4);
                assert_eq!(
                    books.settle(ACCOUNT, ticket, spent).await.unwrap(),
                    twin.settle(ACCOUNT, ticket, spent).await.unwrap()
                );
            }
            8 => {
                let spent = random.u32(..12);
                books.bring_in(ACCOUNT, host, spent).await.unwrap();
                twin.bring_in(ACCOUNT, host, spent).await.unwrap();
            }
            9 => {
                let (teller, time) = (random.i64(1..4), Duration::from_secs(random.u64(..86_400)));
                let stored = books.leave_notice_to(ACCOUNT, teller, time).await.unwrap();
                let kept = twin.leave_notice_to(ACCOUNT, teller, time).await.unwrap();
                let between = stored.zip(kept).map(|(stored, kept)| stored.abs_diff(kept));
                assert_eq!(stored.is_some(), kept.is_some(), "{stored:?} {kept:?}");
                assert!(between.unwrap_or_default() < Duration::from_secs(60), "{between:?}");
            }
            _ => {
                let time = Duration::from_secs(random.u64(..4 * 3_600));
                scene.pass(time);
                clock.advance(time);
            }
        }
        let of = |spent: Spent| (spent.recipients, spent.by_host);
        assert_eq!(
            of(books.spent(ACCOUNT, host, Limit::of(30)).await.unwrap()),
            of(twin.spent(ACCOUNT, host, Limit::of(30)).await.unwrap())
        );
    }
}

#[tokio::test]
async fn a_word_is_written_upon_the_last_one_alone_and_whoever_has_not_heard_it_claims_nothing() {
    let scene = Scene::new();
    let (books, later) = (scene.books(), scene.books());
    let now = Timestamp(1_800_000_000_000);
    assert_eq!(books.hear(ACCOUNT).await.unwrap().number, 0);
    assert_eq!(books.tell(ACCOUNT, 0, ("paused", now)).await.unwrap(), Told::Taken(1));
    let Told::Late(word) = later.tell(ACCOUNT, 0, ("open", now)).await.unwrap() else {
        panic!("the older word counts");
    };
    assert_eq!((word.number, word.text.as_str(), word.said_at), (1, "paused", now));
    let deaf = later.reserve(ACCOUNT, "b", &ask(1, 10)).await.unwrap();
    assert!(matches!(deaf, Answer::Unheard(heard) if heard.number == 1));
    assert_eq!(spent(&books).await, 0);
    scene.pass(Duration::from_secs(600));
    let age = later.hear(ACCOUNT).await.unwrap().age.as_secs();
    assert!((600..660).contains(&age), "{age}");
    let heard = Ask { heard: 1, ..ask(1, 10) };
    assert!(granted(later.reserve(ACCOUNT, "b", &heard).await).is_some());
    assert_eq!(books.hear("another").await.unwrap().number, 0);
}

#[tokio::test]
async fn one_of_many_hosts_gets_the_probe_and_the_next_one_when_it_is_settled_or_its_lease_is_over()
{
    let scene = Scene::new();
    let mut hosts = JoinSet::new();
    for host in 0..8 {
        let books = scene.books();
        hosts.spawn(async move {
            let asked = Ask { probe: true, ..ask(1, 250) };
            (asked.clone(), books.reserve(ACCOUNT, &format!("host {host}"), &asked).await.unwrap())
        });
    }
    let (out, waiting): (Vec<_>, Vec<_>) = hosts
        .join_all()
        .await
        .into_iter()
        .partition(|(_, answer)| matches!(answer, Answer::Granted(_)));
    assert_eq!((out.len(), waiting.len()), (1, 7));
    let is_told = |answer: &Answer| {
        matches!(answer, Answer::ProbeIsOut(Probe { host, ends_in })
            if host.starts_with("host ") && *ends_in <= LEASE)
    };
    assert!(waiting.iter().all(|(_, answer)| is_told(answer)));
    let books = scene.books();
    assert!(granted(books.reserve(ACCOUNT, "a", &ask(1, 250)).await).is_some(), "it is no probe");
    let next = |token| Ask { token, probe: true, ..ask(1, 250) };
    let (asked, Answer::Granted(first)) = &out[0] else { panic!("one of them") };
    assert!(books.settle(ACCOUNT, ticket(asked, *first), 0).await.unwrap());
    assert_eq!(books.hear(ACCOUNT).await.unwrap().probe, None);
    assert!(granted(books.reserve(ACCOUNT, "a", &next(-1)).await).is_some());
    assert!(matches!(books.reserve(ACCOUNT, "b", &next(-2)).await, Ok(Answer::ProbeIsOut(_))));
    scene.pass(LEASE);
    assert!(granted(books.reserve(ACCOUNT, "b", &next(-3)).await).is_some());
    // The one that comes back ends nobody else's.
    assert!(
        !books.settle(ACCOUNT, Ticket { token: -1, fence: None, probe: true }, 0).await.unwrap()
    );
    assert!(books.hear(ACCOUNT).await.unwrap().probe.is_some());
}

#[tokio::test]
async fn hosts_that_start_at_once_make_the_tables_once_and_a_newer_schema_is_left_alone() {
    let scene = Scene::new();
    let mut hosts = JoinSet::new();
    for _ in 0..8 {
        let books = scene.books();
        hosts.spawn(async move { books.spent(ACCOUNT, A, Limit::NONE).await.map(drop) });
    }
    assert!(hosts.join_all().await.into_iter().all(|answer| answer.is_ok()));
    let number = schema::version();
    assert_eq!(scene.sql("SELECT number FROM pillarbox.version"), number.to_string());
    let open = scene.books();
    assert_eq!(spent(&open).await, 0);
    scene.sql(&format!("UPDATE pillarbox.version SET number = 9, oldest = {}", number + 1));
    for books in [open, scene.books()] {
        let trouble = books.reserve(ACCOUNT, "a", &ask(1, 10)).await.unwrap_err().to_string();
        assert!(trouble.contains("version 9") && trouble.contains("upgrade"), "{trouble}");
    }
    assert_eq!(scene.sql("SELECT count(*) FROM pillarbox.reservation"), "0");
}

#[tokio::test]
async fn while_hosts_are_upgraded_one_after_another_the_older_program_goes_on_where_the_newer_says_so()
 {
    let (scene, number) = (Scene::new(), schema::version());
    let open = scene.books();
    assert_eq!(spent(&open).await, 0);
    scene.sql(&format!("UPDATE pillarbox.version SET number = {}, oldest = {number}", number + 1));
    for books in [open, scene.books()] {
        assert!(granted(books.reserve(ACCOUNT, "a", &ask(1, 10)).await).is_some());
    }
    // Nothing is taken back.
    assert_eq!(scene.sql("SELECT number FROM pillarbox.version"), (number + 1).to_string());
    assert_eq!(spent(&scene.books()).await, 2);
}

#[tokio::test]
async fn tables_of_version_1_become_those_of_today_with_what_is_in_them() {
    let scene = Scene::new();
    let books = scene.books();
    assert!(granted(books.reserve(ACCOUNT, "a", &ask(3, 10)).await).is_some());
    scene.sql(
        "DROP TABLE pillarbox.host, pillarbox.login, pillarbox.login_wish, pillarbox.token;
         DROP TABLE pillarbox.body, pillarbox.message, pillarbox.queue, pillarbox.standing, pillarbox.history;
         DROP FUNCTION pillarbox.make_days(), pillarbox.drop_days(bigint);
         ALTER TABLE pillarbox.version DROP COLUMN oldest;
         ALTER TABLE pillarbox.account DROP COLUMN word_number, DROP COLUMN word, DROP COLUMN word_said_at,
             DROP COLUMN word_at, DROP COLUMN probe_token, DROP COLUMN probe_host, DROP COLUMN probe_until,
             DROP COLUMN notice_by, DROP COLUMN notice_until;
         ALTER TABLE pillarbox.reservation DROP COLUMN ledger, DROP COLUMN process;
         UPDATE pillarbox.version SET number = 1",
    );
    assert_eq!(spent(&scene.books()).await, 3);
    let number = schema::version().to_string();
    assert_eq!(scene.sql("SELECT number FROM pillarbox.version"), number);
    assert_eq!(scene.sql("SELECT count(oldest) FROM pillarbox.version"), "1");
    // Who may not change them is told so.
    let role = format!("reader_{}", scene.database);
    scene.sql(&format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'rows alone'; GRANT USAGE ON SCHEMA pillarbox TO {role};
         GRANT SELECT ON pillarbox.version TO {role}; UPDATE pillarbox.version SET number = 0"
    ));
    let password: Arc<dyn Password> = Arc::new(Known("rows alone"));
    let options = Database { user: role, password: Some(password), ..scene.options() };
    let trouble = Postgres::new(options).spent(ACCOUNT, A, Limit::NONE).await.unwrap_err();
    assert!(trouble.to_string().contains("start one host as their owner"), "{trouble}");
}

#[tokio::test]
async fn a_role_that_may_only_read_and_write_the_rows_is_enough_once_the_tables_are_there() {
    let scene = Scene::new();
    assert_eq!(spent(&scene.books()).await, 0);
    let role = format!("relay_{}", scene.database);
    scene.sql(&format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'rows alone';
         GRANT USAGE ON SCHEMA pillarbox TO {role};
         GRANT SELECT ON pillarbox.version TO {role};
         GRANT SELECT, INSERT, UPDATE ON pillarbox.account TO {role};
         GRANT SELECT, INSERT, UPDATE, DELETE ON pillarbox.reservation, pillarbox.host,
             pillarbox.login, pillarbox.login_wish TO {role}"
    ));
    let password: Arc<dyn Password> = Arc::new(Known("rows alone"));
    let options = Database { user: role.clone(), password: Some(password), ..scene.options() };
    let books = Postgres::new(options.clone());
    let own = ask(5, 10);
    books.bring_in(ACCOUNT, A, 2).await.unwrap();
    let granted = granted(books.reserve(ACCOUNT, "a", &own).await).unwrap();
    assert!(books.settle(ACCOUNT, ticket(&own, granted), 0).await.unwrap());
    let terms = Terms { logins: Some(9), connections: 1 };
    for (token, host) in [(1, "a"), (2, "b")] {
        let asked = LoginAsk { token, terms, over: Vec::new() };
        books.log_in(ACCOUNT, host, &asked).await.unwrap();
    }
    let over = vec![Over { token: 1, was_made: false }];
    books.renew(ACCOUNT, "a", &Renewal { over, terms, ..Renewal::default() }).await.unwrap();
    books.sweep().await.unwrap();
    assert_eq!(spent(&books).await, 2);
    books.beat(&beat("a", None)).await.unwrap();
    assert!(books.drain("a", true).await.unwrap());
    books.forget().await.unwrap();
    assert_eq!(books.list().await.unwrap().hosts.len(), 1);
    let wrong: Arc<dyn Password> = Arc::new(Known("another"));
    let refused = Postgres::new(Database { password: Some(wrong), ..options });
    let trouble = refused.spent(ACCOUNT, A, Limit::NONE).await.unwrap_err().to_string();
    assert!(trouble.contains("the database says") && !trouble.contains("another"), "{trouble}");
}

#[tokio::test]
async fn nothing_of_a_session_is_used_that_a_pooler_of_transactions_would_not_keep() {
    let server = Arc::new(Server::start());
    let database = server.database();
    let scene = Scene { server, database };
    let books = scene.books();
    let own = ask(5, 10);
    books.bring_in(ACCOUNT, A, 2).await.unwrap();
    let granted = granted(books.reserve(ACCOUNT, "a", &own).await).unwrap();
    books.settle(ACCOUNT, ticket(&own, granted), 1).await.unwrap();
    books.sweep().await.unwrap();
    assert_eq!(spent(&books).await, 3);
    let log = scene.server.log();
    assert!(log.contains("execute <unnamed>: "), "{log}");
    for of_a_session in ["PREPARE", "execute s", "LISTEN", "pg_advisory_lock", "DECLARE"] {
        assert!(!log.contains(of_a_session), "{of_a_session}");
    }
    let sets = log.lines().filter(|line| line.contains("SET ") && line.contains("timeout"));
    assert!(sets.into_iter().all(|line| line.contains("SET LOCAL")));
}
