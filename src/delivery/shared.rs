//! The state that the pool, its workers and its handles share: the account, the brakes, the counts.
//!
//! Rule: each lock is held for a moment and never while waiting, but for the one that keeps the writers
//! of the account's state in order. Must not know SMTP, nor who starts workers.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, atomic::AtomicBool},
    time::Duration,
};

use tokio::sync::Notify;
use tracing::{Span, error, info, warn};

use super::{
    account::{Account, Counted, Permit},
    blame::{COSTLY_FOR, Suspects, Turn},
    credential,
    in_flight::{AllInFlight, InFlight},
    in_step::{Held, InStep},
    interrupted::Interrupted,
    oauth::{self, Tokens},
    options::{Options, PasswordSource},
    outcome::Terms,
    parting::Parting,
    port_fallback::PortFallback,
    schedule::Schedule,
    split::Splits,
    status::{Counters, DepartureReason, ERRORS_MAX, LastError, PoolStatus},
    throttle::{Logins, Pacer},
    tls::Trust,
};
use crate::{
    budget::MAIN,
    clock::{Clock, Moment},
    fleet::Share,
    handbook,
    live::Live,
    queue::{
        Claim, ClaimLimits, ClaimedMessage, Queue, QueueError, Settlement,
        id::QueueId,
        pause::Pause,
        state::{AccountCondition, AccountState},
    },
    sync::lock,
};

/// How often a settlement is offered to a store that does not take it, with waits from 0.1 s to 10 s.
const SETTLE_TRIES_MAX: u32 = 180;
/// How often the account's state is offered to the store.
const PERSIST_TRIES_MAX: u32 = 5;
/// Connections that wait for their QUIT; the pool takes them at once. More are closed without a word.
const PARTING_MAX: usize = 16;

/// What a person hears who resumes an account with a password that was refused before.
const OLD_COPY: &str = "It is tried with the same password as before: the relay has a copy that was made at its start. With a new \
                        password, restart the relay instead (systemctl restart pillarbox, or the container).";

/// What the pool, its workers and its handles share.
#[derive(Debug)]
pub(super) struct Shared {
    options: Live<Options>,
    pub(super) store: Arc<Queue>,
    pub(super) clock: Arc<dyn Clock>,
    account: InStep<Account>,
    schedule: InStep<Schedule>,
    /// Tells the pool that there may be work for one more worker, or that a wait has changed.
    pub(super) more: Notify,
    /// As many workers run as may; none needs to ask for one more.
    pub(super) full: AtomicBool,
    /// What the workers have in hand.
    pub(super) in_flight: Arc<AllInFlight>,
    pub(super) trust: Trust,
    /// For an account that logs in with tokens.
    pub(super) tokens: Option<Arc<Tokens>>,
    /// Which port is tried next.
    pub(super) port_fallback: Mutex<PortFallback>,
    /// Whether the upstream has offered SMTPUTF8 the last time; Gmail does.
    pub(super) takes_internationalized: AtomicBool,
    /// Messages that go in smaller transactions.
    pub(super) splits: Mutex<Splits>,
    /// Messages that their queue could not give, or whose final dot it could not note.
    pub(super) interrupted: Mutex<Interrupted>,
    /// Who may be what a refusal in the account's name is about.
    pub(super) suspects: Mutex<Suspects>,
    pub(super) pacer: Pacer,
    pub(super) logins: Logins,
    /// One writer of the account's state at a time, so that the last one stored is the last one.
    persisting: tokio::sync::Mutex<()>,
    /// One at a time tells the other hosts how the account stands, and hears it.
    pub(super) telling: tokio::sync::Mutex<()>,
    errors: Mutex<VecDeque<LastError>>,
    counters: Mutex<Counters>,
    last_unknown_reply: Mutex<Option<String>>,
    /// Of the login that attempts are made with.
    login_mark: Mutex<Option<u16>>,
    /// Connections to which QUIT is to be said.
    parting: Mutex<Vec<Parting>>,
    /// Tells the pool of them.
    pub(super) parted: Notify,
    /// Where the account's day is shared with other hosts.
    pub(super) fleet: Option<Arc<Share>>,
    /// Mail waits for a connection that another host has: the next worker asks for one before it claims.
    pub(super) wants_a_seat: AtomicBool,
    /// The work of its account, where there are several.
    pub(super) span: Span,
    /// Its name.
    pub(super) name: String,
}

