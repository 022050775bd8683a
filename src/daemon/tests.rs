//! A week with several accounts: the daemon's pools over one queue, each before a look-alike of its own, which fail in turn.
//!
//! What it must show: nothing is lost and nothing sent twice but for a lost answer, no account's day is overdrawn, whoever
//! has begun with a message keeps it, and mail is back with its own account as soon as that works again.

#[path = "../../tests/support/lookalike_clock.rs"]
mod lookalike_clock;

use std::{collections::BTreeMap, fmt::Write as _, path::Path, sync::Arc, time::Duration};

use fastrand::Rng;
use tokio::task::JoinSet;

use self::lookalike_clock::lookalike_clock;
use super::Pools;
use crate::{
    budget::{AccountKey, MAIN},
    clock::{Clock, ManualClock, SystemClock, Timestamp},
    delivery::{PoolHandle, Provider},
    message::envelope::{Envelope, Lane},
    queue::{
        Queue, fixtures::envelope, id::QueueId, routes::FailOver, ruled::Ruled,
        state::AccountCondition,
    },
    sandbox::{self, APP_PASSWORD, Accepted, Failure, Sandbox, Stage},
    settings::{self, Settings},
    shutdown::{Phase, Shutdown},
    tasks::Mishaps,
};

const START: Timestamp = Timestamp(1_800_000_000_000);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);
/// How long an account is paused before another stands in for it.
const FAIL_OVER_AFTER: Duration = MINUTE;
/// Recipients a day of each account: fewer than come on a full day, so that the budget binds.
const LIMIT: u32 = 60;
/// One trouble every three hours.
const EPISODE: Duration = Duration::from_secs(3 * 3_600);
const EPISODES: u32 = 7 * 24 / 3;
/// Moments of an episode at which mail comes.
const MOMENTS: u32 = 12;
/// The least step of the clock.
const STEP: Duration = Duration::from_secs(5);
/// How long real I/O may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// Which mail takes a route: its accounts, when others stand in, and of a hundred moments how many bring some.
struct Route {
    name: Option<&'static str>,
    accounts: &'static [&'static str],
    fail_over: FailOver,
    chance: u32,
}

const fn route(
    name: &'static str,
    accounts: &'static [&'static str],
    fail_over: FailOver,
    chance: u32,
) -> Route {
    Route { name: Some(name), accounts, fail_over, chance }
}

const NO_ROUTE: Route =
    Route { name: None, accounts: &[MAIN], fail_over: FailOver::Never, chance: 30 };
const OF_TWO: [Route; 4] = [
    route("shop", &["second", MAIN], FailOver::Both, 35),
    route("alarms", &["second", MAIN], FailOver::Paused, 20),
    route("letters", &["second"], FailOver::Never, 15),
    NO_ROUTE,
];
const OF_THREE: [Route; 4] = [
    route("shop", &["second", MAIN], FailOver::Both, 50),
    route("alarms", &["third", "second", MAIN], FailOver::Paused, 45),
    route("letters", &["third"], FailOver::Never, 20),
    NO_ROUTE,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    LoginRefused,
    DayFull,
    Unreachable,
    Busy,
    Uncertain,
}

impl Trouble {
    const ALL: [Self; 5] =
        [Self::LoginRefused, Self::DayFull, Self::Unreachable, Self::Busy, Self::Uncertain];

    /// Orders it of a look-alike.
    fn strike(self, sandbox: &Sandbox, random: &mut Rng) {
        let reply = |text: &str| Failure::Reply(text.to_owned());
        match self {
            Self::LoginRefused => sandbox.fail_always(
                Stage::Auth,
                reply("535 5.7.8 Username and Password not accepted. {id} - gsmtp"),
            ),
            Self::DayFull => sandbox.fail_always(
                Stage::Mail,
                reply("550 5.4.5 Daily user sending limit exceeded. {id} - gsmtp"),
            ),
            Self::Unreachable => sandbox.fail_always(Stage::Connect, Failure::Drop),
            Self::Busy => sandbox.fail_always(
                Stage::Mail,
                Failure::ReplyAndClose("421 4.4.5 Server busy, try again later. {id}".to_owned()),
            ),
            Self::Uncertain => {
                for _ in 0..random.u32(1..4) {
                    let stored = random.bool();
                    let failure = if stored { Failure::StoreAndDrop } else { Failure::Drop };
                    sandbox.fail_next(Stage::Dot, failure);
                }
            }
        }
        // What must show at a new connection.
        if matches!(self, Self::LoginRefused | Self::Unreachable) {
            sandbox.disconnect_all();
        }
    }
}

