//! The examination of a fleet's database: what it is set to, what this role may do there, and who keeps it from its work.
//!
//! Rule: it only reads, over a connection of its own, and makes no tables. Must not know what is judged of it.

use std::time::Duration;

use tokio_postgres::{Client, types::Type};

use super::{
    books::Trouble,
    examined::{Examined, TRANSACTION_MAX},
    hosts::{Listed, Register as _},
    link::{Link, said},
    options::Options,
    postgres::Postgres,
    schema,
};
use crate::clock::Stopwatch;

/// Those that are named.
const TRANSACTIONS_MAX: i64 = 5;

/// What a host needs; the last tables and the functions where its queue is in the database.
const RIGHTS: &str = "
    SELECT 'SCHEMA pillarbox', 'USAGE' FROM pg_catalog.pg_namespace
    WHERE nspname = 'pillarbox' AND NOT has_schema_privilege(oid, 'USAGE')
    UNION ALL
    SELECT n.nspname || '.' || c.relname, wanted
    FROM (VALUES ('version', '{SELECT}'::text[], false), ('account', '{SELECT,INSERT,UPDATE}', false),
        ('reservation', '{SELECT,INSERT,UPDATE,DELETE}', false), ('host', '{SELECT,INSERT,UPDATE,DELETE}', false),
        ('login', '{SELECT,INSERT,UPDATE,DELETE}', false), ('login_wish', '{SELECT,INSERT,UPDATE,DELETE}', false),
        ('queue', '{SELECT,INSERT,UPDATE,DELETE}', true), ('message', '{SELECT,INSERT,UPDATE,DELETE}', true),
        ('body', '{SELECT,INSERT,UPDATE,DELETE}', true), ('standing', '{SELECT,INSERT,UPDATE,DELETE}', true),
        ('history', '{SELECT,INSERT,UPDATE,DELETE}', true)) AS need (name, rights, of_queues)
    CROSS JOIN unnest(need.rights) AS wanted
    JOIN pg_catalog.pg_class c ON c.relname = need.name
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'pillarbox'
    WHERE ($1 OR NOT need.of_queues) AND NOT has_table_privilege(c.oid, wanted)
    UNION ALL
    SELECT 'FUNCTION ' || n.nspname || '.' || p.proname || '(' || oidvectortypes(p.proargtypes) || ')', 'EXECUTE'
    FROM pg_catalog.pg_proc p
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace AND n.nspname = 'pillarbox'
    WHERE $1 AND p.proname IN ('make_days', 'drop_days') AND NOT has_function_privilege(p.oid, 'EXECUTE')
    ORDER BY 1, 2";

const TRANSACTIONS: &str = "
    SELECT pid, coalesce(nullif(application_name, ''), usename, '?'),
        (extract(epoch FROM clock_timestamp() - xact_start) * 1000)::bigint
    FROM pg_catalog.pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
        AND xact_start < clock_timestamp() - $1 * interval '1 millisecond'
    ORDER BY xact_start LIMIT $2";

const SETTINGS: &str = "
    SELECT current_setting('fsync') = 'on', current_setting('full_page_writes') = 'on',
        pg_is_in_recovery(), (extract(epoch FROM clock_timestamp()) * 1000)::bigint,
        current_setting('server_version'), quote_ident(current_user)";

/// Examines the database of a fleet, for a host whose queue is there as well or not.
///
/// # Errors
/// It cannot be asked.
pub(crate) async fn examine(options: &Options, has_queue: bool) -> Result<Examined, Trouble> {
    let link = Link::new(options.database.clone());
    let mut found = Link::in_time(async {
        let open = link.connect().await?;
        look(open.client(), has_queue).await
    })
    .await?;
    let may_list = found.lacking.is_empty() && found.schema.1.is_none();
    if may_list && found.schema.0 >= found.own_schema {
        let Listed { hosts, .. } = Postgres::new(options.database.clone()).list().await?;
        let gone = hosts.iter().filter(|row| row.is_gone());
        found.gone = gone.map(|row| (row.name.clone(), row.seen)).collect();
        let namesakes = hosts.iter().filter(|row| row.has_namesake);
        found.namesakes = namesakes.map(|row| row.name.clone()).collect();
    }
    Ok(found)
}

async fn look(client: &Client, has_queue: bool) -> Result<Examined, Trouble> {
    let watch = Stopwatch::start();
    let row = client.query_typed_one(SETTINGS, &[]).await.map_err(said)?;
    let latency = watch.elapsed();
    let is = |at: usize| row.try_get::<_, bool>(at).map_err(said);
    let mut found = Examined {
        syncs: is(0)?,
        writes_full_pages: is(1)?,
        is_standby: is(2)?,
        clock_ms: row.try_get(3).map_err(said)?,
        server: row.try_get(4).map_err(said)?,
        role: row.try_get(5).map_err(said)?,
        latency,
        own_schema: schema::version(),
        ..Examined::default()
    };
    let rights = client.query_typed(RIGHTS, &[(&has_queue, Type::BOOL)]).await;
    for row in rights.map_err(said)? {
        let text = |at: usize| row.try_get::<_, String>(at).map_err(said);
        found.lacking.push((text(0)?, text(1)?));
    }
    let hides_version =
        |(what, _): &(String, String)| what == "pillarbox.version" || what == "SCHEMA pillarbox";
    if !found.lacking.iter().any(hides_version) {
        let version = schema::found(client).await.map_err(said)?;
        let fits = if version.number > schema::version() {
            version.fits(schema::version())
        } else {
            Ok(())
        };
        found.schema = (version.number, fits.err().map(|trouble| trouble.to_string()));
    }
    let (long, most) = (TRANSACTION_MAX.as_secs_f64() * 1_000.0, TRANSACTIONS_MAX);
    let of = [(&long as _, Type::FLOAT8), (&most as _, Type::INT8)];
    for row in client.query_typed(TRANSACTIONS, &of).await.map_err(said)? {
        let open_ms = row.try_get::<_, i64>(2).map_err(said)?.unsigned_abs();
        let (pid, program) = (row.try_get(0).map_err(said)?, row.try_get(1).map_err(said)?);
        found.transactions.push((pid, program, Duration::from_millis(open_ms)));
    }
    Ok(found)
}