impl Shared {
    /// Leaves a connection to the pool, which says QUIT in a task of its own: a worker has a message to
    /// settle meanwhile.
    pub(super) fn part(&self, leaving: Parting) {
        let mut parting = lock(&self.parting);
        if parting.len() < PARTING_MAX {
            parting.push(leaving);
            self.parted.notify_one();
        }
    }

    /// The connections that were left.
    pub(super) fn take_parting(&self) -> Vec<Parting> {
        std::mem::take(&mut *lock(&self.parting))
    }

    /// The present moment. It takes hold of nothing.
    pub(super) fn now(&self) -> Moment {
        self.clock.now()
    }

    /// The account, whose pause is as far ahead as before when the clock was set.
    pub(super) fn account(&self) -> MutexGuard<'_, Held<Account>> {
        self.account.lock(self.clock.as_ref())
    }

    /// The schedule, whose due time is as far ahead as before when the clock was set.
    pub(super) fn schedule(&self) -> MutexGuard<'_, Held<Schedule>> {
        self.schedule.lock(self.clock.as_ref())
    }

    /// A permit that was not used. Whoever was turned away because of it may look again.
    pub(super) fn give_back(&self, permit: Permit) {
        if self.account().give_back(permit) {
            self.more.notify_one();
        }
    }

    /// The upstream has let the attempt with this permit in: others need not wait for the end of its message.
    pub(super) fn logged_in(&self, permit: Permit) {
        if self.account().logged_in(permit) {
            self.more.notify_one();
        }
    }

    pub(super) fn new(options: Options, store: Arc<Queue>, clock: Arc<dyn Clock>) -> Self {
        let now = clock.now();
        Self {
            trust: Trust::new(options.ca_file.clone()),
            tokens: tokens(&options, &clock),
            port_fallback: Mutex::new(PortFallback::new(&options)),
            takes_internationalized: AtomicBool::new(true),
            splits: Mutex::default(),
            interrupted: Mutex::default(),
            suspects: Mutex::default(),
            pacer: Pacer::new(options.pace_per_minute, Arc::clone(&clock)),
            logins: Logins::new(options.logins_per_hour, Arc::clone(&clock)),
            account: InStep::new(Account::new(None, now.wall), now),
            schedule: InStep::new(Schedule::default(), now),
            more: Notify::new(),
            full: AtomicBool::new(false),
            in_flight: Arc::default(),
            persisting: tokio::sync::Mutex::new(()),
            telling: tokio::sync::Mutex::new(()),
            errors: Mutex::default(),
            counters: Mutex::default(),
            last_unknown_reply: Mutex::default(),
            login_mark: Mutex::default(),
            parting: Mutex::default(),
            parted: Notify::new(),
            fleet: None,
            wants_a_seat: AtomicBool::new(false),
            span: Span::none(),
            name: MAIN.to_owned(),
            options: Live::new(options),
            store,
            clock,
        }
    }

    /// What delivery is told at this moment. An attempt takes it once.
    pub(super) fn options(&self) -> Arc<Options> {
        self.options.get()
    }

    /// On what terms a worker claims: no more than the upstream has turned out to allow.
    pub(super) fn claim_limits(&self) -> ClaimLimits {
        let configured = self.options().claim_limits();
        let account = self.account();
        configured.within(account.allowance(configured.limit, account.now().wall))
    }

    /// The same for one attempt. The single recipient that asks whether the day still is full keeps to our own limit
    /// alone: others may have left room.
    pub(super) fn claim_limits_of(&self, permit: Permit) -> ClaimLimits {
        if permit.is_single() {
            ClaimLimits { recipients_max: 1, ..self.options().claim_limits() }
        } else {
            self.claim_limits()
        }
    }

    /// Whether what we have spent is to be compared with what the upstream allows.
    pub(super) fn wants_count(&self) -> bool {
        let (account, limit) = (self.account(), self.options().recipients_per_day);
        account.wants_count(limit, account.now().wall)
    }

    /// Compares them, when the message of the attempt with this licence is settled. Returns whether the account has changed.
    pub(super) async fn count_spent(
        &self,
        settled: &InFlight,
        permit: Permit,
        accepted: bool,
    ) -> bool {
        let (now, options) = (self.now(), self.options());
        let limit = options.recipients_per_day;
        // What cannot be counted now is counted when the upstream says so the next time.
        let ledger = self.store.ledger(options.account, now, limit).await;
        let Ok(view) = ledger else { return false };
        let all = view.spent.saturating_add(self.elsewhere());
        let spent = all.saturating_sub(self.in_flight.unproven_beside(settled));
        let counted = {
            let mut account = self.account();
            let now = account.now().wall;
            account.counted(permit, accepted, (spent, limit), now)
        };
        if let Counted::Early(day) = counted {
            let (counted, until) = (day.counted, day.until());
            let reason = "the upstream calls the day full before our own count does";
            let remedy = "Nothing: if it says so again, no more than that is sent in any 24 hours until then. Something else uses \
                          the account, or it allows less than budget.recipients_per_day; pillarbox status proposes a limit \
                          when this goes on.";
            warn!(counted, %limit, %until, reason, remedy, "account");
        }
        // What is tried beyond the allowance need not wait for a look at the budget.
        self.schedule().unblock(DepartureReason::Budget);
        counted != Counted::NothingNew
    }

    /// Goes on with other options. The way to the upstream and the login are those of the start: whoever changes them
    /// starts anew.
    pub(super) fn apply(&self, options: Options) {
        self.pacer.set(options.pace_per_minute);
        self.logins.set(options.logins_per_hour);
        self.options.set(options);
        self.name_what_is_allowed();
        // What has held mail back by the old ones may hold it no more.
        self.schedule().reconsider();
        self.more.notify_one();
    }

    pub(super) fn status(&self) -> PoolStatus {
        let now = self.now();
        let account = self.shown_state();
        let waiting = self.store.totals().messages > 0;
        let next = self.schedule().departure(now, account.shut_until(now.wall)).filter(|_| waiting);
        let next = next.map(|next| self.by_the_logins_of_all(next));
        let fleet = self.fleet_status();
        let is_tried_elsewhere = fleet.as_ref().is_some_and(|fleet| fleet.probing.is_some());
        PoolStatus {
            next,
            probing: self.account().is_probing(now.wall) || is_tried_elsewhere,
            in_flight: self.in_flight.list(),
            errors: lock(&self.errors).iter().cloned().collect(),
            counters: *lock(&self.counters),
            last_unknown_reply: lock(&self.last_unknown_reply).clone(),
            fleet,
            account,
        }
    }

    /// Begins a pause that a person orders, once it is stored: it is a promise. Until then nothing begins either.
    pub(super) async fn pause(&self, pause: Pause) -> Result<AccountState, QueueError> {
        let before = self.account().state().pause.clone();
        let pause = self.ordered_here(pause);
        self.account().pause(Some(pause));
        if let Err(problem) = self.persist_once().await {
            self.account().pause(before);
            self.more.notify_one();
            return Err(problem);
        }
        let heard = self.tell_the_order().await;
        // The pool learns of its end.
        self.more.notify_one();
        let state = self.shown_state();
        let remedy = if heard.is_empty() { state.remedy.clone() } else { heard.to_owned() };
        Ok(AccountState { remedy, ..state })
    }

    /// Ends every pause, also that of a person. When the login that was refused is still the one that will be tried, and this process cannot get
    /// another one, the state's remedy says so.
    pub(super) async fn resume(&self) -> AccountState {
        let refused = self.account().state().condition == AccountCondition::PausedCredentials;
        let before = *lock(&self.login_mark);
        let is_the_same = self.look_at_login().await == before && before.is_some();
        {
            let mut account = self.account();
            let now = account.now().wall;
            account.resume(now);
        }
        self.schedule().clear();
        lock(&self.suspects).clear();
        info!(account = "open", reason = "resumed by a person", "account");
        self.persist().await;
        let heard = self.tell_the_order().await;
        self.more.notify_one();
        let options = self.options();
        let login = options.login.as_ref();
        let is_a_copy =
            login.is_some_and(|login| matches!(login.password, PasswordSource::Mounted(_)));
        let remedy = if refused && is_the_same && is_a_copy { OLD_COPY } else { heard };
        AccountState { remedy: remedy.to_owned(), ..self.account_state() }
    }

    /// Whether only a command knows the password.
    pub(super) fn asks_a_command(&self) -> bool {
        let options = self.options();
        let login = options.login.as_ref();
        login.is_some_and(|login| matches!(login.password, PasswordSource::Command(_)))
    }

    /// Looks at the login that attempts will be made with.
    pub(super) async fn look_at_login(&self) -> Option<u16> {
        let mark = credential::mark(&self.options()).await;
        *lock(&self.login_mark) = mark;
        mark
    }

    /// The account's state with all that is stored of it.
    pub(super) fn account_state(&self) -> AccountState {
        let (logins, login_mark) = (self.logins.stamps(), *lock(&self.login_mark));
        AccountState { logins, login_mark, ..self.account().state().clone() }
    }

    /// How many workers may run now.
    pub(super) fn workers_max(&self) -> usize {
        let connections = self.options().connections;
        let shared = self.seats().map_or(usize::MAX, |seats| seats.workers_max());
        let account = self.account();
        account.connections(connections, account.now().wall).min(shared)
    }

    /// What decides about an attempt besides the answers.
    pub(super) fn terms(&self) -> Terms {
        let options = self.options();
        Terms {
            provider: options.provider,
            now: self.now().wall,
            lifetime: options.lifetime,
            uncertain: options.uncertain,
            resend_after: options.limits.resend_after,
            random: fastrand::f64(),
            own: false,
            again: false,
        }
    }

    /// The same for this message: whether what is said in the account's name would be its own.
    pub(super) fn terms_of(&self, claim: &ClaimedMessage) -> Terms {
        let terms = self.terms();
        let convicted = lock(&self.suspects).is_convicted(claim);
        Terms { own: self.account().is_its_own(claim, convicted), ..terms }
    }

    /// Whether a message, or its like, has cost the others something before.
    pub(super) fn is_costly(&self, claim: &ClaimedMessage) -> bool {
        let suspects = lock(&self.suspects);
        claim.setbacks.count > 0
            || suspects.is_known_for_it(claim)
            || suspects.has_cost_a_connection(claim.id, self.clock.now()).is_some()
    }

    /// Whether that was a short while ago.
    pub(super) fn is_costly_of_late(&self, claim: &ClaimedMessage) -> bool {
        let now = self.now();
        let set_back = claim.setbacks.last.is_some_and(|last| now.wall.since(last) < COSTLY_FOR);
        let cost = lock(&self.suspects).has_cost_a_connection(claim.id, now);
        set_back || cost.is_some_and(|ago| ago < COSTLY_FOR)
    }

    /// Whether a claimed message is tried now; its recipients whose turn has not come are taken out.
    pub(super) fn turn(&self, claim: &mut ClaimedMessage, permit: Permit) -> Turn {
        let now = self.now();
        let paused = self.account().state().condition != AccountCondition::Open;
        lock(&self.suspects).turn(claim, permit.is_probe() && paused, now)
    }

    /// Says how the account stands: loudly when it pauses.
    pub(super) fn announce(&self) {
        let state = self.shown_state();
        let account = state.condition.name();
        if state.condition == AccountCondition::Open {
            info!(account, reason = "the upstream accepts mail again", "account");
            return;
        }
        let until = state.until.map(|until| until.to_string()).unwrap_or_default();
        let (reason, remedy) = (state.reason, state.remedy);
        warn!(account, until, reason, remedy, "account");
    }

    /// Stores the account's state as it is now.
    pub(super) async fn persist(&self) {
        let _one_writer = self.persisting.lock().await;
        for tries in 1..=PERSIST_TRIES_MAX {
            let state = self.account_state();
            match self.store.set_account_state(self.options().account, state).await {
                Ok(()) => return,
                Err(problem) if tries == PERSIST_TRIES_MAX => {
                    error!(error = %problem, "the account's state could not be stored; it holds until the next restart");
                }
                Err(_) => self.clock.sleep(settle_wait(tries)).await,
            }
        }
    }

    /// The same, tried once.
    pub(super) async fn persist_once(&self) -> Result<(), QueueError> {
        let _one_writer = self.persisting.lock().await;
        let account = self.options().account;
        self.store.set_account_state(account, self.account_state()).await
    }

    pub(super) async fn settle(&self, id: QueueId, settlement: &Arc<Settlement>) {
        let first = self.store.settle(id, Arc::clone(settlement)).await;
        self.insist(id, settlement, first).await;
        self.settle_in_the_fleet(settlement).await;
    }

    /// The same with the next claim, in one commit of the queue.
    pub(super) async fn settle_and_claim(
        &self,
        id: QueueId,
        settlement: &Arc<Settlement>,
        now: Moment,
        terms: ClaimLimits,
    ) -> Result<Claim, QueueError> {
        let (first, claim) =
            self.store.settle_and_claim(id, Arc::clone(settlement), now, terms).await;
        self.insist(id, settlement, first).await;
        claim
    }

    /// Offers a settlement until the queue takes it; `answer` is that to the first offer.
    async fn insist(
        &self,
        id: QueueId,
        settlement: &Arc<Settlement>,
        mut answer: Result<(), QueueError>,
    ) {
        for tries in 1..=SETTLE_TRIES_MAX {
            match answer {
                Ok(()) => return,
                Err(QueueError::Unavailable(reason)) if tries < SETTLE_TRIES_MAX => {
                    if tries == 1 {
                        error!(%id, error = reason, "the queue does not take a settlement; it is offered again");
                    }
                    self.clock.sleep(settle_wait(tries)).await;
                }
                Err(problem) => {
                    error!(%id, error = %problem, "a settlement was lost; the message is looked at again at the next start");
                    return;
                }
            }
            answer = self.store.settle(id, Arc::clone(settlement)).await;
        }
    }

    pub(super) fn count(&self, edit: impl FnOnce(&mut Counters)) {
        edit(&mut lock(&self.counters));
    }

    /// Counts and tells refusals that the table of known replies does not have.
    pub(super) fn note_unknown(&self, id: QueueId, refusals: &[String]) {
        for reply in refusals {
            self.count(|counters| counters.unknown_replies += 1);
            *lock(&self.last_unknown_reply) = Some(reply.clone());
            let words = match self.options().provider.is_google() {
                true => "unknown reply; the default rule decides (docs/gmail.md)",
                false => "unknown reply; the default rule decides (docs/replies.md)",
            };
            let words = handbook::located(words);
            warn!(%id, reply, "{words}");
        }
    }

    pub(super) fn note_error(&self, id: QueueId, text: String) {
        let mut errors = lock(&self.errors);
        if errors.len() >= ERRORS_MAX {
            errors.pop_front();
        }
        errors.push_back(LastError { at: self.clock.wall(), id, text });
    }
}

pub(super) fn tokens(options: &Options, clock: &Arc<dyn Clock>) -> Option<Arc<Tokens>> {
    let login = options.login.as_ref()?;
    let PasswordSource::Tokens(tokens) = &login.password else { return None };
    let (tokens, ca_file) = (oauth::Options::clone(tokens), options.ca_file.clone());
    Some(Arc::new(Tokens::new(tokens, &login.username, ca_file, Arc::clone(clock))))
}

fn settle_wait(tries: u32) -> Duration {
    Duration::from_millis(100 << tries.min(7)).min(Duration::from_secs(10))
}
