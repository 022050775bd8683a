//! The books in PostgreSQL: each claim is one transaction under the lock of its account's row.
//!
//! Rule: nothing outlives a transaction (no prepared statement, no setting, no lock), so it works behind PgBouncer in its
//! transaction mode; nothing listens. Time is the database's, and never goes back. Must not know who claims.

use std::time::Duration;

use async_trait::async_trait;
use tokio_postgres::{
    Client,
    types::{ToSql, Type},
};

use super::{
    books::{
        Answer, Ask, Books, Granted, Probe, Spender, Spent, Ticket, Told, Trouble, Word, granted,
    },
    link::{Held, Link, said},
    options::Database,
    processes::Process,
    schema::{self, Version},
};
use crate::{
    budget::{Limit, WINDOW},
    clock::Timestamp,
};

/// A transaction of ours. What it waits for ends on the server as well: a host that is gone in the middle must not keep the
/// account's row from the others. A claim that was answered is on the server's disk whatever its default says.
pub(super) const BEGIN: &str = "
    BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
    SET LOCAL statement_timeout = '8s';
    SET LOCAL lock_timeout = '8s';
    SET LOCAL idle_in_transaction_session_timeout = '4s';
    SET LOCAL synchronous_commit = on";

/// The account's row, which is locked until the transaction ends. Whoever waits for it sees in his next statement what the one
/// before him has written; in the same statement he would not.
const LOCK: &str = "
    SELECT (SELECT max(number) FROM pillarbox.version),
           (SELECT max((to_jsonb(version) ->> 'oldest')::integer) FROM pillarbox.version)
    FROM pillarbox.account WHERE name = $1 FOR NO KEY UPDATE";

const INTRODUCE: &str = "INSERT INTO pillarbox.account (name) VALUES ($1) ON CONFLICT DO NOTHING";

/// What counts now: of all hosts, and of one ledger. Older programs have given the name of the host alone.
const SPENT: &str = "
    SELECT coalesce(sum(recipients), 0)::bigint,
           coalesce(sum(recipients) FILTER (WHERE ledger = $3 OR ledger IS NULL AND host = $2), 0)::bigint
    FROM pillarbox.reservation
    WHERE account = $1 AND counts_until >
        (SELECT greatest(latest, clock_timestamp()) FROM pillarbox.account WHERE name = $1)";

/// How long until less than the limit counts, in milliseconds.
const FREES_IN: &str = "
    WITH moment AS (
        SELECT greatest(latest, clock_timestamp()) AS now FROM pillarbox.account WHERE name = $1
    ), live AS (
        SELECT counts_until,
               sum(recipients) OVER () - sum(recipients) OVER (ORDER BY counts_until, fence) AS stays
        FROM pillarbox.reservation, moment WHERE account = $1 AND counts_until > now
    )
    SELECT ceil(extract(epoch FROM min(counts_until) - (SELECT now FROM moment)) * 1000)::bigint
    FROM live WHERE stays < $2";

/// The claim's own row, stamped by a clock that the account's row keeps from going back.
const RESERVE: &str = "
    WITH moment AS (
        UPDATE pillarbox.account SET fence = fence + 1, latest = greatest(latest, clock_timestamp())
        WHERE name = $1 RETURNING fence, latest
    )
    INSERT INTO pillarbox.reservation
        (account, fence, host, token, recipients, settled, lease_until, counts_until, ledger, process)
    SELECT $1, fence, $2, $3, $4, $5, latest + $6 * interval '1 millisecond',
           latest + ($6 + $7) * interval '1 millisecond', $8, $9
    FROM moment RETURNING fence";

/// What was spent counts for a window from now on: the upstream counts when it accepts.
const SETTLE: &str = "
    UPDATE pillarbox.reservation r
    SET settled = true, recipients = least(r.recipients, $4),
        counts_until = greatest(a.latest, clock_timestamp()) + $5 * interval '1 millisecond'
    FROM pillarbox.account a
    WHERE a.name = r.account AND r.account = $1 AND r.token = $2 AND ($3::bigint IS NULL OR r.fence = $3)
        AND NOT r.settled AND r.lease_until > greatest(a.latest, clock_timestamp())";

const GIVE_BACK: &str = "
    DELETE FROM pillarbox.reservation r USING pillarbox.account a
    WHERE a.name = r.account AND r.account = $1 AND r.token = $2 AND ($3::bigint IS NULL OR r.fence = $3)
        AND NOT r.settled AND r.lease_until > greatest(a.latest, clock_timestamp())";

