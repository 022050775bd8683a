//! The statements for the rows of a host's queue, and the history of all hosts.
//!
//! Rule: whoever writes has locked the queue's row in the same transaction (`own`), and a row is changed only where it is of
//! that queue. Lists go as arrays, so that a batch costs a few statements. `queue + 0` is a condition of a message that is found
//! by its id: after a takeover the server's statistics may say that a queue has one message, and an index would be read that
//! has all 100,000 of it. Must not know what a record means.

use std::time::Duration;

use tokio_postgres::{Client, Error, Row as Answer, types::Type};
use tracing::warn;

use super::{
    postgres::{Value, millis},
    processes::Process,
    schema::Version,
};

/// An id as it is stored.
pub(crate) type Id = [u8; 16];

/// A message as it is read.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) id: Id,
    /// Whether the final dot of its claim was noted.
    pub(crate) dot: bool,
    pub(crate) record: Vec<u8>,
}

/// A message as it is written: its record and the number of its claim.
pub(crate) type Written = (Vec<u8>, Option<i64>);

/// The state of an account, behind its key.
pub(crate) type Standing = (Vec<u8>, Vec<u8>);

/// What one transaction changes.
#[derive(Debug, Default)]
pub(crate) struct Write {
    /// Messages that are written.
    pub(crate) put: Vec<(Id, Written)>,
    /// Messages that go, with their octets.
    pub(crate) removed: Vec<Id>,
    /// Finished messages, with the milliseconds of their end.
    pub(crate) ended: Vec<(Id, i64, Vec<u8>)>,
    /// Finished messages that are forgotten.
    pub(crate) forgotten: Vec<Id>,
    /// Ends that move.
    pub(crate) moved: Vec<(Id, i64)>,
    /// States of accounts, by their key.
    pub(crate) standings: Vec<Standing>,
}

impl Write {
    /// Whether nothing is written.
    pub(crate) fn is_empty(&self) -> bool {
        let Self { put, removed, ended, forgotten, moved, standings } = self;
        put.is_empty()
            && removed.is_empty()
            && ended.is_empty()
            && forgotten.is_empty()
            && moved.is_empty()
            && standings.is_empty()
    }
}

/// The queue is ours, and nobody takes it over before the transaction ends. Its lease may be made longer meanwhile.
const OWN: &str = "
    SELECT (SELECT max(number) FROM pillarbox.version),
           (SELECT max((to_jsonb(version) ->> 'oldest')::integer) FROM pillarbox.version)
    FROM pillarbox.queue WHERE number = $1 AND NOT taken FOR KEY SHARE";

const INTRODUCE: &str = "
    INSERT INTO pillarbox.queue (host, lease_until, process)
    VALUES ($1, clock_timestamp() + $2 * interval '1 ms', $3) RETURNING number";

const RENEW: &str = "
    UPDATE pillarbox.queue SET lease_until = clock_timestamp() + $2 * interval '1 ms'
    WHERE number = $1 AND NOT taken";

/// One that nobody is writing to, and nobody else is taking over.
const ORPHAN: &str = "
    SELECT number, host FROM pillarbox.queue
    WHERE number <> $1 AND lease_until < clock_timestamp()
    ORDER BY number LIMIT 1 FOR UPDATE SKIP LOCKED";

const MOVE: &str = "
    UPDATE pillarbox.message SET queue = $1, fresh = $4
    WHERE id IN (SELECT id FROM pillarbox.message WHERE queue = $2 ORDER BY id LIMIT $3)";

/// What is read of this queue only, and moved to none that is taken over meanwhile.
const PUT: &str = "
    INSERT INTO pillarbox.message AS kept (id, queue, claim, record)
    SELECT id, $1, claim, record FROM unnest($2::bytea[], $3::bigint[], $4::bytea[]) AS new (id, claim, record)
    ON CONFLICT (id) DO UPDATE SET claim = excluded.claim, record = excluded.record, fresh = false,
        dot = kept.dot AND kept.claim IS NOT DISTINCT FROM excluded.claim
    WHERE kept.queue = excluded.queue";

const STAND: &str = "
    INSERT INTO pillarbox.standing (host, account, state)
    SELECT $1, account, state FROM unnest($2::bytea[], $3::bytea[]) AS new (account, state)
    ON CONFLICT (host, account) DO UPDATE SET state = excluded.state";

