//! The hosts in PostgreSQL: one row for each name.
//!
//! Rule: as in `postgres.rs`; each question is one statement. A start of a host gets a number, and one that was started before
//! under the same name writes nothing any more but that it was met.

use std::time::Duration;

use async_trait::async_trait;
use tokio_postgres::{Row as Answer, types::Type};

use super::{
    books::Trouble,
    hosts::{
        Beat, FORGOTTEN_AFTER, GONE_AFTER, HOSTS_MAX, Heard, Listed, Load, Register, Row, SPENT_MAX,
    },
    link::{Link, said},
    login_books::logged_in,
    postgres::{Postgres, millis},
    schema,
};
use crate::clock::Stopwatch;

/// `$2` is the number of this start. A row whose number is higher is of a host that was started since under this name.
const BEAT: &str = "
    INSERT INTO pillarbox.host AS h (name, instance, version, messages, recipients, oldest)
    VALUES ($1, coalesce($2, 1), $3, $4, $5, clock_timestamp() - $6 * interval '1 millisecond')
    ON CONFLICT (name) DO UPDATE SET
        instance = CASE WHEN $2 IS NULL THEN h.instance + 1 ELSE greatest(h.instance, $2) END,
        since = CASE WHEN $2 IS NULL THEN clock_timestamp() ELSE h.since END,
        namesake = CASE WHEN h.instance > $2 THEN clock_timestamp() ELSE h.namesake END,
        version = CASE WHEN h.instance > $2 THEN h.version ELSE excluded.version END,
        seen = CASE WHEN h.instance > $2 THEN h.seen ELSE excluded.seen END,
        stopped = h.stopped AND coalesce(h.instance > $2, false),
        messages = CASE WHEN h.instance > $2 THEN h.messages ELSE excluded.messages END,
        recipients = CASE WHEN h.instance > $2 THEN h.recipients ELSE excluded.recipients END,
        oldest = CASE WHEN h.instance > $2 THEN h.oldest ELSE excluded.oldest END
    RETURNING instance,
        (extract(epoch FROM clock_timestamp() - drained) * 1000)::bigint,
        coalesce(namesake > clock_timestamp() - $7 * interval '1 millisecond', false),
        (SELECT count(*) FROM pillarbox.host other WHERE other.name <> $1 AND NOT other.stopped
            AND other.seen >= clock_timestamp() - $7 * interval '1 millisecond')";

const LEAVE: &str = "
    UPDATE pillarbox.host SET stopped = true, seen = clock_timestamp() WHERE name = $1 AND instance = $2";

const DRAIN: &str = "
    UPDATE pillarbox.host SET drained = CASE WHEN $2 THEN coalesce(drained, clock_timestamp()) END WHERE name = $1";

const LIST: &str = "
    SELECT name, instance, version,
        (extract(epoch FROM clock_timestamp() - since) * 1000)::bigint,
        (extract(epoch FROM clock_timestamp() - seen) * 1000)::bigint,
        stopped, messages, recipients,
        (extract(epoch FROM clock_timestamp() - oldest) * 1000)::bigint,
        (extract(epoch FROM clock_timestamp() - drained) * 1000)::bigint,
        coalesce(namesake > clock_timestamp() - $2 * interval '1 millisecond', false),
        count(*) OVER ()
    FROM pillarbox.host ORDER BY name LIMIT $1";

const SPENT: &str = "
    SELECT r.account, r.host, sum(r.recipients)::bigint
    FROM pillarbox.reservation r JOIN pillarbox.account a ON a.name = r.account
    WHERE r.counts_until > greatest(a.latest, clock_timestamp())
    GROUP BY r.account, r.host ORDER BY r.account, r.host LIMIT $1";

const FORGET: &str = "
    DELETE FROM pillarbox.host WHERE seen < clock_timestamp() - $1 * interval '1 millisecond'";

#[async_trait]
impl Register for Postgres {
    async fn beat(&self, beat: &Beat) -> Result<Heard, Trouble> {
        Link::in_time(async {
            let held = self.link.hold().await?;
            let Load { messages, recipients, oldest } = beat.load;
            let (messages, recipients) = (bigint(messages), bigint(recipients));
            let (oldest, near) = (oldest.map(millis), millis(GONE_AFTER));
            let version = env!("CARGO_PKG_VERSION");
            let values = [
                (&beat.host as _, Type::TEXT),
                (&beat.instance as _, Type::INT8),
                (&version as _, Type::TEXT),
                (&messages as _, Type::INT8),
                (&recipients as _, Type::INT8),
                (&oldest as _, Type::FLOAT8),
                (&near as _, Type::FLOAT8),
            ];
            let row = held.client().query_typed_one(BEAT, &values).await.map_err(said)?;
            held.done();
            let instance = row.try_get(0).map_err(said)?;
            let has_namesake = row.try_get(2).map_err(said)?;
            let others: i64 = row.try_get(3).map_err(said)?;
            let living = others.unsigned_abs() + 1;
            Ok(Heard { instance, drained: span(&row, 1)?, has_namesake, living })
        })
        .await
    }