/// The last word of an account, how long ago it was said in milliseconds, and the attempt for which all wait.
const HEAR: &str = "
    WITH moment AS (
        SELECT greatest(latest, clock_timestamp()) AS now FROM pillarbox.account WHERE name = $1
    )
    SELECT word_number, word, word_said_at, round(extract(epoch FROM now - word_at) * 1000)::bigint,
           probe_token, probe_host, ceil(extract(epoch FROM probe_until - now) * 1000)::bigint
    FROM pillarbox.account, moment WHERE name = $1";

const TELL: &str = "
    UPDATE pillarbox.account
    SET word_number = word_number + 1, word = $2, word_said_at = $3,
        word_at = greatest(latest, clock_timestamp()), latest = greatest(latest, clock_timestamp())
    WHERE name = $1 RETURNING word_number";

/// In the transaction that has just stamped the account's row.
const PROBE: &str = "
    UPDATE pillarbox.account
    SET probe_token = $2, probe_host = $3, probe_until = latest + $4 * interval '1 millisecond'
    WHERE name = $1";

const END_PROBE: &str = "
    UPDATE pillarbox.account SET probe_token = NULL, probe_host = NULL, probe_until = NULL
    WHERE name = $1 AND probe_token = $2";

/// Of the notice that the day is spent. No row comes back where it is another host's.
const TAKE_NOTICE: &str = "
    INSERT INTO pillarbox.account AS a (name, notice_by, notice_until)
    VALUES ($1, $2, clock_timestamp() + $3 * interval '1 millisecond')
    ON CONFLICT (name) DO UPDATE SET notice_by = excluded.notice_by,
        notice_until = greatest(a.latest, clock_timestamp()) + $3 * interval '1 millisecond'
    WHERE a.notice_by = $2 OR a.notice_until IS NULL OR a.notice_until <= greatest(a.latest, clock_timestamp())
    RETURNING notice_by";

const NOTICE_IS_ANOTHERS: &str = "
    SELECT ceil(extract(epoch FROM notice_until - greatest(latest, clock_timestamp())) * 1000)::bigint
    FROM pillarbox.account WHERE name = $1";

/// An hour late, so that a clock that was wrong for a moment removes nothing.
const SWEEP: &str = "
    DELETE FROM pillarbox.reservation WHERE counts_until < clock_timestamp() - interval '1 hour'";

/// Of accounts that nobody asks after any more; as late, so that a clock that was wrong for a moment removes nothing.
const SWEEP_LOGINS: &str = "
    WITH wishes AS (DELETE FROM pillarbox.login_wish WHERE until < clock_timestamp() - interval '1 hour')
    DELETE FROM pillarbox.login
    WHERE greatest(at + interval '1 hour', open_until) < clock_timestamp() - interval '1 hour'";

/// A value of a statement, with its type.
pub(super) type Value<'a> = (&'a (dyn ToSql + Sync), Type);

/// Books in a database of PostgreSQL.
#[derive(Debug)]
pub(super) struct Postgres {
    pub(super) link: Link,
}

impl Postgres {
    pub(super) fn new(database: Database) -> Self {
        Self { link: Link::new(database) }
    }
}

#[async_trait]
impl Books for Postgres {
    async fn spent(&self, account: &str, by: Spender<'_>, limit: Limit) -> Result<Spent, Trouble> {
        Link::in_time(async {
            let held = self.link.hold().await?;
            let client = held.client();
            let (recipients, by_host) = sum(client, account, by).await?;
            let frees_in = match limit.recipients() {
                Some(limit) if limit > 0 && u64::from(limit) <= recipients => {
                    frees_in(client, account, limit).await?
                }
                _ => None,
            };
            held.done();
            Ok(Spent { recipients, by_host, frees_in })
        })
        .await
    }

    async fn reserve(&self, account: &str, host: &str, ask: &Ask) -> Result<Answer, Trouble> {
        Link::in_time(async {
            let held = self.begin(account).await?;
            let (answer, how) = match reserve(held.client(), (account, host), ask).await? {
                answer @ Answer::Granted(_) => (answer, "COMMIT"),
                answer => (answer, "ROLLBACK"),
            };
            end(held, how).await?;
            Ok(answer)
        })
        .await
    }

