//! The whole daemon against an upstream that talks without end: memory, honest clients, and the mail.

use std::time::Duration;

use pillarbox::{
    clock::{Clock as _, SystemClock},
    sandbox::Stage,
};

use crate::support::{
    daemon::{Daemon, Home, within},
    hostile::{Flood, Hostile},
    outage::{home_without_brakes, queue_list, tail},
    submitter::{Wire, message},
};

/// How much the daemon may grow, whatever it is told.
const GROWTH_MAX: u64 = 8 * 1024 * 1024;
/// How soon an honest client is served meanwhile.
const SERVED_WITHIN: Duration = Duration::from_millis(200);
/// Submissions of which the quickest counts: this machine may have other things to do.
const TRIES: usize = 5;

const STAGES: [Stage; 10] = [
    Stage::Connect,
    Stage::Ehlo,
    Stage::StartTls,
    Stage::Auth,
    Stage::Mail,
    Stage::Rcpt,
    Stage::Data,
    Stage::Dot,
    Stage::Rset,
    Stage::Quit,
];

#[test]
fn an_upstream_that_talks_without_end_in_plain_text_costs_neither_memory_nor_mail() {
    floods_cost_nothing(false);
}

#[test]
fn an_upstream_that_talks_without_end_over_tls_costs_neither_memory_nor_mail() {
    floods_cost_nothing(true);
}

fn floods_cost_nothing(tls: bool) {
    let hostile = Hostile::start();
    let home = home_without_brakes(&hostile.upstream(tls), 1_000)
        .environment("PILLARBOX__UPSTREAM__CONNECTIONS", "1");
    let mut sent = Vec::new();
    for stage in STAGES {
        if !tls && matches!(stage, Stage::StartTls | Stage::Auth) {
            continue;
        }
        for kind in [Flood::Line, Flood::Lines, Flood::Noise] {
            // A connection that is open would lead past the first stages.
            hostile.flood(None);
            let mut scene = Scene { home: &home, daemon: home.start(), sent };
            scene.flood(&hostile, stage, kind);
            sent = scene.sent;
            scene.daemon.kill();
        }
    }
    hostile.flood(None);
    let scene = Scene { home: &home, daemon: home.start(), sent };
    scene.until_sent(&hostile);
}

struct Scene<'a> {
    home: &'a Home,
    daemon: Daemon,
    /// Message-IDs that must arrive.
    sent: Vec<String>,
}

impl Scene<'_> {
    fn flood(&mut self, hostile: &Hostile, stage: Stage, kind: Flood) {
        let what = format!("{stage}, {kind:?}");
        if stage == Stage::Rset {
            // A refused recipient leaves a transaction that is to be reset, on a connection that stays open.
            self.until_sent(hostile);
            self.submit("nobody");
            self.until_sent(hostile);
        }
        let (floods, _) = hostile.floods();
        let before = self.daemon.memory("VmRSS");
        self.daemon.forget_peak();
        hostile.flood(Some((stage, kind)));
        self.submit(if stage == Stage::Quit { "goodbye" } else { "reader" });
        let flooded = within(Duration::from_secs(20), || {
            if hostile.floods().0 > floods {
                return true;
            }
            // What the last flood has left: a pause, and mail that waits.
            drop(self.home.output(["resume"]));
            drop(self.home.output(["queue", "retry", "--all"]));
            std::thread::sleep(Duration::from_millis(100));
            false
        });
        assert!(flooded, "{what}: it did not come to it\n{}", tail(&self.home.log()));
        let quickest = (0..TRIES).map(|_| self.submit("reader")).min().unwrap_or_default();
        assert!(quickest < SERVED_WITHIN, "{what}: an honest client waited {quickest:?}");
        let growth = self.daemon.memory("VmHWM").saturating_sub(before);
        assert!(growth < GROWTH_MAX, "{what}: it grew by {growth} octets");
    }

    /// Submits a message and returns how long that took.
    fn submit(&mut self, reader: &str) -> Duration {
        let message_id = format!("<{}@hostile.example.org>", self.sent.len());
        let text = message(&message_id, 300, &mut fastrand::Rng::with_seed(1));
        let clock = SystemClock::new();
        let start = clock.now().since_boot_ms;
        let mut wire = Wire::connect(self.home.smtp).expect("the daemon greets");
        let to = format!("{reader}@example.net");
        wire.submit(&[to], &text).expect("a reply").expect("250");
        if reader != "nobody" {
            self.sent.push(message_id);
        }
        Duration::from_millis(clock.now().since_boot_ms - start)
    }

    /// A person sees to it that everything is tried again.
    fn until_sent(&self, hostile: &Hostile) {
        let arrived = within(Duration::from_secs(60), || {
            drop(self.home.output(["resume"]));
            drop(self.home.output(["queue", "retry", "--all"]));
            std::thread::sleep(Duration::from_millis(100));
            let accepted = hostile.accepted();
            let is_dead = |states: &[String]| {
                states.iter().all(|state| state == "dead" || state == "relayed")
            };
            self.sent.iter().all(|id| accepted.contains(id))
                && queue_list(self.home).iter().all(|listed| is_dead(&listed.states))
        });
        assert!(arrived, "{:?}\n{}", queue_list(self.home), tail(&self.home.log()));
    }
}
