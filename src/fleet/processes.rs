//! The processes of this machine that have held something in the database, and the end of what a dead one has left there.
//!
//! Rule: dead is only what the kernel says not to exist: whoever is stopped, of another machine or of another container, or not
//! to be told apart, lives until his leases end. Nothing is taken from the living. Must not know who asks.

use std::{fmt, fs, sync::OnceLock};

use rustix::{
    io::Errno,
    process::{Pid, test_kill_process},
};
use tokio_postgres::{Client, Error, types::Type};
use tracing::info;

use super::books::Trouble;

/// Dead processes that are ended at a time.
const DEAD_MAX: i64 = 1_000;

/// Whoever holds something: connections, attempts for which all wait, and the queue where this role may see it.
const HOLDERS: &str = "
    SELECT process FROM pillarbox.login l JOIN pillarbox.account a ON a.name = l.account
    WHERE starts_with(process, $1) AND open_until > latest
    UNION SELECT process FROM pillarbox.reservation r JOIN pillarbox.account a ON a.probe_token = r.token
    WHERE starts_with(process, $1)";

const HOLDERS_OF_QUEUES: &str = "
    UNION SELECT process FROM pillarbox.queue WHERE starts_with(process, $1) AND lease_until > '-infinity'";

const MAY_SEE_QUEUES: &str = "
    SELECT has_table_privilege('pillarbox.queue', 'SELECT') AND has_table_privilege('pillarbox.queue', 'UPDATE')";

/// Their connections ended with them. Whether a login was made nobody knows any more: it counts. Nobody waits for their attempts;
/// what they had reserved stays uncertain. Accounts are locked in one order, and nobody else has two.
const END: &str = "
    WITH locked AS (
        SELECT name, latest FROM pillarbox.account
        WHERE name IN (SELECT account FROM pillarbox.login WHERE process = ANY ($1))
            OR probe_token IN (SELECT token FROM pillarbox.reservation WHERE process = ANY ($1))
        ORDER BY name FOR NO KEY UPDATE
    ), connections AS (
        UPDATE pillarbox.login l SET open_until = latest FROM locked
        WHERE name = l.account AND l.process = ANY ($1) AND l.open_until > latest
    ) QUEUES
    UPDATE pillarbox.account SET probe_token = NULL, probe_host = NULL, probe_until = NULL
    WHERE name IN (SELECT name FROM locked)
        AND probe_token IN (SELECT token FROM pillarbox.reservation WHERE process = ANY ($1))";

const END_QUEUES: &str = "
    , queues AS (
        UPDATE pillarbox.queue SET lease_until = '-infinity' WHERE process = ANY ($1)
    )";

/// A process, by what no other process of any machine has: its boot, its namespace, its number in that, and a number by chance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    /// Of the boot and the namespace of process numbers, as far as which processes can be told apart.
    place: String,
    pid: i32,
    start: u64,
}

impl fmt::Display for Process {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, pid, start } = self;
        write!(formatter, "{place} {pid} {start:016x}")
    }
}

impl Process {
    /// This one; `None` where the system does not say enough of it.
    pub(super) fn own() -> Option<&'static Self> {
        static OWN: OnceLock<Option<Process>> = OnceLock::new();
        OWN.get_or_init(|| {
            let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
            let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
            let place = format!("{} {}", boot.trim(), namespace.to_str()?);
            let pid = i32::try_from(std::process::id()).ok()?;
            Some(Self { place, pid, start: fastrand::u64(..) })
        })
        .as_ref()
    }

    /// As the tables name it.
    pub(super) fn own_name() -> Option<String> {
        Self::own().map(Self::to_string)
    }

    /// Whether the process of this name was in this one's namespace, and is no more.
    fn knows_as_dead(&self, name: &str) -> bool {
        let numbers = name.strip_prefix(&self.place).and_then(|rest| rest.strip_prefix(' '));
        let Some((pid, start)) = numbers.and_then(|rest| rest.split_once(' ')) else {
            return false;
        };
        let pid = pid.parse::<u32>().ok().and_then(|pid| i32::try_from(pid).ok());
        let (Some(pid), Ok(start)) = (pid, u64::from_str_radix(start, 16)) else {
            return false;
        };
        if pid == self.pid {
            return start != self.start;
        }
        Pid::from_raw(pid).is_some_and(|pid| test_kill_process(pid) == Err(Errno::SRCH))
    }
}

/// Ends what dead processes of this machine hold, so that whoever starts after them need not wait for their leases.
pub(super) async fn end_the_dead(
    client: &Client,
    said: fn(Error) -> Trouble,
) -> Result<(), Trouble> {
    let Some(own) = Process::own() else { return Ok(()) };
    let row = client.query_typed_one(MAY_SEE_QUEUES, &[]).await.map_err(said)?;
    let has_queues = row.try_get::<_, bool>(0).map_err(said)?;
    let queues = if has_queues { HOLDERS_OF_QUEUES } else { "" };
    let ask = format!("{HOLDERS}{queues} LIMIT {DEAD_MAX}");
    let holders = client.query_typed(&ask, &[(&own.place, Type::TEXT)]).await.map_err(said)?;
    let names = holders.iter().map(|row| row.try_get::<_, String>(0));
    let mut dead = names.collect::<Result<Vec<_>, _>>().map_err(said)?;
    dead.retain(|name| own.knows_as_dead(name));
    if dead.is_empty() {
        return Ok(());
    }
    let end = END.replace("QUEUES", if has_queues { END_QUEUES } else { "" });
    client.execute_typed(&end, &[(&dead, Type::TEXT_ARRAY)]).await.map_err(said)?;
    info!(processes = dead.len(), "what dead processes of this machine held in the fleet is free");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn dead_is_who_was_here_and_is_no_more() {
        let own = Process::own().unwrap();
        let name = |place: &str, pid: i32| format!("{place} {pid} 00000000000000ab");
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert!(!own.knows_as_dead(&name(&own.place, pid)), "it lives");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(own.knows_as_dead(&name(&own.place, pid)));
        assert!(!own.knows_as_dead(&name("another-boot pid:[4026531836]", pid)));
        assert!(!own.knows_as_dead(&name(&format!("{}7", own.place), pid)), "of another container");
        assert!(!own.knows_as_dead(&own.to_string()), "this one");
        assert!(own.knows_as_dead(&name(&own.place, own.pid)), "its number is this one's now");
        for odd in
            ["", "x", &own.place, &format!("{} -1 0", own.place), &format!("{} 0 0", own.place)]
        {
            assert!(!own.knows_as_dead(odd), "{odd}");
        }
    }
}
