//! The tables of a fleet, and the way from each version of them to the next.
//!
//! Rule: the steps are one transaction under a lock of the database, so that of several hosts one takes them. Tables of a newer
//! program are worked with where it says that this one may; otherwise they are left alone, and so is the mail. Steps are only
//! added.

use tokio_postgres::{Client, Error, Row};

use super::books::Trouble;

/// Held while the schema is changed: `pillarbo` in ASCII.
const MIGRATION_LOCK: i64 = 0x7069_6c6c_6172_626f;

/// How the words of a database end that allows it not.
const INSUFFICIENT_PRIVILEGE: &str = "(42501)";

/// What makes of one version the next one.
struct Step {
    /// The oldest version whose programs may go on with the tables after it: they neither miss what it has changed, nor break
    /// what it has added. An upgrade of the hosts one after another then stops none of them.
    oldest: i32,
    statements: &'static str,
}

/// The first makes of nothing version 1. Rows change all the time and the tables are small: they are vacuumed by the number of
/// their changes and not by their size.
const STEPS: &[Step] = &[Step { oldest: 1, statements: "
    CREATE SCHEMA IF NOT EXISTS pillarbox;
    CREATE TABLE pillarbox.version (number integer NOT NULL);
    INSERT INTO pillarbox.version VALUES (0);
    CREATE TABLE pillarbox.account (
        name text PRIMARY KEY,
        fence bigint NOT NULL DEFAULT 0,
        latest timestamptz NOT NULL DEFAULT clock_timestamp()
    ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
    CREATE TABLE pillarbox.reservation (
        account text NOT NULL REFERENCES pillarbox.account ON DELETE CASCADE,
        fence bigint NOT NULL,
        host text NOT NULL,
        token bigint NOT NULL,
        recipients integer NOT NULL CHECK (recipients > 0),
        settled boolean NOT NULL DEFAULT false,
        lease_until timestamptz NOT NULL,
        counts_until timestamptz NOT NULL,
        PRIMARY KEY (account, fence)
    ) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200,
            autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 200);
    COMMENT ON TABLE pillarbox.account IS
        'Accounts whose day is shared. fence: the last number of a claim. latest: the database''s clock, never back.';
    COMMENT ON TABLE pillarbox.reservation IS
        'What counts of the last 24 hours. Not settled when the lease ends: uncertain, and counted until counts_until.';
" }, Step { oldest: 1, statements: "
    ALTER TABLE pillarbox.version ADD COLUMN oldest integer NOT NULL DEFAULT 1;
    CREATE TABLE pillarbox.host (
        name text PRIMARY KEY,
        instance bigint NOT NULL DEFAULT 1,
        version text NOT NULL,
        since timestamptz NOT NULL DEFAULT clock_timestamp(),
        seen timestamptz NOT NULL DEFAULT clock_timestamp(),
        stopped boolean NOT NULL DEFAULT false,
        messages bigint NOT NULL DEFAULT 0,
        recipients bigint NOT NULL DEFAULT 0,
        oldest timestamptz,
        drained timestamptz,
        namesake timestamptz
    ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
    COMMENT ON TABLE pillarbox.host IS
        'The hosts, by their own word. instance: the number of its start. drained: since when it takes no new mail. namesake: when another host of this name was met.';
    COMMENT ON COLUMN pillarbox.version.oldest IS
        'The oldest version whose programs may go on with these tables.';
" }, Step { oldest: 3, statements: "
    ALTER TABLE pillarbox.account
        ADD COLUMN word_number bigint NOT NULL DEFAULT 0,
        ADD COLUMN word text NOT NULL DEFAULT '',
        ADD COLUMN word_said_at bigint NOT NULL DEFAULT 0,
        ADD COLUMN word_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        ADD COLUMN probe_token bigint,
        ADD COLUMN probe_host text,
        ADD COLUMN probe_until timestamptz;
    COMMENT ON COLUMN pillarbox.account.word IS
        'How the account stands, as a host said last: times are milliseconds by its clock, which showed word_said_at at word_at.';
    COMMENT ON COLUMN pillarbox.account.probe_token IS
        'Of the attempt for which all hosts wait until it is settled, or until probe_until.';
" }, Step { oldest: 3, statements: super::row_schema::ROWS }, Step { oldest: 3, statements: "
    ALTER TABLE pillarbox.account ADD COLUMN notice_by bigint, ADD COLUMN notice_until timestamptz;
    COMMENT ON COLUMN pillarbox.account.notice_by IS
        'Of the host that tells by mail that the day is spent; until notice_until no other does.';
" }, Step { oldest: 3, statements: "
    ALTER TABLE pillarbox.reservation ADD COLUMN ledger bigint;
    COMMENT ON COLUMN pillarbox.reservation.ledger IS
        'Of the host, whatever it is called: the number that lies beside its queue.';
" }, Step { oldest: 3, statements: "
    CREATE TABLE pillarbox.login (
        account text NOT NULL REFERENCES pillarbox.account ON DELETE CASCADE,
        token bigint NOT NULL,
        host text NOT NULL,
        at timestamptz NOT NULL,
        open_until timestamptz NOT NULL,
        PRIMARY KEY (account, token)
    ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
    CREATE TABLE pillarbox.login_wish (
        account text NOT NULL REFERENCES pillarbox.account ON DELETE CASCADE,
        host text NOT NULL,
        since timestamptz NOT NULL,
        until timestamptz NOT NULL,
        PRIMARY KEY (account, host)
    ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
    COMMENT ON TABLE pillarbox.login IS
        'Logins of the last hour. open_until: when the connection is over, unless its host renews it.';
    COMMENT ON TABLE pillarbox.login_wish IS
        'Hosts that wait for a connection while all are in use.';
" }, Step { oldest: 3, statements: "
    CREATE TABLE pillarbox.token (
        account text NOT NULL,
        key_id bytea NOT NULL,
        number bigint NOT NULL DEFAULT 0,
        sealed bytea,
        lasts_ms bigint NOT NULL DEFAULT 0,
        put_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        fetcher bigint,
        fetch_until timestamptz,
        PRIMARY KEY (account, key_id)
    ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
    COMMENT ON TABLE pillarbox.token IS
        'Access tokens, sealed with a key that only the hosts know, which key_id names. No sealed: it was refused. fetcher: has the next one until fetch_until.';
" }, Step { oldest: 3, statements: "
    ALTER TABLE pillarbox.login ADD COLUMN process text;
    ALTER TABLE pillarbox.reservation ADD COLUMN process text;
    ALTER TABLE pillarbox.queue ADD COLUMN process text;
    COMMENT ON COLUMN pillarbox.login.process IS
        'Who holds it: boot and namespace, number and chance. When it is dead the next one of its machine need not wait for the lease.';
" }];

/// The version that this program works with.
pub(super) fn version() -> i32 {
    i32::try_from(STEPS.len()).unwrap_or(i32::MAX)
}

/// The version that tables have, and the oldest one whose programs may work with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) number: i32,
    pub(super) oldest: i32,
}

impl Version {
    /// Both of the table, where a transaction looks for itself. Tables of version 1 do not have the second one.
    pub(super) const COLUMNS: &'static str =
        "max(number), max((to_jsonb(version) ->> 'oldest')::integer)";

    /// From these columns, of which the first is `at`.
    pub(super) fn of(row: &Row, at: usize) -> Result<Self, Error> {
        let number = row.try_get::<_, Option<i32>>(at)?.unwrap_or(0);
        let oldest = row.try_get::<_, Option<i32>>(at + 1)?.unwrap_or(number);
        Ok(Self { number, oldest })
    }

    /// Whether a program of another version may work with them.
    pub(super) fn fits(self, program: i32) -> Result<(), Trouble> {
        let Self { number, oldest } = self;
        if program >= oldest && program <= number {
            return Ok(());
        }
        if program > number {
            // They are looked at when the next connection is opened.
            return Err(Trouble("the fleet's tables have been replaced".into()));
        }
        Err(Trouble(format!(
            "the fleet's tables are of version {number}, with which programs of version {oldest} and newer may work, and this one \
             is of version {program}: another host runs a newer pillarbox; upgrade this one as well"
        )))
    }

    /// After these steps.
    fn after(self, steps: &[Step]) -> Self {
        let number = self.number + i32::try_from(steps.len()).unwrap_or(0);
        let oldest = steps.iter().map(|step| step.oldest).fold(self.oldest, i32::max);
        Self { number, oldest }
    }
}

/// Sees to it that the tables are there and such that this program may work with them.
pub(super) async fn ensure(client: &Client, said: fn(Error) -> Trouble) -> Result<(), Trouble> {
    let found = found(client).await.map_err(said)?;
    if found.number >= version() {
        return found.fits(version());
    }
    migrate(client, said).await.map_err(|trouble| unmade(found, trouble))
}

/// Only who owns the tables may change them.
fn unmade(found: Version, trouble: Trouble) -> Trouble {
    if !trouble.0.ends_with(INSUFFICIENT_PRIVILEGE) {
        return trouble;
    }
    let tables = match found.number {
        0 => "the fleet's tables are not there yet".to_owned(),
        number => format!(
            "the fleet's tables are of version {number}, and this program needs {}",
            version()
        ),
    };
    let Trouble(reason) = trouble;
    Trouble(format!(
        "{tables}, which this role may not make: {reason}; start one host as their owner (docs/fleet.md, Rights)"
    ))
}

async fn migrate(client: &Client, said: fn(Error) -> Trouble) -> Result<(), Trouble> {
    let lock = format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"
    );
    client.batch_execute(&lock).await.map_err(said)?;
    // Another host may have done it meanwhile.
    let found = found(client).await.map_err(said)?;
    if found.number >= version() {
        client.batch_execute("ROLLBACK").await.map_err(said)?;
        return found.fits(version());
    }
    let steps = STEPS.get(usize::try_from(found.number).unwrap_or(0)..).unwrap_or_default();
    for step in steps {
        client.batch_execute(step.statements).await.map_err(said)?;
    }
    let Version { number, oldest } = found.after(steps);
    let commit =
        format!("UPDATE pillarbox.version SET number = {number}, oldest = {oldest}; COMMIT");
    client.batch_execute(&commit).await.map_err(said)?;
    tracing::info!(version = number, before = found.number, "the fleet's tables are made");
    Ok(())
}

/// The version that is there; 0 where there is none.
pub(super) async fn found(client: &Client) -> Result<Version, Error> {
    // Of the catalogue and not by to_regclass, which remembers that it has found nothing before the lock was got.
    let there = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                 WHERE n.nspname = 'pillarbox' AND c.relname = 'version')";
    let there = client.query_typed_one(there, &[]).await?.try_get::<_, bool>(0)?;
    if !there {
        return Ok(Version { number: 0, oldest: 0 });
    }
    let both = format!("SELECT {} FROM pillarbox.version", Version::COLUMNS);
    Version::of(&client.query_typed_one(&both, &[]).await?, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_works_with_tables_of_a_newer_one_as_far_as_that_has_said_so() {
        let fits = |number, oldest, program| Version { number, oldest }.fits(program).is_ok();
        assert!(fits(3, 3, 3) && fits(3, 2, 2) && fits(3, 1, 2));
        assert!(!fits(3, 3, 2) && !fits(4, 2, 1) && !fits(1, 1, 2));
        let words = Version { number: 4, oldest: 3 }.fits(2).unwrap_err().to_string();
        assert!(words.contains("version 4") && words.contains("version 3 and newer"), "{words}");
    }

    #[test]
    fn the_oldest_program_that_may_go_on_is_the_newest_that_a_step_asks_for() {
        let step = |oldest| Step { oldest, statements: "" };
        let first = Version { number: 1, oldest: 1 };
        assert_eq!(first.after(&[step(1)]), Version { number: 2, oldest: 1 });
        assert_eq!(first.after(&[step(2), step(1)]), Version { number: 3, oldest: 2 });
        let strict = Version { number: 3, oldest: 3 };
        assert_eq!(strict.after(&[step(1)]), Version { number: 4, oldest: 3 });
        for (number, step) in STEPS.iter().enumerate() {
            assert!(step.oldest >= 1 && step.oldest as usize <= number + 1, "step {number}");
        }
    }
}
