//! The access token of all hosts, in a real PostgreSQL as in memory.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;

use super::scene::{ACCOUNT, Scene};
use crate::{
    clock::{ManualClock, Timestamp},
    fleet::{
        Vault,
        books::Books as _,
        postgres::Postgres,
        reach::Reach,
        twin::Twin,
        vault::{SEALED_MAX, TokenBooks},
    },
};

const LEASE: Duration = Duration::from_secs(45);
const HOUR: Duration = Duration::from_secs(3_600);

fn pass(scene: &Scene, time: Duration) {
    let seconds = time.as_secs();
    scene.sql(&format!(
        "UPDATE pillarbox.token SET put_at = put_at - interval '{seconds} s', fetch_until = fetch_until - interval '{seconds} s'"
    ));
}

#[tokio::test]
async fn the_tokens_in_memory_are_those_in_the_database_whatever_becomes_of_them() {
    let scene = Scene::new();
    let clock = ManualClock::new(Timestamp(1_800_000_000_000));
    let (books, twin) = (scene.books(), Twin::new(&clock));
    let both: [&dyn TokenBooks; 2] = [&books, &twin];
    let mut random = fastrand::Rng::with_seed(7);
    let (mut leases, mut puts) = (0, 0);
    for step in 0..200_u8 {
        let key = &[random.u8(..2); 16];
        let known = twin.token(ACCOUNT, key).await.unwrap().number;
        let (seen, fetcher) = (known - i64::from(random.u8(..4) == 0), random.i64(1..4));
        let (deed, sealed) = (random.u32(..10), [step; 20]);
        let mut answers = Vec::new();
        for books in both {
            answers.push(match deed {
                0..4 => {
                    books.leave_fetching_to((ACCOUNT, key), seen, (fetcher, LEASE)).await.unwrap()
                }
                4..7 if seen >= 0 => {
                    books.put_token((ACCOUNT, key), seen, (&sealed, HOUR)).await.unwrap()
                }
                7 => books.refuse_token(ACCOUNT, key, seen).await.is_err(),
                _ => false,
            });
        }
        assert_eq!(answers[0], answers[1], "step {step}");
        leases += u32::from(deed < 4 && answers[0]);
        puts += u32::from((4..7).contains(&deed) && answers[0]);
        if deed > 7 {
            let time = Duration::from_secs(600 * random.u64(..2));
            pass(&scene, time);
            clock.advance(time);
        }
        let (stored, kept) =
            (books.token(ACCOUNT, key).await.unwrap(), twin.token(ACCOUNT, key).await.unwrap());
        assert_eq!((stored.number, &stored.sealed), (kept.number, &kept.sealed), "step {step}");
        assert_eq!(stored.lasts, kept.lasts, "step {step}");
        assert!(stored.age.abs_diff(kept.age) < Duration::from_secs(60), "{stored:?} {kept:?}");
    }
    assert!(leases > 10 && puts > 10, "{leases} {puts}");
}

#[tokio::test]
async fn one_of_many_hosts_that_ask_at_once_fetches() {
    let scene = Scene::new();
    let mut hosts = JoinSet::new();
    for host in 1..=8 {
        let books = scene.books();
        hosts.spawn(async move {
            books.leave_fetching_to((ACCOUNT, &[1; 16]), 0, (host, LEASE)).await.unwrap()
        });
    }
    let fetching = hosts.join_all().await.into_iter().filter(|fetches| *fetches).count();
    assert_eq!(fetching, 1);
    let books = scene.books();
    pass(&scene, LEASE);
    assert!(books.leave_fetching_to((ACCOUNT, &[1; 16]), 0, (9, LEASE)).await.unwrap());
}

#[tokio::test]
async fn what_is_over_goes_a_day_later_and_what_is_far_too_long_is_not_read() {
    let scene = Scene::new();
    let books = scene.books();
    let long = vec![7; SEALED_MAX + 1];
    assert!(books.put_token((ACCOUNT, &[1; 16]), 0, (&long, HOUR)).await.unwrap());
    let kept = books.token(ACCOUNT, &[1; 16]).await.unwrap();
    assert_eq!((kept.number, kept.sealed), (1, None));
    for (passes, left) in [(24 * HOUR, "1"), (2 * HOUR, "0")] {
        pass(&scene, passes);
        books.forget_tokens().await.unwrap();
        assert_eq!(scene.sql("SELECT count(*) FROM pillarbox.token"), left);
    }
}

#[tokio::test]
async fn a_role_without_a_right_to_tokens_has_none_in_common_and_counts_all_the_same() {
    let scene = Scene::new();
    scene.books().forget_tokens().await.unwrap();
    let poor = scene.poor(false);
    scene.sql(&format!("REVOKE ALL ON pillarbox.token FROM {}", poor.user));
    let books = Arc::new(Postgres::new(poor));
    let reach = Arc::new(Reach::default());
    let vault = Vault::new(Arc::clone(&books) as _, Arc::clone(&reach), ACCOUNT.into());
    assert_eq!(vault.look(&[1; 16]).await, None);
    assert_eq!(reach.away(), None, "mail goes on");
    books.sweep().await.unwrap();
}
