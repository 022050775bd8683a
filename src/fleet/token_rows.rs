//! The access tokens in PostgreSQL: one row for each account and key.
//!
//! Rule: as in `postgres.rs`; each question is one statement, so no lock outlives it. Must not know what a sealed token says.

use std::time::Duration;

use async_trait::async_trait;
use tokio_postgres::types::Type;

use super::{
    books::Trouble,
    link::{Link, said},
    postgres::{Postgres, Value, length, millis},
    vault::{Kept, KeyId, SEALED_MAX, TokenBooks},
};

const TOKEN: &str = "
    SELECT number, CASE WHEN octet_length(sealed) <= $3 THEN sealed END, lasts_ms,
        (extract(epoch FROM clock_timestamp() - put_at) * 1000)::bigint
    FROM pillarbox.token WHERE account = $1 AND key_id = $2";

const LEAVE: &str = "
    INSERT INTO pillarbox.token AS t (account, key_id, fetcher, fetch_until)
    VALUES ($1, $2, $4, clock_timestamp() + $5 * interval '1 millisecond')
    ON CONFLICT (account, key_id) DO UPDATE SET fetcher = excluded.fetcher, fetch_until = excluded.fetch_until
    WHERE t.number = $3 AND (t.fetcher = $4 OR t.fetch_until IS NULL OR t.fetch_until <= clock_timestamp())";

const PUT: &str = "
    INSERT INTO pillarbox.token AS t (account, key_id, number, sealed, lasts_ms) VALUES ($1, $2, $3 + 1, $4, $5)
    ON CONFLICT (account, key_id) DO UPDATE SET number = excluded.number, sealed = excluded.sealed,
        lasts_ms = excluded.lasts_ms, put_at = clock_timestamp(), fetcher = NULL, fetch_until = NULL
    WHERE t.number = $3";

const REFUSE: &str =
    "UPDATE pillarbox.token SET sealed = NULL WHERE account = $1 AND key_id = $2 AND number = $3";

/// A day late, so that a clock that was wrong for a moment removes nothing.
const FORGET: &str = "
    DELETE FROM pillarbox.token
    WHERE put_at + lasts_ms * interval '1 millisecond' < clock_timestamp() - interval '1 day'
        AND coalesce(fetch_until, put_at) < clock_timestamp()";

#[async_trait]
impl TokenBooks for Postgres {
    async fn token(&self, account: &str, key: &KeyId) -> Result<Kept, Trouble> {
        Link::in_time(async {
            let (key, most) = (key.as_slice(), SEALED_MAX as i32);
            let of = [text(&account), octets(&key), (&most as _, Type::INT4)];
            let held = self.link.hold().await?;
            let row = held.client().query_typed_opt(TOKEN, &of).await.map_err(said)?;
            held.done();
            let Some(row) = row else { return Ok(Kept::default()) };
            let span = |at: usize| row.try_get::<_, i64>(at).map(length).map_err(said);
            Ok(Kept {
                number: row.try_get(0).map_err(said)?,
                sealed: row.try_get(1).map_err(said)?,
                lasts: span(2)?,
                age: span(3)?,
            })
        })
        .await
    }

    async fn leave_fetching_to(
        &self,
        (account, key): (&str, &KeyId),
        seen: i64,
        (fetcher, time): (i64, Duration),
    ) -> Result<bool, Trouble> {
        let (key, time) = (key.as_slice(), millis(time));
        let time = (&time as _, Type::FLOAT8);
        let values = [text(&account), octets(&key), number(&seen), number(&fetcher), time];
        self.changes_one(LEAVE, &values).await
    }

    async fn put_token(
        &self,
        (account, key): (&str, &KeyId),
        seen: i64,
        (sealed, lasts): (&[u8], Duration),
    ) -> Result<bool, Trouble> {
        let (key, lasts) = (key.as_slice(), i64::try_from(lasts.as_millis()).unwrap_or(i64::MAX));
        let values = [text(&account), octets(&key), number(&seen), octets(&sealed), number(&lasts)];
        self.changes_one(PUT, &values).await
    }

    async fn refuse_token(&self, account: &str, key: &KeyId, refused: i64) -> Result<(), Trouble> {
        let key = key.as_slice();
        self.changes_one(REFUSE, &[text(&account), octets(&key), number(&refused)]).await.map(drop)
    }

    async fn forget_tokens(&self) -> Result<(), Trouble> {
        self.changes_one(FORGET, &[]).await.map(drop)
    }
}

fn text<'a>(value: &'a &'a str) -> Value<'a> {
    (value, Type::TEXT)
}

fn octets<'a>(value: &'a &'a [u8]) -> Value<'a> {
    (value, Type::BYTEA)
}

fn number(value: &i64) -> Value<'_> {
    (value, Type::INT8)
}

impl Postgres {
    async fn changes_one(&self, statement: &str, values: &[Value<'_>]) -> Result<bool, Trouble> {
        Link::in_time(async {
            let held = self.link.hold().await?;
            let changed = held.client().execute_typed(statement, values).await.map_err(said)?;
            held.done();
            Ok(changed > 0)
        })
        .await
    }
}