/// How an account stands when nothing is on its way.
#[derive(Clone, Copy, Debug, Default)]
struct Stand {
    /// Since when it sends nothing, and whether because its upstream calls the day full.
    shut: Option<(Timestamp, bool)>,
    /// Recipients that its day has left.
    room: u32,
    /// Messages that its pool has tried since it was started.
    attempts: u64,
}

impl Stand {
    /// Whether all that was left may have been reserved for a moment before `then`: an attempt that fails gives it back.
    fn was_reserved_before(self, then: Self) -> bool {
        let begun = then.attempts.checked_sub(self.attempts).unwrap_or(then.attempts);
        begun > 0 && begun >= u64::from(self.room)
    }

    /// Whether another may have its mail.
    fn lets_another(self, fail_over: FailOver, now: Timestamp) -> bool {
        let is_long =
            |(since, full): (Timestamp, bool)| !full && now.since(since) >= FAIL_OVER_AFTER;
        let is_paused = self.shut.is_some_and(is_long);
        let is_spent = self.room == 0 || self.shut.is_some_and(|(_, full)| full);
        match fail_over {
            FailOver::Never => false,
            FailOver::Paused => is_paused,
            FailOver::Spent => is_spent,
            FailOver::Both => is_paused || is_spent,
        }
    }

    /// Whether it can send. Who cannot, for whatever reason, stands in for nobody.
    fn can_send(self) -> bool {
        self.shut.is_none() && self.room > 0
    }
}

struct Account {
    name: &'static str,
    key: AccountKey,
    sandbox: Sandbox,
    /// At the last look.
    stood: Stand,
    /// Messages of its look-alike that were looked at.
    seen: usize,
}

struct Mail {
    id: QueueId,
    route: usize,
    at: Timestamp,
    /// The account that may have sent it.
    begun_by: Option<AccountKey>,
    /// An answer to its final dot was lost.
    was_uncertain: bool,
    /// How often a person has let it go although nobody knows whether it has arrived.
    released: usize,
    /// It has met a refusal itself, so that it waits behind the others.
    was_refused: bool,
    copies: usize,
    is_done: bool,
}

struct Running {
    handles: Vec<(AccountKey, PoolHandle)>,
    shutdown: Shutdown,
    tasks: JoinSet<()>,
}

/// What has happened, so that a week without a test's cases is no pass.
#[derive(Debug, Default)]
struct Figures {
    stood_in: BTreeMap<&'static str, u32>,
    uncertain: u32,
    second_copies: u32,
    restarts: u32,
    spent: u32,
    /// The longest wait of mail that was not refused itself while an account had its route and worked.
    slowest: Duration,
}

struct Week {
    clock: ManualClock,
    settings: Settings,
    store: Arc<Queue>,
    accounts: Vec<Account>,
    routes: &'static [Route],
    /// Since when the account that has the mail of each route works.
    served_since: Vec<Option<Timestamp>>,
    running: Option<Running>,
    random: Rng,
    /// By Message-ID.
    sent: BTreeMap<String, Mail>,
    /// The account whose final dots go without an answer.
    struck: Option<AccountKey>,
    figures: Figures,
    _directory: tempfile::TempDir,
}