    async fn settle(&self, account: &str, ticket: Ticket, spent: u32) -> Result<bool, Trouble> {
        Link::in_time(async {
            let held = self.link.hold().await?;
            let (of_account, token, fence) = (
                (&account as _, Type::TEXT),
                (&ticket.token as _, Type::INT8),
                (&ticket.fence as _, Type::INT8),
            );
            let (spent_of, window) = (integer(spent), millis(WINDOW));
            let client = held.client();
            let changed = if spent == 0 {
                client.execute_typed(GIVE_BACK, &[of_account, token, fence]).await
            } else {
                let spent = (&spent_of as _, Type::INT4);
                let window = (&window as _, Type::FLOAT8);
                client.execute_typed(SETTLE, &[of_account, token, fence, spent, window]).await
            };
            let changed = changed.map_err(said)?;
            if ticket.probe {
                let of = [(&account as _, Type::TEXT), (&ticket.token as _, Type::INT8)];
                client.execute_typed(END_PROBE, &of).await.map_err(said)?;
            }
            held.done();
            Ok(changed > 0)
        })
        .await
    }

    async fn bring_in(&self, account: &str, by: Spender<'_>, spent: u32) -> Result<(), Trouble> {
        Link::in_time(async {
            let held = self.begin(account).await?;
            let (_, known) = sum(held.client(), account, by).await?;
            let unknown = u64::from(spent).saturating_sub(known);
            if let Some(unknown) = u32::try_from(unknown).ok().filter(|unknown| *unknown > 0) {
                let row = (fastrand::i64(1..), unknown, true, Duration::ZERO);
                insert(held.client(), (account, by), row).await?;
            }
            end(held, "COMMIT").await
        })
        .await
    }

    async fn hear(&self, account: &str) -> Result<Word, Trouble> {
        Link::in_time(async {
            let held = self.link.hold().await?;
            let word = hear(held.client(), account).await?;
            held.done();
            Ok(word)
        })
        .await
    }

    async fn tell(
        &self,
        account: &str,
        heard: i64,
        (text, now): (&str, Timestamp),
    ) -> Result<Told, Trouble> {
        Link::in_time(async {
            let held = self.begin(account).await?;
            let last = hear(held.client(), account).await?;
            if last.number != heard {
                end(held, "ROLLBACK").await?;
                return Ok(Told::Late(last));
            }
            let said_at = now.0;
            let values = [
                (&account as _, Type::TEXT),
                (&text as _, Type::TEXT),
                (&said_at as _, Type::INT8),
            ];
            let row = held.client().query_typed_one(TELL, &values).await.map_err(said)?;
            let number = row.try_get(0).map_err(said)?;
            end(held, "COMMIT").await?;
            Ok(Told::Taken(number))
        })
        .await
    }

    async fn leave_notice_to(
        &self,
        account: &str,
        teller: i64,
        time: Duration,
    ) -> Result<Option<Duration>, Trouble> {
        Link::in_time(async {
            let held = self.link.hold().await?;
            let (client, time) = (held.client(), millis(time));
            let name = (&account as _, Type::TEXT);
            let values = [name, (&teller as _, Type::INT8), (&time as _, Type::FLOAT8)];
            let taken = client.query_typed_opt(TAKE_NOTICE, &values).await.map_err(said)?;
            let others = match taken {
                Some(_) => None,
                None => {
                    let name = [(&account as _, Type::TEXT)];
                    let row = client.query_typed_one(NOTICE_IS_ANOTHERS, &name).await;
                    let left = row.and_then(|row| row.try_get::<_, Option<i64>>(0));
                    Some(length(left.map_err(said)?.unwrap_or(0)))
                }
            };
            held.done();
            Ok(others)
        })
        .await
    }

    async fn sweep(&self) -> Result<(), Trouble> {
        Link::in_time(async {
            let held = self.link.hold().await?;
            for statement in [SWEEP, SWEEP_LOGINS] {
                held.client().execute_typed(statement, &[]).await.map_err(said)?;
            }
            held.done();
            Ok(())
        })
        .await
    }
}

impl Postgres {
    /// Begins a transaction that has the account's row for itself.
    pub(super) async fn begin(&self, account: &str) -> Result<Held<'_>, Trouble> {
        let held = self.link.hold().await?;
        let client = held.client();
        client.batch_execute(BEGIN).await.map_err(said)?;
        let name = || [(&account as _, Type::TEXT)];
        let row = match client.query_typed_opt(LOCK, &name()).await.map_err(said)? {
            Some(row) => row,
            None => {
                client.execute_typed(INTRODUCE, &name()).await.map_err(said)?;
                client.query_typed_one(LOCK, &name()).await.map_err(said)?
            }
        };
        // Another host may have been upgraded while this connection was open.
        Version::of(&row, 0).map_err(said)?.fits(schema::version())?;
        Ok(held)
    }
}

