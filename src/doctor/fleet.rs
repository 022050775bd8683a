//! The database that several hosts share, and the other hosts.
//!
//! Rule: what keeps mail here fails, what may do so one day is a warning. The judgement is pure; without `[fleet]` there is
//! nothing to be looked at.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    clock::{Clock, Timestamp},
    findings::Outcome,
    fleet::{Examined, FORGOTTEN_AFTER, Options, REMEDY, TRANSACTION_MAX, examine},
    quantities::{count, span},
};

/// How far the clocks of this host and of the database may be apart. The count goes by the database's, so a little more is
/// no harm to it; more than that is a clock that is wrong.
const CLOCKS_APART_MAX: Duration = Duration::from_secs(5);
/// Hosts and rights that are named.
const NAMED_MAX: usize = 5;

/// Looks at it, for a host whose queue is there as well or not.
pub(super) async fn look(options: Option<&Options>, has_queue: bool, clock: &dyn Clock) -> Outcome {
    let Some(options) = options else {
        return Outcome::skipped("this host counts for itself: there is no [fleet]");
    };
    let before = clock.wall();
    match examine(options, has_queue).await {
        Ok(found) => judge(&found, (before, clock.wall()), &options.database.to_string()),
        Err(trouble) => Outcome::fail(format!("{}: {trouble}", options.database), REMEDY),
    }
}

/// `asked` are the times between which the database was asked.
fn judge(found: &Examined, asked: (Timestamp, Timestamp), place: &str) -> Outcome {
    let graves: Vec<Outcome> =
        [standby(found), schema(found), rights(found)].into_iter().flatten().collect();
    if let Some(grave) = graves.into_iter().next() {
        return grave;
    }
    let warnings = [
        ("safety", safety(found)),
        ("clock", clocks(found, asked)),
        ("transactions", transactions(found)),
        ("names", namesakes(found)),
        ("hosts", gone(found)),
        ("tables", old_tables(found)),
    ];
    let warnings = warnings.into_iter().filter_map(|(name, outcome)| Some((name, outcome?)));
    let warnings: Vec<_> = warnings.collect();
    if !warnings.is_empty() {
        return Outcome::of_several(warnings);
    }
    let took = found.latency.as_micros();
    Outcome::pass(format!(
        "{place}: PostgreSQL {}, answered within {}.{} ms, tables of version {}",
        found.server,
        took / 1_000,
        took / 100 % 10,
        found.schema.0
    ))
}

fn standby(found: &Examined) -> Option<Outcome> {
    found.is_standby.then(|| {
        let seen = "the database is a standby, which takes no writes";
        Outcome::fail(
            seen,
            "Write the address of the primary, or one that follows it, in fleet.database",
        )
    })
}

fn schema(found: &Examined) -> Option<Outcome> {
    let words = found.schema.1.as_ref()?;
    let (seen, remedy) = words.rsplit_once("; ").unwrap_or((words, "upgrade this host as well"));
    Some(Outcome::fail(seen, remedy))
}

fn rights(found: &Examined) -> Option<Outcome> {
    let lacking = &found.lacking;
    let first: Vec<String> = lacking
        .iter()
        .take(NAMED_MAX)
        .map(|(table, right)| format!("{right} on {table}"))
        .collect();
    let more = match lacking.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!lacking.is_empty()).then(|| {
        Outcome::fail(
            format!("this role lacks rights: {}{more}", first.join(", ")),
            format!(
                "Say this in the database, as the owner of the tables (docs/fleet.md, Rights): {}",
                grants(found)
            ),
        )
    })
}

/// The statements that give what is lacking, one for each set of rights.
fn grants(found: &Examined) -> String {
    let mut of_each: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (what, right) in &found.lacking {
        of_each.entry(what).or_default().push(right);
    }
    let mut together: BTreeMap<Vec<&str>, Vec<&str>> = BTreeMap::new();
    for (what, rights) in of_each {
        together.entry(rights).or_default().push(what);
    }
    let grant = |(rights, what): (Vec<&str>, Vec<&str>)| {
        // Of several functions each is named by itself, without the word for them.
        let what = what.join(", ").replace(", FUNCTION ", ", ");
        format!("GRANT {} ON {what} TO {}", rights.join(", "), found.role)
    };
    together.into_iter().map(grant).collect::<Vec<_>>().join("; ")
}

fn old_tables(found: &Examined) -> Option<Outcome> {
    let (there, own) = (found.schema.0, found.own_schema);
    (there < own).then(|| {
        let seen = match there {
            0 => "the tables are not there yet".to_owned(),
            there => format!("the tables are of version {there}, and this program makes version {own} of them"),
        };
        Outcome::warn(seen, "Start the relay once as their owner; with less it needs the rights that docs/fleet.md lists")
    })
}

fn safety(found: &Examined) -> Option<Outcome> {
    let off: Vec<&str> = [("fsync", found.syncs), ("full_page_writes", found.writes_full_pages)]
        .into_iter()
        .filter_map(|(name, is_on)| (!is_on).then_some(name))
        .collect();
    (!off.is_empty()).then(|| {
        Outcome::warn(
            format!(
                "{} off: a power cut at the database may forget what was spent",
                off.join(" and ")
            ),
            "Set it to on in postgresql.conf, and reload the database",
        )
    })
}

fn clocks(found: &Examined, (before, after): (Timestamp, Timestamp)) -> Option<Outcome> {
    let database = Timestamp(found.clock_ms);
    let apart = before.since(database).max(database.since(after));
    (apart > CLOCKS_APART_MAX).then(|| {
        Outcome::warn(
            format!("the clocks of this host and of the database are {} apart", span(apart)),
            "Have both synchronised (NTP); the fleet counts by the database's",
        )
    })
}

