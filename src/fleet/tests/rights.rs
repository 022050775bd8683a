//! A role with the rights that docs/fleet.md lists, and no more: everything that a host does with the books.

use super::scene::{A, ACCOUNT, Scene, ask, beat, granted, ticket};
use crate::{
    budget::Limit,
    clock::Timestamp,
    fleet::{
        books::{Answer, Ask, Books as _, Told},
        examine,
        hosts::Register as _,
        logins::{LoginAsk, LoginBooks as _, Over, Renewal, Terms},
        options::{Database, Options},
        postgres::Postgres,
    },
};

async fn lacking(database: &Database, has_queue: bool) -> Vec<(String, String)> {
    let options = Options { host: "a".into(), database: database.clone() };
    examine(&options, has_queue).await.unwrap().lacking
}

#[tokio::test]
async fn the_rights_that_the_handbook_lists_are_enough_for_everything_that_is_done_with_the_books()
{
    let scene = Scene::new();
    scene.books().sweep().await.unwrap();
    let poor = scene.poor(false);
    assert_eq!(lacking(&poor, false).await, []);
    let books = Postgres::new(poor);
    books.bring_in(ACCOUNT, A, 3).await.unwrap();
    let (first, second) = (ask(2, 10), ask(2, 10));
    let of_first = granted(books.reserve(ACCOUNT, "a", &first).await).unwrap();
    let of_second = granted(books.reserve(ACCOUNT, "a", &second).await).unwrap();
    assert!(books.settle(ACCOUNT, ticket(&first, of_first), 2).await.unwrap());
    assert!(books.settle(ACCOUNT, ticket(&second, of_second), 0).await.unwrap(), "given back");
    assert_eq!(books.spent(ACCOUNT, A, Limit::of(5)).await.unwrap().recipients, 5);
    assert_eq!(books.reserve(ACCOUNT, "a", &ask(9, 5)).await.unwrap(), Answer::Full);
    let told = books.tell(ACCOUNT, 0, ("paused", Timestamp(7))).await.unwrap();
    let Told::Taken(number) = told else { panic!("{told:?}") };
    assert_eq!(books.hear(ACCOUNT).await.unwrap().text, "paused");
    let probe = Ask { heard: number, probe: true, ..ask(1, 10) };
    let of_probe = granted(books.reserve(ACCOUNT, "a", &probe).await).unwrap();
    assert!(books.settle(ACCOUNT, ticket(&probe, of_probe), 1).await.unwrap());
    let terms = Terms { logins: Some(2), connections: 1 };
    for (token, host) in [(1, "a"), (2, "b")] {
        let asked = LoginAsk { token, terms, over: Vec::new() };
        books.log_in(ACCOUNT, host, &asked).await.unwrap();
    }
    let over = vec![Over { token: 1, was_made: false }];
    books.renew(ACCOUNT, "a", &Renewal { over, terms, ..Renewal::default() }).await.unwrap();
    let minute = std::time::Duration::from_secs(60);
    assert_eq!(books.leave_notice_to(ACCOUNT, 7, minute).await.unwrap(), None);
    books.sweep().await.unwrap();

    let instance = books.beat(&beat("a", None)).await.unwrap().instance;
    books.beat(&beat("a", Some(instance))).await.unwrap();
    assert!(books.drain("a", true).await.unwrap() && books.drain("a", false).await.unwrap());
    assert_eq!(books.list().await.unwrap().hosts.len(), 1);
    books.leave("a", instance).await.unwrap();
    books.forget().await.unwrap();
}

#[tokio::test]
async fn an_examination_names_each_right_that_a_role_lacks_and_what_mends_it_is_what_the_handbook_lists()
 {
    let scene = Scene::new();
    scene.books().sweep().await.unwrap();
    assert_eq!(lacking(&scene.poor(true), true).await, []);
    let of_books = scene.poor(false);
    assert_eq!(lacking(&of_books, false).await, []);
    let mut expected = Vec::new();
    for function in ["drop_days(bigint)", "make_days()"] {
        expected.push((format!("FUNCTION pillarbox.{function}"), "EXECUTE".to_owned()));
    }
    for table in ["body", "history", "message", "queue", "standing"] {
        for right in ["DELETE", "INSERT", "SELECT", "UPDATE"] {
            expected.push((format!("pillarbox.{table}"), right.to_owned()));
        }
    }
    assert_eq!(lacking(&of_books, true).await, expected);
    scene.sql(&format!("REVOKE USAGE ON SCHEMA pillarbox FROM {}", of_books.user));
    let schema = ("SCHEMA pillarbox".to_owned(), "USAGE".to_owned());
    assert_eq!(lacking(&of_books, false).await, [schema]);
}
