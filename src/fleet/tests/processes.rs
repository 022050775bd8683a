//! The leavings of a dead process: free for the next start on its machine, and for nobody while it may live.

use std::process::Command;

use super::scene::{ACCOUNT, Scene, ask, granted};
use crate::fleet::{
    books::{Ask, Books as _},
    logins::{LoginAnswer, LoginAsk, LoginBooks as _, Terms},
    processes::Process,
};

/// The name of a process of this machine and boot that has this number.
fn name_of(pid: u32) -> String {
    let own = Process::own().unwrap().to_string();
    let mut words: Vec<_> = own.split(' ').map(str::to_owned).collect();
    words[2] = pid.to_string();
    words.join(" ")
}

fn dead() -> String {
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    name_of(child.id())
}

const TERMS: Terms = Terms { logins: Some(20), connections: 1 };

async fn log_in(scene: &Scene, token: i64) -> LoginAnswer {
    let ask = LoginAsk { token, terms: TERMS, over: Vec::new() };
    scene.books().log_in(ACCOUNT, "a", &ask).await.unwrap()
}

#[tokio::test]
async fn the_connections_of_a_dead_process_are_free_for_the_next_one_and_its_logins_count() {
    let scene = Scene::new();
    let holds = |name: &str| {
        scene.sql(&format!("UPDATE pillarbox.login SET process = '{name}'"));
    };
    assert_eq!(log_in(&scene, 1).await, LoginAnswer::Granted { logins: 1 });
    let elsewhere = format!("another-machine {}", dead());
    for lives in [name_of(std::os::unix::process::parent_id()), elsewhere, String::new()] {
        holds(&lives);
        assert_eq!(log_in(&scene, 2).await, LoginAnswer::AllInUse, "{lives}");
    }
    holds(&dead());
    assert_eq!(log_in(&scene, 2).await, LoginAnswer::Granted { logins: 2 });
}

#[tokio::test]
async fn nobody_waits_for_the_attempt_of_a_dead_process_and_what_it_had_reserved_counts() {
    let scene = Scene::new();
    let probe = Ask { probe: true, ..ask(2, 10) };
    granted(scene.books().reserve(ACCOUNT, "a", &probe).await).unwrap();
    assert!(scene.books().hear(ACCOUNT).await.unwrap().probe.is_some(), "it lives");
    scene.sql(&format!("UPDATE pillarbox.reservation SET process = '{}'", dead()));
    assert_eq!(scene.books().hear(ACCOUNT).await.unwrap().probe, None);
    let next = Ask { probe: true, ..ask(1, 10) };
    granted(scene.books().reserve(ACCOUNT, "b", &next).await).unwrap();
    assert!(scene.books().hear(ACCOUNT).await.unwrap().probe.is_some(), "of one that lives");
    assert_eq!(super::scene::spent(&scene.books()).await, 3);
}

#[tokio::test]
async fn a_role_that_may_not_see_queues_frees_the_rest() {
    let scene = Scene::new();
    log_in(&scene, 1).await;
    scene.sql(&format!("UPDATE pillarbox.login SET process = '{}'", dead()));
    let poor = crate::fleet::postgres::Postgres::new(scene.poor(false));
    let ask = LoginAsk { token: 2, terms: TERMS, over: Vec::new() };
    let answer = poor.log_in(ACCOUNT, "a", &ask).await.unwrap();
    assert_eq!(answer, LoginAnswer::Granted { logins: 2 });
}

#[tokio::test]
async fn the_lease_of_a_dead_process_is_over_and_that_of_a_living_one_lasts() {
    let scene = Scene::new();
    scene.books().sweep().await.unwrap();
    for (host, process) in
        [("dead", dead()), ("alive", name_of(std::os::unix::process::parent_id()))]
    {
        scene.sql(&format!(
            "INSERT INTO pillarbox.queue (host, lease_until, process)
             VALUES ('{host}', clock_timestamp() + interval '30 s', '{process}')"
        ));
    }
    scene.books().sweep().await.unwrap();
    let over = scene.sql("SELECT host FROM pillarbox.queue WHERE lease_until < clock_timestamp()");
    assert_eq!(over, "dead");
}