fn transactions(found: &Examined) -> Option<Outcome> {
    let one = |(pid, program, open): &(i32, String, Duration)| {
        format!("process {pid} ({program}) for {}", span(*open))
    };
    let all: Vec<String> = found.transactions.iter().map(one).collect();
    (!all.is_empty()).then(|| {
        Outcome::warn(
            format!(
                "transactions are open for longer than {}, which keeps rows of the fleet that are over from being removed: {}",
                span(TRANSACTION_MAX),
                all.join(", ")
            ),
            "End it where it runs, or in the database: SELECT pg_terminate_backend(PROCESS)",
        )
    })
}

fn namesakes(found: &Examined) -> Option<Outcome> {
    (!found.namesakes.is_empty()).then(|| {
        Outcome::warn(
            format!("two living hosts are called {}", found.namesakes.join(", ")),
            "Give each host a name of its own: host under [fleet]",
        )
    })
}

fn gone(found: &Examined) -> Option<Outcome> {
    let gone = &found.gone;
    let first: Vec<String> = gone
        .iter()
        .take(NAMED_MAX)
        .map(|(name, seen)| format!("{name} since {}", span(*seen)))
        .collect();
    (!gone.is_empty()).then(|| {
        Outcome::warn(
            format!("{} without a sign of life: {}", count(gone.len() as u64, "host"), first.join(", ")),
            format!(
                "Start it, so that what waits on its disk leaves (what waits in the database another host takes over); one that does not come back is forgotten after {}",
                span(FORGOTTEN_AFTER)
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::Verdict;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn well() -> Examined {
        Examined {
            server: "15.14".into(),
            latency: Duration::from_micros(840),
            schema: (2, None),
            own_schema: 2,
            role: "relay".into(),
            syncs: true,
            writes_full_pages: true,
            clock_ms: NOW.0,
            ..Examined::default()
        }
    }

    fn judged(found: &Examined) -> Outcome {
        judge(found, (NOW, NOW.after(Duration::from_millis(3))), "postgres://a@b:5432/c")
    }

    #[test]
    fn a_database_that_is_well_is_told_with_its_version_and_how_quick_it_is() {
        let outcome = judged(&well());
        assert_eq!(outcome.verdict, Verdict::Pass);
        assert_eq!(
            outcome.seen,
            "postgres://a@b:5432/c: PostgreSQL 15.14, answered within 0.8 ms, tables of version 2"
        );
    }

    #[test]
    fn what_keeps_mail_here_fails_and_what_may_do_so_one_day_is_a_warning_each_with_its_remedy() {
        let minute = Duration::from_secs(60);
        let cases = [
            (Examined { is_standby: true, ..well() }, Verdict::Fail, "a standby", "fleet.database"),
            (
                Examined {
                    schema: (9, Some("tables of version 9; upgrade this one".into())),
                    ..well()
                },
                Verdict::Fail,
                "tables of version 9",
                "upgrade this one",
            ),
            (
                Examined { lacking: vec![("pillarbox.host".into(), "INSERT".into())], ..well() },
                Verdict::Fail,
                "INSERT on pillarbox.host",
                "GRANT INSERT ON pillarbox.host TO relay",
            ),
            (Examined { syncs: false, ..well() }, Verdict::Warn, "fsync off", "postgresql.conf"),
            (Examined { clock_ms: NOW.0 - 20_000, ..well() }, Verdict::Warn, "20 s apart", "NTP"),
            (
                Examined { transactions: vec![(77, "pg_dump".into(), 20 * minute)], ..well() },
                Verdict::Warn,
                "process 77 (pg_dump) for 20 min",
                "pg_terminate_backend",
            ),
            (
                Examined { namesakes: vec!["a".into()], ..well() },
                Verdict::Warn,
                "called a",
                "[fleet]",
            ),
            (
                Examined { gone: vec![("b".into(), 9 * minute)], ..well() },
                Verdict::Warn,
                "b since 9 min",
                "30 d",
            ),
            (Examined { schema: (0, None), ..well() }, Verdict::Warn, "not there yet", "owner"),
        ];
        for (found, verdict, seen, remedy) in cases {
            let outcome = judged(&found);
            assert_eq!(outcome.verdict, verdict, "{outcome:?}");
            assert!(outcome.seen.contains(seen) && outcome.remedy.contains(remedy), "{outcome:?}");
        }
        let lacking = [
            ("FUNCTION pillarbox.drop_days(bigint)", "EXECUTE"),
            ("FUNCTION pillarbox.make_days()", "EXECUTE"),
            ("SCHEMA pillarbox", "USAGE"),
            ("pillarbox.body", "DELETE"),
            ("pillarbox.body", "SELECT"),
            ("pillarbox.queue", "DELETE"),
            ("pillarbox.queue", "SELECT"),
        ];
        let lacking = lacking.map(|(what, right)| (what.to_owned(), right.to_owned())).into();
        let remedy = judged(&Examined { lacking, ..well() }).remedy;
        assert!(
            remedy.ends_with(
                "GRANT DELETE, SELECT ON pillarbox.body, pillarbox.queue TO relay; GRANT EXECUTE ON FUNCTION \
                 pillarbox.drop_days(bigint), pillarbox.make_days() TO relay; GRANT USAGE ON SCHEMA pillarbox TO relay"
            ),
            "{remedy}"
        );
        let both = judged(&Examined { syncs: false, gone: vec![("b".into(), minute)], ..well() });
        assert!(both.seen.contains("fsync") && both.seen.contains("b since"), "{both:?}");
        let clock = Examined { clock_ms: NOW.0 + 4_000, ..well() };
        assert_eq!(judged(&clock).verdict, Verdict::Pass, "within the limit");
    }
}