pub(super) async fn end(held: Held<'_>, how: &str) -> Result<(), Trouble> {
    held.client().batch_execute(how).await.map_err(said)?;
    held.done();
    Ok(())
}

/// Under the lock of the account's row.
async fn reserve(
    client: &Client,
    (account, host): (&str, &str),
    ask: &Ask,
) -> Result<Answer, Trouble> {
    let word = hear(client, account).await?;
    if word.number != ask.heard {
        return Ok(Answer::Unheard(word));
    }
    if let Some(probe) = word.probe.filter(|_| ask.probe) {
        return Ok(Answer::ProbeIsOut(probe));
    }
    let by = (host, ask.ledger);
    let (spent, _) = sum(client, account, by).await?;
    let recipients = granted(ask, spent);
    if recipients == 0 {
        return Ok(Answer::Full);
    }
    let row = (ask.token, recipients, false, ask.lease);
    let fence = insert(client, (account, by), row).await?;
    if ask.probe {
        let lease = millis(ask.lease);
        let values = [
            (&account as _, Type::TEXT),
            (&ask.token as _, Type::INT8),
            (&host as _, Type::TEXT),
            (&lease as _, Type::FLOAT8),
        ];
        client.execute_typed(PROBE, &values).await.map_err(said)?;
    }
    Ok(Answer::Granted(Granted { fence, recipients }))
}

/// An account that nobody has introduced has no word.
async fn hear(client: &Client, account: &str) -> Result<Word, Trouble> {
    let name = [(&account as _, Type::TEXT)];
    let Some(row) = client.query_typed_opt(HEAR, &name).await.map_err(said)? else {
        return Ok(Word::default());
    };
    let token = row.try_get::<_, Option<i64>>(4).map_err(said)?;
    let host = row.try_get::<_, Option<String>>(5).map_err(said)?.unwrap_or_default();
    let left = row.try_get::<_, Option<i64>>(6).map_err(said)?.filter(|left| *left > 0);
    let probe = token.and(left).map(|left| Probe { host, ends_in: length(left) });
    Ok(Word {
        number: row.try_get(0).map_err(said)?,
        text: row.try_get(1).map_err(said)?,
        said_at: Timestamp(row.try_get(2).map_err(said)?),
        age: length(row.try_get(3).map_err(said)?),
        probe,
    })
}

async fn sum(
    client: &Client,
    account: &str,
    (host, ledger): Spender<'_>,
) -> Result<(u64, u64), Trouble> {
    let of = [(&account as _, Type::TEXT), (&host as _, Type::TEXT), (&ledger as _, Type::INT8)];
    let row = client.query_typed_one(SPENT, &of).await.map_err(said)?;
    let number = |at| row.try_get::<_, i64>(at).map_err(said);
    Ok((number(0)?.unsigned_abs(), number(1)?.unsigned_abs()))
}

async fn frees_in(client: &Client, account: &str, limit: u32) -> Result<Option<Duration>, Trouble> {
    let limit = i64::from(limit);
    let of = [(&account as _, Type::TEXT), (&limit as _, Type::INT8)];
    let row = client.query_typed_one(FREES_IN, &of).await.map_err(said)?;
    let wait = row.try_get::<_, Option<i64>>(0).map_err(said)?;
    Ok(wait.map(length))
}

/// Of so many milliseconds.
pub(super) fn length(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

async fn insert(
    client: &Client,
    (account, (host, ledger)): (&str, Spender<'_>),
    (token, recipients, settled, lease): (i64, u32, bool, Duration),
) -> Result<i64, Trouble> {
    let (recipients, lease, window) = (integer(recipients), millis(lease), millis(WINDOW));
    let process = Process::own_name();
    let values = [
        (&account as _, Type::TEXT),
        (&host as _, Type::TEXT),
        (&token as _, Type::INT8),
        (&recipients as _, Type::INT4),
        (&settled as _, Type::BOOL),
        (&lease as _, Type::FLOAT8),
        (&window as _, Type::FLOAT8),
        (&ledger as _, Type::INT8),
        (&process as _, Type::TEXT),
    ];
    let row = client.query_typed_one(RESERVE, &values).await.map_err(said)?;
    row.try_get(0).map_err(said)
}

/// A transaction has a hundred recipients or so.
fn integer(recipients: u32) -> i32 {
    i32::try_from(recipients).unwrap_or(i32::MAX)
}

/// As statements name a span.
pub(super) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
