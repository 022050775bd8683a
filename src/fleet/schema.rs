//! The tables of a fleet, and the way from each version of them to the next.
//!
//! Rule: a step is one transaction under a lock of the database, so that of several hosts one takes it. A schema of a newer
//! program is left alone, and so is the mail. Steps are only added.

use tokio_postgres::{Client, Error};

use super::books::Trouble;

/// Held while the schema is changed: `pillarbo` in ASCII.
const MIGRATION_LOCK: i64 = 0x7069_6c6c_6172_626f;

/// Each makes of the version before it the next one; the first of nothing version 1. A row lives for a day, so the tables are
/// small and change all the time: they are vacuumed by the number of their changes and not by their size.
const STEPS: &[&str] = &["
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
"];

/// The version that this program works with.
pub(super) fn version() -> i32 {
    i32::try_from(STEPS.len()).unwrap_or(i32::MAX)
}

/// What to say of a schema that is newer than this program.
pub(super) fn newer(found: i32) -> Trouble {
    Trouble(format!(
        "the fleet's tables are of version {found}, and this program knows version {}: another host runs a newer pillarbox; \
         upgrade this one as well",
        version()
    ))
}

/// Sees to it that the tables are there and as this program knows them.
pub(super) async fn ensure(client: &Client, said: fn(Error) -> Trouble) -> Result<(), Trouble> {
    match found(client).await.map_err(said)? {
        found if found == version() => return Ok(()),
        found if found > version() => return Err(newer(found)),
        _ => {}
    }
    let lock = format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"
    );
    client.batch_execute(&lock).await.map_err(said)?;
    // Another host may have done it meanwhile.
    let found = found(client).await.map_err(said)?;
    if found > version() {
        return Err(newer(found));
    }
    for step in STEPS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        client.batch_execute(step).await.map_err(said)?;
    }
    let commit = format!("UPDATE pillarbox.version SET number = {}; COMMIT", version());
    client.batch_execute(&commit).await.map_err(said)?;
    tracing::info!(version = version(), before = found, "the fleet's tables are made");
    Ok(())
}

/// The version that is there; 0 where there is none.
async fn found(client: &Client) -> Result<i32, Error> {
    // Of the catalogue and not by to_regclass, which remembers that it has found nothing before the lock was got.
    let there = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                 WHERE n.nspname = 'pillarbox' AND c.relname = 'version')";
    let there = client.query_typed_one(there, &[]).await?.try_get::<_, bool>(0)?;
    if !there {
        return Ok(0);
    }
    let number = client.query_typed_one("SELECT max(number) FROM pillarbox.version", &[]).await?;
    Ok(number.try_get::<_, Option<i32>>(0)?.unwrap_or(0))
}