    async fn leave(&self, host: &str, instance: i64) -> Result<(), Trouble> {
        Link::in_time(async {
            let held = self.link.hold().await?;
            let of = [(&host as _, Type::TEXT), (&instance as _, Type::INT8)];
            held.client().execute_typed(LEAVE, &of).await.map_err(said)?;
            held.done();
            Ok(())
        })
        .await
    }

    async fn drain(&self, host: &str, drains: bool) -> Result<bool, Trouble> {
        Link::in_time(async {
            let held = self.link.hold().await?;
            let of = [(&host as _, Type::TEXT), (&drains as _, Type::BOOL)];
            let changed = held.client().execute_typed(DRAIN, &of).await.map_err(said)?;
            held.done();
            Ok(changed > 0)
        })
        .await
    }

    async fn list(&self) -> Result<Listed, Trouble> {
        Link::in_time(async {
            let held = self.link.hold().await?;
            let (client, watch) = (held.client(), Stopwatch::start());
            let server = "SELECT current_setting('server_version')";
            let server = client.query_typed_one(server, &[]).await.map_err(said)?;
            let latency = watch.elapsed();
            let schema = schema::found(client).await.map_err(said)?.number;
            let (most, near) = (HOSTS_MAX as i64, millis(GONE_AFTER));
            let of = [(&most as _, Type::INT8), (&near as _, Type::FLOAT8)];
            let hosts = client.query_typed(LIST, &of).await.map_err(said)?;
            let most = SPENT_MAX as i64;
            let spent = client.query_typed(SPENT, &[(&most as _, Type::INT8)]).await;
            let spent = spent.map_err(said)?;
            let logins = logged_in(client, most).await?;
            held.done();
            let all: i64 = hosts.first().map_or(Ok(0), |row| row.try_get(11)).map_err(said)?;
            let spent = spent.iter().map(|row| {
                let recipients: i64 = row.try_get(2)?;
                Ok((row.try_get(0)?, row.try_get(1)?, recipients.unsigned_abs()))
            });
            Ok(Listed {
                server: server.try_get(0).map_err(said)?,
                schema,
                latency,
                more: all.unsigned_abs().saturating_sub(hosts.len() as u64),
                hosts: hosts.iter().map(host).collect::<Result<_, _>>()?,
                spent: spent.collect::<Result<_, _>>().map_err(said)?,
                logins,
            })
        })
        .await
    }

    async fn forget(&self) -> Result<(), Trouble> {
        Link::in_time(async {
            let held = self.link.hold().await?;
            let long = millis(FORGOTTEN_AFTER);
            let of = [(&long as _, Type::FLOAT8)];
            held.client().execute_typed(FORGET, &of).await.map_err(said)?;
            held.done();
            Ok(())
        })
        .await
    }
}

fn host(row: &Answer) -> Result<Row, Trouble> {
    let number = |at: usize| row.try_get::<_, i64>(at).map(i64::unsigned_abs).map_err(said);
    let load = Load { messages: number(6)?, recipients: number(7)?, oldest: span(row, 8)? };
    Ok(Row {
        name: row.try_get(0).map_err(said)?,
        instance: row.try_get(1).map_err(said)?,
        version: row.try_get(2).map_err(said)?,
        since: span(row, 3)?.unwrap_or_default(),
        seen: span(row, 4)?.unwrap_or_default(),
        has_stopped: row.try_get(5).map_err(said)?,
        load,
        drained: span(row, 9)?,
        has_namesake: row.try_get(10).map_err(said)?,
    })
}

/// A span that the database has counted; one of the future is of a clock that was set.
fn span(row: &Answer, at: usize) -> Result<Option<Duration>, Trouble> {
    let span = row.try_get::<_, Option<i64>>(at).map_err(said)?;
    Ok(span.map(|span| Duration::from_millis(u64::try_from(span).unwrap_or(0))))
}

fn bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
