//! The pages of logins in PostgreSQL: read, judged in memory and written in one transaction under the lock of their account's row.
//!
//! Rule: as in `postgres.rs`. What is decided, `logins.rs` decides. Must not know who logs in.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use tokio_postgres::{Client, Row, types::Type};

use super::{
    books::Trouble,
    hosts::LoggedIn,
    link::{Link, said},
    logins::{Login, LoginAnswer, LoginAsk, LoginBooks, Page, Renewal, Renewed, Spans, Wish},
    postgres::{Postgres, Value, end, length},
    processes::Process,
};

/// The moment by which a page is judged, in milliseconds: the account's row keeps it from going back.
const MOMENT: &str = "
    UPDATE pillarbox.account SET latest = greatest(latest, clock_timestamp())
    WHERE name = $1 RETURNING floor(extract(epoch FROM latest) * 1000)::bigint";

const LOGINS: &str = "
    SELECT token, host, round(extract(epoch FROM at) * 1000)::bigint,
           round(extract(epoch FROM open_until) * 1000)::bigint
    FROM pillarbox.login WHERE account = $1";

const WISHES: &str = "
    SELECT host, round(extract(epoch FROM since) * 1000)::bigint,
           round(extract(epoch FROM until) * 1000)::bigint
    FROM pillarbox.login_wish WHERE account = $1";

const PUT_LOGIN: &str = "
    INSERT INTO pillarbox.login (account, token, host, at, open_until, process)
    VALUES ($1, $2, $3, to_timestamp($4::float8 / 1000), to_timestamp($5::float8 / 1000), $6)
    ON CONFLICT (account, token) DO UPDATE SET at = excluded.at, open_until = excluded.open_until";

const PUT_WISH: &str = "
    INSERT INTO pillarbox.login_wish (account, host, since, until)
    VALUES ($1, $2, to_timestamp($3::float8 / 1000), to_timestamp($4::float8 / 1000))
    ON CONFLICT (account, host) DO UPDATE SET since = excluded.since, until = excluded.until";

const REMOVE_LOGINS: &str = "DELETE FROM pillarbox.login WHERE account = $1 AND token = ANY ($2)";

const REMOVE_WISHES: &str =
    "DELETE FROM pillarbox.login_wish WHERE account = $1 AND host = ANY ($2)";

/// What each host has of each account, or waits for, for whoever looks.
const LOGGED_IN: &str = "
    SELECT account, host, sum(logins)::bigint, sum(open)::bigint, max(waits_ms)
    FROM (
        SELECT l.account, l.host,
            count(*) FILTER (WHERE l.at > greatest(a.latest, clock_timestamp()) - $2 * interval '1 millisecond') AS logins,
            count(*) FILTER (WHERE l.open_until > greatest(a.latest, clock_timestamp())) AS open,
            NULL::bigint AS waits_ms
        FROM pillarbox.login l JOIN pillarbox.account a ON a.name = l.account
        GROUP BY l.account, l.host
        UNION ALL
        SELECT w.account, w.host, 0, 0,
            (extract(epoch FROM greatest(a.latest, clock_timestamp()) - w.since) * 1000)::bigint
        FROM pillarbox.login_wish w JOIN pillarbox.account a ON a.name = w.account
        WHERE w.until > greatest(a.latest, clock_timestamp())
    ) AS part
    GROUP BY account, host ORDER BY account, host LIMIT $1";

#[async_trait]
impl LoginBooks for Postgres {
    async fn log_in(
        &self,
        account: &str,
        host: &str,
        ask: &LoginAsk,
    ) -> Result<LoginAnswer, Trouble> {
        self.judge(account, |page, now| page.log_in(now, host, ask)).await
    }

    async fn renew(
        &self,
        account: &str,
        host: &str,
        renewal: &Renewal,
    ) -> Result<Renewed, Trouble> {
        self.judge(account, |page, now| page.renew(now, host, renewal)).await
    }
}

impl Postgres {
    async fn judge<T>(
        &self,
        account: &str,
        judge: impl FnOnce(&mut Page, Duration) -> T,
    ) -> Result<T, Trouble> {
        Link::in_time(async {
            let held = self.begin(account).await?;
            let client = held.client();
            let of = [(&account as _, Type::TEXT)];
            let moment = client.query_typed_one(MOMENT, &of).await.map_err(said)?;
            let before = read(client, account).await?;
            let mut page = before.clone();
            let answer = judge(&mut page, time(&moment, 0)?);
            write(client, account, (&before, &page)).await?;
            end(held, "COMMIT").await?;
            Ok(answer)
        })
        .await
    }
}