fn id(id: &Id) -> Vec<u8> {
    id.to_vec()
}

fn ids_of<'a>(ids: impl IntoIterator<Item = &'a Id>) -> Vec<Vec<u8>> {
    ids.into_iter().map(id).collect()
}

/// An id that somebody else has written is passed over.
fn id_of(answer: &Answer, at: usize) -> Result<Option<Id>, Error> {
    Ok(answer.try_get::<_, &[u8]>(at)?.try_into().ok())
}

fn all<T>(
    answers: &[Answer],
    read: impl Fn(&Answer) -> Result<Option<T>, Error>,
) -> Result<Vec<T>, Error> {
    answers.iter().map(read).filter_map(Result::transpose).collect()
}

async fn changed(client: &Client, statement: &str, values: &[Value<'_>]) -> Result<u64, Error> {
    client.execute_typed(statement, values).await
}

/// Locks the queue against being taken over. Says the version of the tables; `None` when it is no longer ours.
pub(super) async fn own(client: &Client, queue: i64) -> Result<Option<Version>, Error> {
    let row = client.query_typed_opt(OWN, &[(&queue, Type::INT8)]).await?;
    row.map(|row| Version::of(&row, 0)).transpose()
}

pub(super) async fn introduce(client: &Client, host: &str, lease: Duration) -> Result<i64, Error> {
    let lease = millis(lease);
    let process = Process::own_name();
    let values: [Value<'_>; 3] =
        [(&host, Type::TEXT), (&lease, Type::FLOAT8), (&process, Type::TEXT)];
    client.query_typed_one(INTRODUCE, &values).await?.try_get(0)
}

/// A server that forgets what it has said to be written loses mail that was acknowledged.
pub(super) async fn warn_of_the_server(client: &Client) -> Result<(), Error> {
    for setting in ["fsync", "full_page_writes"] {
        let ask = "SELECT current_setting($1)";
        let row = client.query_typed_one(ask, &[(&setting, Type::TEXT)]).await?;
        if row.try_get::<_, &str>(0)? == "off" {
            warn!(
                setting,
                remedy = "Set it to on in postgresql.conf",
                "the fleet's database may lose mail that was accepted when its machine loses its power"
            );
        }
    }
    Ok(())
}

pub(super) async fn renew(client: &Client, queue: i64, lease: Duration) -> Result<bool, Error> {
    let lease = millis(lease);
    let values: [Value<'_>; 2] = [(&queue, Type::INT8), (&lease, Type::FLOAT8)];
    Ok(changed(client, RENEW, &values).await? > 0)
}

pub(super) async fn make_days(client: &Client) -> Result<(), Error> {
    client.query_typed_one("SELECT pillarbox.make_days()", &[]).await.map(drop)
}

/// Forgets the days of the history that were over before a time.
pub(super) async fn drop_days(client: &Client, before_ms: i64) -> Result<(), Error> {
    let ask = "SELECT pillarbox.drop_days($1)";
    client.query_typed_one(ask, &[(&before_ms, Type::INT8)]).await.map(drop)
}

/// Whoever had it cleanly gives up what he had.
pub(super) async fn release(client: &Client, queue: i64) -> Result<(), Error> {
    let values: [Value<'_>; 1] = [(&queue, Type::INT8)];
    let empty = "DELETE FROM pillarbox.queue
        WHERE number = $1 AND NOT EXISTS (SELECT FROM pillarbox.message WHERE queue = $1)";
    if changed(client, empty, &values).await? == 0 {
        let over = "UPDATE pillarbox.queue SET lease_until = '-infinity' WHERE number = $1";
        changed(client, over, &values).await?;
    }
    Ok(())
}

/// Moves up to `limit` messages of a queue whose lease is over, as news or to be read with all others. Says how many, and whose
/// it was.
pub(super) async fn take_over(
    client: &Client,
    (queue, as_news): (i64, bool),
    limit: i64,
) -> Result<Option<(u64, String)>, Error> {
    let found = client.query_typed_opt(ORPHAN, &[(&queue, Type::INT8)]).await?;
    let Some(found) = found else { return Ok(None) };
    let (orphan, host) = (found.try_get::<_, i64>(0)?, found.try_get(1)?);
    let of_orphan: [Value<'_>; 1] = [(&orphan, Type::INT8)];
    let take = "UPDATE pillarbox.queue SET taken = true WHERE number = $1";
    changed(client, take, &of_orphan).await?;
    let values: [Value<'_>; 4] =
        [(&queue, Type::INT8), (&orphan, Type::INT8), (&limit, Type::INT8), (&as_news, Type::BOOL)];
    let moved = changed(client, MOVE, &values).await?;
    if i64::try_from(moved).is_ok_and(|moved| moved < limit) {
        changed(client, "DELETE FROM pillarbox.queue WHERE number = $1", &of_orphan).await?;
    }
    Ok(Some((moved, host)))
}

fn row(answer: &Answer) -> Result<Option<Row>, Error> {
    let Some(id) = id_of(answer, 0)? else { return Ok(None) };
    Ok(Some(Row { id, dot: answer.try_get(1)?, record: answer.try_get(2)? }))
}

/// The hosts whose lease lasts.
pub(super) async fn alive(client: &Client) -> Result<Vec<String>, Error> {
    let ask = "SELECT DISTINCT host FROM pillarbox.queue
        WHERE lease_until >= clock_timestamp() AND NOT taken ORDER BY host";
    all(&client.query_typed(ask, &[]).await?, |answer| answer.try_get(0).map(Some))
}

/// A page of the queue, or of all of them, behind `after`.
pub(super) async fn messages(
    client: &Client,
    queue: Option<i64>,
    after: Option<Id>,
    limit: i64,
) -> Result<Vec<Row>, Error> {
    let after = after.map(|after| id(&after)).unwrap_or_default();
    let ask = "SELECT id, dot, record FROM pillarbox.message
        WHERE ($1 IS NULL OR queue = $1) AND id > $2 ORDER BY id LIMIT $3";
    let values: [Value<'_>; 3] =
        [(&queue, Type::INT8), (&after, Type::BYTEA), (&limit, Type::INT8)];
    all(&client.query_typed(ask, &values).await?, row)
}

/// A page of what was taken over and is not known to be known.
pub(super) async fn fresh(client: &Client, queue: i64, limit: i64) -> Result<Vec<Row>, Error> {
    let ask = "SELECT id, dot, record FROM pillarbox.message
        WHERE queue = $1 AND fresh ORDER BY id LIMIT $2";
    let values: [Value<'_>; 2] = [(&queue, Type::INT8), (&limit, Type::INT8)];
    all(&client.query_typed(ask, &values).await?, row)
}

/// These are known.
pub(super) async fn known(client: &Client, queue: i64, ids: &[Id]) -> Result<(), Error> {
    let ids = ids_of(ids);
    let values: [Value<'_>; 2] = [(&queue, Type::INT8), (&ids, Type::BYTEA_ARRAY)];
    let statement = "UPDATE pillarbox.message SET fresh = false WHERE queue + 0 = $1 AND fresh AND id = ANY($2)";
    changed(client, statement, &values).await.map(drop)
}

/// Whether any queue has the message.
pub(super) async fn is_there(client: &Client, of: &Id) -> Result<bool, Error> {
    let of = id(of);
    let ask = "SELECT EXISTS (SELECT FROM pillarbox.message WHERE id = $1)";
    client.query_typed_one(ask, &[(&of, Type::BYTEA)]).await?.try_get(0)
}

/// The messages of the queue whose octets are there.
pub(super) async fn ids(client: &Client, queue: i64) -> Result<Vec<Id>, Error> {
    let ask = "SELECT m.id FROM pillarbox.message m JOIN pillarbox.body b ON b.message = m.id
        WHERE m.queue = $1 AND b.part = 0";
    all(&client.query_typed(ask, &[(&queue, Type::INT8)]).await?, |answer| id_of(answer, 0))
}

pub(super) async fn standings(client: &Client, host: &str) -> Result<Vec<Standing>, Error> {
    let ask = "SELECT account, state FROM pillarbox.standing WHERE host = $1";
    let found = client.query_typed(ask, &[(&host, Type::TEXT)]).await?;
    all(&found, |answer| Ok(Some((answer.try_get(0)?, answer.try_get(1)?))))
}

/// Writes a new message without its octets.
pub(super) async fn insert(
    client: &Client,
    queue: i64,
    new: &Id,
    (record, claim): &Written,
) -> Result<(), Error> {
    let new = id(new);
    let values: [Value<'_>; 4] =
        [(&new, Type::BYTEA), (&queue, Type::INT8), (claim, Type::INT8), (record, Type::BYTEA)];
    let statement =
        "INSERT INTO pillarbox.message (id, queue, claim, record) VALUES ($1, $2, $3, $4)";
    changed(client, statement, &values).await.map(drop)
}

/// Writes a part of its octets.
pub(super) async fn insert_part(
    client: &Client,
    of: &Id,
    part: i32,
    octets: &[u8],
) -> Result<(), Error> {
    let of = id(of);
    let values: [Value<'_>; 3] = [(&of, Type::BYTEA), (&part, Type::INT4), (&octets, Type::BYTEA)];
    let statement = "INSERT INTO pillarbox.body (message, part, octets) VALUES ($1, $2, $3)";
    changed(client, statement, &values).await.map(drop)
}

pub(super) async fn part(client: &Client, of: &Id, part: i32) -> Result<Option<Vec<u8>>, Error> {
    let of = id(of);
    let ask = "SELECT octets FROM pillarbox.body WHERE message = $1 AND part = $2";
    let found = client.query_typed_opt(ask, &[(&of, Type::BYTEA), (&part, Type::INT4)]).await?;
    found.map(|row| row.try_get(0)).transpose()
}

/// Says whether the message is there, of this queue and claimed.
pub(super) async fn note_dot(client: &Client, queue: i64, of: &Id) -> Result<bool, Error> {
    let of = id(of);
    let statement = "UPDATE pillarbox.message SET dot = true
        WHERE id = $1 AND queue + 0 = $2 AND claim IS NOT NULL";
    Ok(changed(client, statement, &[(&of, Type::BYTEA), (&queue, Type::INT8)]).await? > 0)
}

pub(super) async fn remove(client: &Client, queue: i64, ids: &[Id]) -> Result<(), Error> {
    let ids = ids_of(ids);
    let values: [Value<'_>; 2] = [(&queue, Type::INT8), (&ids, Type::BYTEA_ARRAY)];
    let statement = "DELETE FROM pillarbox.message WHERE queue + 0 = $1 AND id = ANY($2)";
    changed(client, statement, &values).await.map(drop)
}

/// Writes everything; says whether all of it was this queue's.
pub(super) async fn write(
    client: &Client,
    (queue, host): (i64, &str),
    write: &Write,
) -> Result<bool, Error> {
    let mut is_whole = true;
    if !write.put.is_empty() {
        let ids = ids_of(write.put.iter().map(|(id, _)| id));
        let claims: Vec<_> = write.put.iter().map(|(_, (_, claim))| *claim).collect();
        let records: Vec<_> = write.put.iter().map(|(_, (record, _))| record.as_slice()).collect();
        let values: [Value<'_>; 4] = [
            (&queue, Type::INT8),
            (&ids, Type::BYTEA_ARRAY),
            (&claims, Type::INT8_ARRAY),
            (&records, Type::BYTEA_ARRAY),
        ];
        is_whole = changed(client, PUT, &values).await? == write.put.len() as u64;
    }
    if !write.removed.is_empty() {
        remove(client, queue, &write.removed).await?;
    }
    if !write.standings.is_empty() {
        let (accounts, states): (Vec<_>, Vec<_>) =
            write.standings.iter().map(|(key, state)| (key.as_slice(), state.as_slice())).unzip();
        let values: [Value<'_>; 3] =
            [(&host, Type::TEXT), (&accounts, Type::BYTEA_ARRAY), (&states, Type::BYTEA_ARRAY)];
        changed(client, STAND, &values).await?;
    }
    write_history(client, write).await?;
    Ok(is_whole)
}

async fn write_history(client: &Client, write: &Write) -> Result<(), Error> {
    if !write.ended.is_empty() {
        let ids = ids_of(write.ended.iter().map(|(id, ..)| id));
        let ends: Vec<_> = write.ended.iter().map(|(_, at, _)| *at).collect();
        let records: Vec<_> = write.ended.iter().map(|(.., record)| record.as_slice()).collect();
        let values: [Value<'_>; 3] =
            [(&ids, Type::BYTEA_ARRAY), (&ends, Type::INT8_ARRAY), (&records, Type::BYTEA_ARRAY)];
        let statement = "INSERT INTO pillarbox.history (id, ended, record)
            SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::bytea[])";
        changed(client, statement, &values).await?;
    }
    if !write.forgotten.is_empty() {
        let ids = ids_of(&write.forgotten);
        let statement = "DELETE FROM pillarbox.history WHERE id = ANY($1)";
        changed(client, statement, &[(&ids, Type::BYTEA_ARRAY)]).await?;
    }
    if !write.moved.is_empty() {
        let ids = ids_of(write.moved.iter().map(|(id, _)| id));
        let ends: Vec<_> = write.moved.iter().map(|(_, at)| *at).collect();
        let values: [Value<'_>; 2] = [(&ids, Type::BYTEA_ARRAY), (&ends, Type::INT8_ARRAY)];
        let statement = "UPDATE pillarbox.history AS old SET ended = new.ended
            FROM unnest($1::bytea[], $2::bigint[]) AS new (id, ended) WHERE old.id = new.id";
        changed(client, statement, &values).await?;
    }
    Ok(())
}

/// A finished message.
pub(super) async fn finished(client: &Client, of: &Id) -> Result<Option<Vec<u8>>, Error> {
    let of = id(of);
    let ask = "SELECT record FROM pillarbox.history WHERE id = $1 LIMIT 1";
    let found = client.query_typed_opt(ask, &[(&of, Type::BYTEA)]).await?;
    found.map(|row| row.try_get(0)).transpose()
}

/// The first of them.
pub(super) async fn oldest_finished(client: &Client) -> Result<Option<Id>, Error> {
    let ask = "SELECT id FROM pillarbox.history ORDER BY id LIMIT 1";
    let found = client.query_typed_opt(ask, &[]).await?;
    Ok(found.map(|row| id_of(&row, 0)).transpose()?.flatten())
}

/// A page of them before `before`, the newest first.
pub(super) async fn history(
    client: &Client,
    before: Option<Id>,
    limit: i64,
) -> Result<Vec<(Id, Vec<u8>)>, Error> {
    // Longer than any id, and behind all of them.
    let before = before.map_or_else(|| vec![u8::MAX; 17], |before| id(&before));
    let ask = "SELECT id, record FROM pillarbox.history WHERE id < $1 ORDER BY id DESC LIMIT $2";
    let found = client.query_typed(ask, &[(&before, Type::BYTEA), (&limit, Type::INT8)]).await?;
    all(&found, |answer| {
        let id = id_of(answer, 0)?;
        Ok(id.zip(Some(answer.try_get(1)?)))
    })
}

/// Ends before a time, the oldest first, or after it, the latest first.
pub(super) async fn ends(
    client: &Client,
    (at_ms, is_before): (i64, bool),
    limit: i64,
) -> Result<Vec<(i64, Id)>, Error> {
    let ask = if is_before {
        "SELECT ended, id FROM pillarbox.history WHERE ended < $1 ORDER BY ended, id LIMIT $2"
    } else {
        "SELECT ended, id FROM pillarbox.history WHERE ended > $1 ORDER BY ended DESC, id DESC LIMIT $2"
    };
    ends_of(&client.query_typed(ask, &[(&at_ms, Type::INT8), (&limit, Type::INT8)]).await?)
}

/// Ends beyond the `most` last ones, the oldest first. One statement sees one moment.
pub(super) async fn ends_beyond(
    client: &Client,
    most: i64,
    limit: i64,
) -> Result<Vec<(i64, Id)>, Error> {
    let ask = "SELECT ended, id FROM pillarbox.history ORDER BY ended, id
        LIMIT least($2, greatest((SELECT count(*) FROM pillarbox.history) - $1, 0))";
    ends_of(&client.query_typed(ask, &[(&most, Type::INT8), (&limit, Type::INT8)]).await?)
}

fn ends_of(found: &[Answer]) -> Result<Vec<(i64, Id)>, Error> {
    all(found, |answer| {
        let at = answer.try_get(0)?;
        Ok(id_of(answer, 1)?.map(|id| (at, id)))
    })
}