impl Week {
    async fn new(names: &[&'static str], routes: &'static [Route], seed: u64) -> Self {
        let clock = ManualClock::new(START);
        let directory = tempfile::tempdir().unwrap();
        let mut accounts = Vec::new();
        for name in names {
            let sandbox = Sandbox::start(sandbox::Options {
                clock: lookalike_clock(&clock),
                recipients_per_day: LIMIT,
                ..sandbox::Options::default()
            });
            let (sandbox, key) = (sandbox.await.unwrap(), AccountKey::of(name));
            accounts.push(Account { name, key, sandbox, stood: Stand::default(), seen: 0 });
        }
        let mut settings =
            settings::judge(Path::new("/x/relay.toml"), text(&accounts, routes, directory.path()))
                .unwrap();
        // The host says nothing of what they look like.
        settings.delivery.provider = Provider::Gmail;
        let others = settings.accounts.iter_mut();
        others.for_each(|other| other.delivery.provider = Provider::Gmail);
        let store = Arc::new(Queue::in_memory(Arc::new(clock.clone()), 1 << 30));
        let mut week = Self {
            clock,
            settings,
            store,
            accounts,
            routes,
            served_since: vec![None; routes.len()],
            running: None,
            random: Rng::with_seed(seed),
            sent: BTreeMap::new(),
            struck: None,
            figures: Figures::default(),
            _directory: directory,
        };
        week.start().await;
        week
    }

    /// As a daemon starts.
    async fn start(&mut self) {
        self.store.set_accounts(self.settings.routes());
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let mut pools = Pools::new(&self.settings, &self.store, &clock, &Mishaps::default());
        pools.restore().await;
        let (handles, shutdown, mut tasks) = (pools.handles(), Shutdown::new(), JoinSet::new());
        for pool in pools.into_all() {
            tasks.spawn(pool.run(shutdown.watch()));
        }
        self.running = Some(Running { handles, shutdown, tasks });
    }

    /// The process ends, in order or not, and another one goes on with what is on disk.
    async fn restart(&mut self) {
        let mut running = self.running.take().unwrap();
        let is_ordered = self.random.bool();
        running.shutdown.advance(if is_ordered { Phase::Draining } else { Phase::Immediate });
        while let Some(ended) = running.tasks.join_next().await {
            ended.unwrap();
        }
        if self.random.bool() {
            self.clock.reboot();
        }
        self.store = Arc::new(self.store.killed().await);
        self.figures.restarts += 1;
        self.start().await;
    }

    fn handle(&self, account: AccountKey) -> &PoolHandle {
        let handles = &self.running.as_ref().unwrap().handles;
        &handles.iter().find(|(key, _)| *key == account).unwrap().1
    }

    async fn submit(&mut self, route: usize) {
        let number = self.sent.len();
        let name = format!("<{number}@week.example>");
        let envelope = Envelope {
            // Nobody is suspected for what another has met.
            reverse_path: Some(format!("cron{number}@host.example").parse().unwrap()),
            forward_paths: vec![format!("ok{number}@example.net").parse().unwrap()],
            ..envelope(self.clock.wall())
        };
        let mut draft = self.store.begin(envelope).unwrap();
        let body = format!("Message-ID: {name}\r\nDate: x\r\nSubject: week\r\n\r\nhello\r\n");
        draft.write(body.as_bytes()).await.unwrap();
        let of_route = self.routes[route].name.map(str::to_owned);
        draft.ruled(Ruled { route: of_route, ..Ruled::default() });
        let id = self.store.enqueue(draft).await.unwrap().id();
        let mail = Mail {
            id,
            route,
            at: self.clock.wall(),
            begun_by: None,
            was_uncertain: false,
            released: 0,
            was_refused: false,
            copies: 0,
            is_done: false,
        };
        self.sent.insert(name, mail);
    }

    /// Waits until no pool has anything to do at this time.
    async fn until_still(&self) {
        const TURNS: usize = 20;
        let (real, mut before, mut same) = (SystemClock::new(), None, 0);
        let began = real.now().since_boot_ms;
        while same < 3 {
            let handles = &self.running.as_ref().unwrap().handles;
            let statuses: Vec<_> = handles.iter().map(|(_, handle)| handle.status()).collect();
            let is_idle = statuses.iter().all(|status| status.in_flight.is_empty());
            let present: Vec<_> =
                statuses.iter().map(|status| (status.counters, status.next)).collect();
            let is_same = is_idle && before.as_ref() == Some(&present);
            same = if is_same { same + 1 } else { 0 };
            before = Some(present);
            if !is_idle {
                real.sleep(Duration::from_millis(1)).await;
            }
            // The queue answers in order: what was asked of it before has its answer when this has.
            let nobody = QueueId::from_bytes([0; 16]);
            assert!(self.store.retry(nobody, self.clock.wall()).await.is_err());
            for _ in 0..TURNS {
                tokio::task::yield_now().await;
            }
            let waited = Duration::from_millis(real.now().since_boot_ms - began);
            assert!(waited < PATIENCE, "never still: {statuses:#?}");
        }
    }

    async fn stand(&self, account: AccountKey) -> Stand {
        let now = self.clock.now();
        let state = self.handle(account).status().account;
        let is_shut = state.condition != AccountCondition::Open;
        let own = self.accounts.iter().find(|one| one.key == account).unwrap();
        let before = own.stood.shut;
        let is_refused = state.condition == AccountCondition::PausedCredentials;
        let username = match own.name {
            MAIN => "upstream.username".to_owned(),
            name => format!("{name}'s username"),
        };
        let is_of_it = !is_refused || state.remedy.contains(&username);
        assert!(is_of_it, "{}: {}", own.name, state.remedy);
        let since = before.map_or(state.since, |(since, _)| since);
        let is_full = state.condition == AccountCondition::PausedQuota;
        // Less where the upstream has turned out to allow less.
        let limit = self.handle(account).pacing().0.limit_of(Lane::Normal);
        let ledger = self.store.ledger(account, now, limit).await.unwrap();
        let attempts = self.handle(account).status().counters.attempts;
        Stand { shut: is_shut.then_some((since, is_full)), room: ledger.room, attempts }
    }

    /// Looks at everything once nothing moves any more.
    async fn look(&mut self) {
        self.until_still().await;
        let mut stands = BTreeMap::new();
        for account in &self.accounts {
            stands.insert(account.name, self.stand(account.key).await);
        }
        for number in 0..self.accounts.len() {
            let account = &mut self.accounts[number];
            let accepted = account.sandbox.mailbox().accepted();
            let (name, seen) = (account.name, std::mem::replace(&mut account.seen, accepted.len()));
            for mail in &accepted[seen..] {
                self.arrived(name, mail, &stands);
            }
        }
        for account in &mut self.accounts {
            account.stood = stands[account.name];
            self.figures.spent += u32::from(account.stood.room == 0);
        }
        self.look_at_the_waiting().await;
    }

    /// A look-alike has taken a message: no other may have begun with it, and it has to be its own account's, or that and
    /// all before this one let another have it.
    fn arrived(
        &mut self,
        name: &'static str,
        accepted: &Accepted,
        stands: &BTreeMap<&'static str, Stand>,
    ) {
        let (now, key) = (self.clock.wall(), AccountKey::of(name));
        let mail = self.sent.get_mut(accepted.message_id.as_deref().unwrap()).unwrap();
        let route = &self.routes[mail.route];
        assert!(
            mail.begun_by.is_none_or(|other| other == key),
            "{name} has sent {:?}, which another had begun",
            accepted.message_id
        );
        mail.begun_by = Some(key);
        mail.copies += 1;
        self.figures.second_copies += u32::from(mail.copies == 2);
        let place = route.accounts.iter().position(|own| *own == name);
        let place = place.unwrap_or_else(|| panic!("{name} has mail of {:?}", route.name));
        // What had begun may come again at any time.
        if place == 0 || mail.copies > 1 || mail.was_uncertain {
            return;
        }
        for (number, earlier) in route.accounts[..place].iter().enumerate() {
            let stood = self.accounts.iter().find(|one| one.name == *earlier).unwrap().stood;
            let present = stands[earlier];
            let is_let = [stood, present].iter().any(|one| match number {
                0 => one.lets_another(route.fail_over, now),
                _ => !one.can_send(),
            });
            let minds_days =
                number > 0 || matches!(route.fail_over, FailOver::Spent | FailOver::Both);
            assert!(
                is_let || minds_days && stood.was_reserved_before(present),
                "{name} has sent mail of {:?} though {earlier} works: {stood:?}, now {present:?}",
                route.name,
            );
        }
        *self.figures.stood_in.entry(name).or_default() += 1;
    }

    /// The account that has a route, when it works.
    fn serving(&self, route: &Route) -> bool {
        let now = self.clock.wall();
        let stood = |name: &str| self.accounts.iter().find(|one| one.name == name).unwrap().stood;
        let mut own = route.accounts.iter().map(|name| stood(name));
        own.next().is_some_and(|first| match first.lets_another(route.fail_over, now) {
            true => own.any(Stand::can_send),
            false => first.can_send(),
        })
    }

    async fn look_at_the_waiting(&mut self) {
        let now = self.clock.wall();
        for (number, route) in self.routes.iter().enumerate() {
            let since = self.served_since[number];
            self.served_since[number] = self.serving(route).then(|| since.unwrap_or(now));
        }
        let (store, struck) = (Arc::clone(&self.store), self.struck);
        for (name, mail) in self.sent.iter_mut().filter(|(_, mail)| !mail.is_done) {
            let message = store.show(mail.id).await.unwrap().expect("no message is lost");
            let recipient = &message.recipients()[0];
            match recipient.state.name() {
                "relayed" => mail.is_done = true,
                "uncertain" | "held" => {
                    self.figures.uncertain += u32::from(!mail.was_uncertain);
                    mail.was_uncertain = true;
                    mail.begun_by = mail.begun_by.or(struck);
                }
                "queued" => {}
                state => panic!("{name} is {state}: {recipient:?}"),
            }
            mail.was_refused |= recipient.attempts > 0 || recipient.last_reply.is_some();
            let Some(since) = self.served_since[mail.route].filter(|_| !mail.is_done) else {
                continue;
            };
            if !mail.was_refused && !mail.was_uncertain {
                let waited = now.since(since.max(mail.at));
                self.figures.slowest = self.figures.slowest.max(waited);
                assert!(
                    waited <= MINUTE,
                    "{name} of {:?} waits for {waited:?}: {:?}",
                    self.routes[mail.route].name,
                    message.record
                );
            }
        }
    }

    /// Goes on until then, from one departure to the next.
    async fn until(&mut self, target: Timestamp) {
        loop {
            self.look().await;
            let now = self.clock.wall();
            if now >= target {
                return;
            }
            let handles = &self.running.as_ref().unwrap().handles;
            let departures = handles.iter().filter_map(|(_, handle)| handle.status().next);
            let next = departures.map(|departure| departure.at).min().unwrap_or(target);
            let next = next.max(now.after(STEP)).min(target);
            self.clock.advance(next.since(now));
        }
    }

    async fn episode(&mut self, number: usize, trouble: Trouble) {
        let began = self.clock.wall();
        let account = &self.accounts[number];
        let key = account.key;
        trouble.strike(&account.sandbox, &mut self.random);
        self.struck = (trouble == Trouble::Uncertain).then_some(key);
        let (is_over, restarts) = (self.random.u32(3..MOMENTS), self.random.u32(0..5 * MOMENTS));
        for moment in 0..MOMENTS {
            for route in 0..self.routes.len() {
                if self.random.u32(0..100) < self.routes[route].chance {
                    self.submit(route).await;
                }
            }
            if moment == restarts {
                self.restart().await;
            }
            if moment == is_over {
                self.accounts[number].sandbox.forget_failures();
                if self.random.bool() {
                    self.handle(key).resume().await;
                }
            }
            self.until(began.after(EPISODE * (moment + 1) / MOMENTS)).await;
        }
        self.accounts[number].sandbox.forget_failures();
        self.struck = None;
    }

    async fn run(&mut self) {
        let mut troubles = Vec::new();
        for _ in 0..EPISODES {
            if troubles.is_empty() {
                let of_one = |account| Trouble::ALL.map(|trouble| (account, trouble));
                troubles = (0..self.accounts.len()).flat_map(of_one).collect();
                self.random.shuffle(&mut troubles);
            }
            let (account, trouble) = troubles.pop().unwrap();
            self.episode(account, trouble).await;
        }
        for account in &self.accounts {
            self.handle(account.key).resume().await;
        }
        for _ in 0..5 * 24 {
            self.until(self.clock.wall().after(HOUR)).await;
            // A person lets go what is held.
            let (store, now) = (Arc::clone(&self.store), self.clock.wall());
            for mail in self.sent.values_mut().filter(|mail| !mail.is_done) {
                let message = store.show(mail.id).await.unwrap().expect("no message is lost");
                if message.recipients()[0].state.name() == "held" {
                    store.retry(mail.id, now).await.unwrap();
                    mail.released += 1;
                    // Who lets it go takes the route that it has now.
                    mail.begun_by = None;
                }
            }
        }
    }

    fn check(&self) {
        for (name, mail) in &self.sent {
            assert!(mail.is_done, "{name} has not left");
            // By itself it is sent once more at most.
            let most = if mail.was_uncertain { 2 + mail.released } else { 1 };
            assert!((1..=most).contains(&mail.copies), "{name} came {} times", mail.copies);
        }
        for account in &self.accounts {
            check_the_days(account.name, &account.sandbox.mailbox().accepted());
            let counters = account.sandbox.mailbox().counters();
            assert_eq!(counters.quota_refusals, 0, "{} stops first", account.name);
        }
        let figures = &self.figures;
        let is_real = figures.stood_in.values().sum::<u32>() > 20
            && figures.uncertain > 5
            && figures.second_copies > 0
            && figures.restarts > 3
            && figures.spent > 0;
        assert!(is_real, "too little has happened: {figures:?}");
        println!("{} messages, {figures:?}", self.sent.len());
    }
}

/// No 24 hours over the limit.
fn check_the_days(name: &str, accepted: &[Arc<Accepted>]) {
    for (position, last) in accepted.iter().enumerate() {
        let now = Timestamp(last.at.0);
        let window = accepted[..=position].iter().rev();
        let window = window.take_while(|mail| now.since(Timestamp(mail.at.0)) < DAY);
        let sent: usize = window.map(|mail| mail.rcpt_to.len()).sum();
        assert!(sent <= LIMIT as usize, "{name}: {sent} recipients in 24 hours");
    }
}

/// The configuration: the keys of an account are the same wherever it stands.
fn text(accounts: &[Account], routes: &[Route], directory: &Path) -> String {
    let budget = format!(
        "recipients_per_day = {LIMIT}\nowner_reserve = 0\nnotice_reserve = 0\npace_per_minute = 0\n"
    );
    let mut text = format!("[budget]\n{budget}");
    for account in accounts {
        let ca_file = directory.join(format!("{}.pem", account.name));
        std::fs::write(&ca_file, account.sandbox.certificate_authority_pem()).unwrap();
        let (name, port) = (account.name, account.sandbox.starttls_address().port());
        let head = match name {
            MAIN => "[upstream]\n".to_owned(),
            _ => format!("[[account]]\nname = {name:?}\n{budget}"),
        };
        write!(
            text,
            "{head}host = \"localhost\"\nport = {port}\nca_file = {ca_file:?}\nusername = \"{name}@gmail.com\"\n\
             password = {APP_PASSWORD:?}\nehlo_name = \"relay.example.org\"\nlogins_per_hour = 100\n"
        )
        .unwrap();
    }
    for Route { name, accounts, fail_over, .. } in routes {
        let Some(name) = name else { continue };
        let word = format!("{fail_over:?}").to_lowercase();
        write!(
            text,
            "[[route]]\nname = {name:?}\naccounts = {accounts:?}\nfail_over = {word:?}\nmatch = {{ recipient = \"{name}@x.example\" }}\n"
        )
        .unwrap();
    }
    text
}

async fn live_through(names: &[&'static str], routes: &'static [Route], usual: u64) {
    let seed = std::env::var("PILLARBOX_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or(usual);
    println!("PILLARBOX_TEST_SEED={seed}");
    let mut week = Week::new(names, routes, seed).await;
    week.run().await;
    week.check();
}

#[tokio::test]
async fn two_accounts_that_fail_in_turn_share_a_week_of_mail_and_each_has_its_own_back() {
    live_through(&[MAIN, "second"], &OF_TWO, 1).await;
}

#[tokio::test]
async fn three_accounts_that_fail_in_turn_share_a_week_of_mail_and_each_has_its_own_back() {
    live_through(&[MAIN, "second", "third"], &OF_THREE, 2).await;
}

#[tokio::test]
async fn mail_that_finds_the_day_full_leaves_within_minutes_by_the_account_that_stands_in() {
    let mut week = Week::new(&[MAIN, "second"], &OF_TWO, 1).await;
    Trouble::DayFull.strike(&week.accounts[1].sandbox, &mut week.random);
    week.submit(0).await;
    week.until(week.clock.wall().after(MINUTE * 5)).await;
    assert!(week.sent.values().all(|mail| mail.is_done), "{:?}", week.store.totals());
    assert_eq!(week.accounts[0].sandbox.mailbox().accepted().len(), 1);
}