async fn read(client: &Client, account: &str) -> Result<Page, Trouble> {
    let of = [(&account as _, Type::TEXT)];
    let mut page = Page::default();
    for row in client.query_typed(LOGINS, &of).await.map_err(said)? {
        let host = row.try_get(1).map_err(said)?;
        let login = Login { host, at: time(&row, 2)?, open_until: time(&row, 3)? };
        page.logins.insert(row.try_get(0).map_err(said)?, login);
    }
    for row in client.query_typed(WISHES, &of).await.map_err(said)? {
        let wish = Wish { since: time(&row, 1)?, until: time(&row, 2)? };
        page.wishes.insert(row.try_get(0).map_err(said)?, wish);
    }
    Ok(page)
}

/// Who has logged in, or wants to, as many as are told of.
pub(super) async fn logged_in(client: &Client, most: i64) -> Result<Vec<LoggedIn>, Trouble> {
    let counts_for = Spans::default().counts_for.as_secs_f64() * 1_000.0;
    let of = [(&most as _, Type::INT8), (&counts_for as _, Type::FLOAT8)];
    let rows = client.query_typed(LOGGED_IN, &of).await.map_err(said)?;
    let one = |row: &Row| {
        let number = |at| row.try_get::<_, i64>(at).map(i64::unsigned_abs);
        let (account, host) = (row.try_get(0)?, row.try_get(1)?);
        let waits = row.try_get::<_, Option<i64>>(4)?.map(length);
        Ok(LoggedIn { account, host, logins: number(2)?, open: number(3)?, waits })
    };
    rows.iter().map(one).collect::<Result<_, _>>().map_err(said)
}

/// Writes what has changed.
async fn write(
    client: &Client,
    account: &str,
    (before, after): (&Page, &Page),
) -> Result<(), Trouble> {
    let of_account: Value<'_> = (&account, Type::TEXT);
    let gone = gone(&before.logins, &after.logins);
    if !gone.is_empty() {
        let values = [of_account.clone(), (&gone as _, Type::INT8_ARRAY)];
        client.execute_typed(REMOVE_LOGINS, &values).await.map_err(said)?;
    }
    let gone = self::gone(&before.wishes, &after.wishes);
    if !gone.is_empty() {
        let values = [of_account.clone(), (&gone as _, Type::TEXT_ARRAY)];
        client.execute_typed(REMOVE_WISHES, &values).await.map_err(said)?;
    }
    // A row that is there keeps the process that has made it.
    let process = Process::own_name();
    for (token, login) in changed(&before.logins, &after.logins) {
        let (at, open_until) = (millis(login.at), millis(login.open_until));
        let values = [
            of_account.clone(),
            (token as _, Type::INT8),
            (&login.host as _, Type::TEXT),
            (&at as _, Type::INT8),
            (&open_until as _, Type::INT8),
            (&process as _, Type::TEXT),
        ];
        client.execute_typed(PUT_LOGIN, &values).await.map_err(said)?;
    }
    for (host, wish) in changed(&before.wishes, &after.wishes) {
        let (since, until) = (millis(wish.since), millis(wish.until));
        let values = [
            of_account.clone(),
            (host as _, Type::TEXT),
            (&since as _, Type::INT8),
            (&until as _, Type::INT8),
        ];
        client.execute_typed(PUT_WISH, &values).await.map_err(said)?;
    }
    Ok(())
}

fn gone<K: Ord + Clone, V>(before: &BTreeMap<K, V>, after: &BTreeMap<K, V>) -> Vec<K> {
    before.keys().filter(|key| !after.contains_key(key)).cloned().collect()
}

fn changed<'a, K: Ord, V: PartialEq>(
    before: &BTreeMap<K, V>,
    after: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = (&'a K, &'a V)> {
    after.iter().filter(|(key, value)| before.get(key) != Some(value))
}

/// A time in milliseconds since 1970.
fn time(row: &Row, at: usize) -> Result<Duration, Trouble> {
    let millis = row.try_get::<_, i64>(at).map_err(said)?;
    Ok(Duration::from_millis(u64::try_from(millis).unwrap_or(0)))
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
