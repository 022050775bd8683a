//! Scenarios: one kind of trouble each, to watch what a relay does before it happens with a real account.
//!
//! Rule: every scenario is one row of [`SCENARIOS`]; it configures nothing but the look-alike and the
//! password that is used there, so that the relay under it is the relay of every day. Must not know the relay.

use std::time::Duration;

use super::{
    options::{APP_PASSWORD, Certificate, Options, OverLimit},
    replies::{self, Malformed, Template},
    script::{Chance, Failure, Order, Stage, Times},
};

/// One row of the table.
#[derive(Debug)]
pub struct Scenario {
    /// What the user types.
    pub name: &'static str,
    /// What it shows, in one line.
    pub shows: &'static str,
    /// What the look-alike will do.
    pub happens: &'static str,
    /// What to watch for: how a good relay reacts.
    pub watch: &'static str,
    /// What the relay logs in with: an app password, or one of the refresh tokens of `oauth/grant.rs` when
    /// [`Scenario::uses_tokens`].
    pub password: &'static str,
    trouble: Trouble,
}

impl Scenario {
    /// Looks one up.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        SCENARIOS.iter().find(|scenario| scenario.name == name)
    }

    /// Whether the relay logs in with tokens.
    #[must_use]
    pub const fn uses_tokens(&self) -> bool {
        matches!(self.trouble, Trouble::Token)
    }

    /// What a look-alike that runs has to do for it; `None` where it has to begin so, or the relay to log in with
    /// something else.
    pub(super) fn while_it_runs(&self) -> Option<Changed> {
        let mut options = Options::default();
        let usual = options.latency;
        match &self.trouble {
            Trouble::Token => return None,
            Trouble::Password => {
                let (_, reply) =
                    PASSWORDS.iter().find(|(password, _)| *password == self.password)?;
                let failure = Failure::Reply(reply.scripted());
                options.script.push(Order { stage: Stage::Auth, failure, times: Times::Always });
            }
            Trouble::Options(_) if NEEDS_A_START.contains(&self.name) => return None,
            _ => self.prepare(&mut options),
        }
        let Options { mut script, chance, latency, recipients_per_day, .. } = options;
        if latency > usual {
            let slow =
                [Stage::Connect, Stage::Ehlo, Stage::Auth, Stage::Mail, Stage::Rcpt, Stage::Data];
            script.extend(slow.map(|stage| Order {
                stage,
                failure: Failure::Delay(latency),
                times: Times::Always,
            }));
        }
        Some(Changed { script, chance, recipients_per_day })
    }

    /// Tells a look-alike that is about to start what to do.
    pub fn prepare(&self, options: &mut Options) {
        let mut order =
            |stage, failure, times| options.script.push(Order { stage, failure, times });
        match &self.trouble {
            Trouble::Password | Trouble::Token => {}
            Trouble::Reply(stage, reply, times) => {
                order(*stage, Failure::Reply(reply.scripted()), *times);
            }
            Trouble::ReplyAndClose(stage, reply, times) => {
                order(*stage, Failure::ReplyAndClose(reply.scripted()), *times);
            }
            Trouble::Scripted(stage, failure) => order(*stage, failure.clone(), Times::Next(1)),
            Trouble::NeverSeen => {
                order(Stage::Dot, Failure::Reply(NEVER_SEEN.to_owned()), Times::Always)
            }
            Trouble::Options(change) => change(options),
        }
    }
}

/// What a look-alike that runs does otherwise for a scenario.
#[derive(Debug)]
pub(super) struct Changed {
    pub(super) script: Vec<Order>,
    pub(super) chance: Option<Chance>,
    pub(super) recipients_per_day: u32,
}

/// What a look-alike says at AUTH in scenarios that come about by a password, whatever the password is.
static PASSWORDS: [(&str, &Template); 4] = [
    ("wrong", &replies::BAD_CREDENTIALS),
    ("needs-app-password", &replies::APP_PASSWORD_REQUIRED),
    ("needs-browser", &replies::BROWSER_REQUIRED),
    ("captcha", &replies::CAPTCHA_REQUIRED),
];

/// Scenarios by options that cannot change any more once it runs.
const NEEDS_A_START: [&str; 3] = ["accept-then-bounce", "starttls-missing", "certificate-wrong"];

/// How a scenario comes about.
#[derive(Debug)]
enum Trouble {
    /// By the password alone.
    Password,
    /// By the refresh token alone.
    Token,
    /// This reply at this stage.
    Reply(Stage, &'static Template, Times),
    /// The same, and the connection ends.
    ReplyAndClose(Stage, &'static Template, Times),
    /// This failure once at this stage.
    Scripted(Stage, Failure),
    /// A reply that is in no table.
    NeverSeen,
    /// By other options.
    Options(fn(&mut Options)),
}

/// Every scenario, by what is in trouble: the account's day, its login, the connection, the message.
pub static SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "daily-limit",
        shows: "Gmail refuses all mail for the day, earlier than the relay's budget expects.",
        happens: "Two recipients fit into the account's day; DATA for one more gets 550 5.4.5.",
        watch: "Send three mails. The third one stays in the queue and is not charged an attempt; the account \
                pauses (paused-quota) for 1, then 2, then 4 hours, each time followed by one mail as a probe. \
                New mail is accepted and waits. Nothing fails.",
        password: APP_PASSWORD,
        trouble: Trouble::Options(|options| options.recipients_per_day = 2),
    },
    Scenario {
        name: "quota-at-mail",
        shows: "The daily limit shows already at MAIL, before any recipient is named.",
        happens: "Every MAIL gets 550 5.4.5.",
        watch: "The same as daily-limit: paused-quota, the mail waits, no attempt is charged. A relay that \
                trusts the first digit would fail the mail.",
        password: APP_PASSWORD,
        trouble: Trouble::Reply(Stage::Mail, &replies::DAILY_LIMIT, Times::Always),
    },
    Scenario {
        name: "quota-at-dot",
        shows: "The daily limit shows only after the whole message has been sent.",
        happens: "Every final dot gets 550 5.4.5.",
        watch: "The same as daily-limit: paused-quota, the mail waits, no attempt is charged.",
        password: APP_PASSWORD,
        trouble: Trouble::Reply(Stage::Dot, &replies::DAILY_LIMIT, Times::Always),
    },
    Scenario {
        name: "accept-then-bounce",
        shows: "Gmail says 250 beyond the daily limit and bounces the mail into the account's own inbox.",
        happens: "The account's day is used up, and yet every mail gets 250. The bounce is shown as a line of \
                  the upstream.",
        watch: "The relay cannot know: it shows the mail as relayed, which only means accepted by Gmail. Its \
                own budget, set below Gmail's limit, is what prevents this: budget.recipients_per_day and \
                budget.owner_reserve.",
        password: APP_PASSWORD,
        trouble: Trouble::Options(|options| {
            options.recipients_per_day = 0;
            options.over_limit = OverLimit::AcceptThenBounce;
        }),
    },
    Scenario {
        name: "bad-password",
        shows: "The app password is wrong or was revoked.",
        happens: "Every login gets 535 5.7.8.",
        watch: "One login, then paused-credentials with the remedy; mail is accepted and waits. The relay does \
                not try again and again, because failing logins count against the account.",
        password: "wrong",
        trouble: Trouble::Password,
    },
    Scenario {
        name: "app-password-needed",
        shows: "The account's usual password was configured instead of an app password.",
        happens: "Every login gets 534 5.7.9 InvalidSecondFactor.",
        watch: "paused-credentials; the remedy says how to create an app password.",
        password: "needs-app-password",
        trouble: Trouble::Password,
    },
    Scenario {
        name: "browser-login-needed",
        shows: "Google takes the sign-in for suspicious and wants a browser.",
        happens: "Every login gets 534 5.7.9 \"Please log in with your web browser\".",
        watch: "paused-credentials; the remedy says to sign in with a browser from the same network.",
        password: "needs-browser",
        trouble: Trouble::Password,
    },
    Scenario {
        name: "captcha-needed",
        shows: "Google wants a captcha solved at a long address.",
        happens: "Every login gets 534 5.7.14 in five lines.",
        watch: "paused-credentials, as with browser-login-needed.",
        password: "captcha",
        trouble: Trouble::Password,
    },
    Scenario {
        name: "oauth-expired",
        shows: "The consent has ended: the refresh token is expired or was revoked.",
        happens: "The relay logs in with tokens; each request for one gets 400 invalid_grant.",
        watch: "paused-credentials without a single login; the remedy is `pillarbox auth google` and, for a consent \
                screen in testing, to publish it. Mail is accepted and waits; nothing is charged.",
        password: "revoked",
        trouble: Trouble::Token,
    },
    Scenario {
        name: "oauth-refused",
        shows: "Gmail does not take the access token: it has ended early, or is for another account.",
        happens: "Each token is issued and already expired: 334 with Google's JSON, then 535 5.7.8.",
        watch: "A second token is fetched and tried once, then paused-credentials; the reason has what the JSON \
                said (status 400). Mail is accepted and waits; nothing is charged.",
        password: "stale",
        trouble: Trouble::Token,
    },
    Scenario {
        name: "too-many-logins",
        shows: "Something logs in to the account too often.",
        happens: "The first login gets 454 4.7.0 \"Too many login attempts\"; later ones work.",
        watch: "paused-login for 15 minutes, then one login and the mail leaves. `pillarbox resume` shows it at \
                once.",
        password: APP_PASSWORD,
        trouble: Trouble::Reply(Stage::Auth, &replies::TOO_MANY_LOGINS, Times::Next(1)),
    },
    Scenario {
        name: "temporary-login-trouble",
        shows: "Google cannot check passwords for a moment.",
        happens: "The first two logins get 454 4.7.0 \"Cannot authenticate due to temporary system problem\".",
        watch: "backing-off for 30 seconds, then for a minute, then the mail leaves. The password is not doubted.",
        password: APP_PASSWORD,
        trouble: Trouble::Reply(Stage::Auth, &replies::LOGIN_UNAVAILABLE, Times::Next(2)),
    },
    Scenario {
        name: "sending-denied",
        shows: "The account may log in but not send.",
        happens: "Every MAIL gets 550 5.7.0 \"Mail Sending denied\".",
        watch: "paused-credentials: a person must look at the account. The mail waits and is not charged.",
        password: APP_PASSWORD,
        trouble: Trouble::Reply(Stage::Mail, &replies::SENDING_DENIED, Times::Always),
    },
    Scenario {
        name: "slow",
        shows: "A server far away, and slow to decide about a message.",
        happens: "Each reply takes half a second, the one to the final dot 20 seconds.",
        watch: "`pillarbox status` shows the mail in flight and where it is; new mail is accepted as fast as \
                ever. The relay waits for up to ten minutes, because a final dot without an answer is the one \
                thing that can make a mail arrive twice.",
        password: APP_PASSWORD,
        trouble: Trouble::Options(|options| {
            options.latency = Duration::from_millis(500);
            let failure = Failure::Delay(Duration::from_secs(20));
            options.script.push(Order { stage: Stage::Dot, failure, times: Times::Always });
        }),
    },
    Scenario {
        name: "flaky",
        shows: "A network that loses connections at random.",
        happens: "At MAIL, RCPT, DATA, within the message and after its final dot, one connection in eight is \
                  lost; at the final dot the message may have been taken.",
        watch: "One new connection at once, then growing pauses (backing-off). Everything arrives in the end; \
                a second copy only where the answer to a final dot was lost, with the same Message-ID.",
        password: APP_PASSWORD,
        trouble: Trouble::Options(|options| {
            let stages = [Stage::Mail, Stage::Rcpt, Stage::Data, Stage::Body, Stage::Dot];
            let mut failures: Vec<_> = stages.map(|stage| (stage, Failure::Drop)).into();
            failures.push((Stage::Dot, Failure::StoreAndDrop));
            options.chance = Some(Chance { one_in: 8, seed: 1, failures });
        }),
    },
    Scenario {
        name: "drop-after-dot",
        shows: "The connection is lost after the final dot: nobody knows whether the mail was taken.",
        happens: "The first mail is taken, and the connection ends without an answer. Later ones are answered.",
        watch: "`pillarbox queue list` shows the mail as uncertain; its budget stays spent. It is sent once more \
                after 5 to 15 minutes, octet by octet the same, and the upstream shows it as a duplicate, \
                which Gmail's own recipients do not see.",
        password: APP_PASSWORD,
        trouble: Trouble::Scripted(Stage::Dot, Failure::StoreAndDrop),
    },
    Scenario {
        name: "server-busy",
        shows: "Gmail is busy and hangs up at the greeting.",
        happens: "The first three connections get 421 4.4.5 \"Server busy\".",
        watch: "backing-off for 30 seconds, 1 and 2 minutes, then the mail leaves. `pillarbox resume` tries at \
                once.",
        password: APP_PASSWORD,
        trouble: Trouble::ReplyAndClose(Stage::Connect, &replies::SERVER_BUSY, Times::Next(3)),
    },
    Scenario {
        name: "system-problem",
        shows: "Gmail has trouble of its own, or sees too many connections at once.",
        happens: "The first two DATA get 421 4.3.0 \"Temporary System Problem (10)\".",
        watch: "backing-off for 30 seconds, then for a minute, with one connection only; then the mail leaves.",
        password: APP_PASSWORD,
        trouble: Trouble::ReplyAndClose(Stage::Data, &replies::SYSTEM_PROBLEM, Times::Next(2)),
    },
    Scenario {
        name: "connection-expired",
        shows: "Gmail retires a connection that was open for long.",
        happens: "The first MAIL gets 421 4.7.0 \"Connection expired, try reconnecting\".",
        watch: "One new connection at once, and the mail leaves. No pause, no attempt charged.",
        password: APP_PASSWORD,
        trouble: Trouble::ReplyAndClose(Stage::Mail, &replies::CONNECTION_EXPIRED, Times::Next(1)),
    },
    Scenario {
        name: "malformed-replies",
        shows: "Something between here and Gmail garbles the replies.",
        happens: "The first MAIL gets octets that are no reply.",
        watch: "The connection is given up and a new one is used. What cannot be understood is never taken for \
                a success or a refusal.",
        password: APP_PASSWORD,
        trouble: Trouble::Scripted(Stage::Mail, Failure::Malformed(Malformed::Garbage)),
    },
    Scenario {
        name: "ehlo-refused",
        shows: "Gmail does not like the name in EHLO, or this network, and says \"try again later\".",
        happens: "Every EHLO gets 421 4.7.0 \"Try again later, closing connection. (EHLO)\".",
        watch: "backing-off; the remedy names upstream.ehlo_name, because the reply looks like rate limiting \
                and often is not.",
        password: APP_PASSWORD,
        trouble: Trouble::ReplyAndClose(Stage::Ehlo, &replies::EHLO_REFUSED, Times::Always),
    },
    Scenario {
        name: "starttls-missing",
        shows: "A firewall takes STARTTLS out of the dialogue.",
        happens: "EHLO does not offer STARTTLS.",
        watch: "paused-configuration. Neither password nor mail is ever sent in plain text.",
        password: APP_PASSWORD,
        trouble: Trouble::Options(|options| options.offer_starttls = false),
    },
    Scenario {
        name: "certificate-wrong",
        shows: "Somebody else answers in Gmail's place.",
        happens: "The certificate is for another name.",
        watch: "paused-configuration; the reason names the certificate. The password is not sent.",
        password: APP_PASSWORD,
        trouble: Trouble::Options(|options| options.certificate = Certificate::OtherName),
    },
    Scenario {
        name: "recipient-unknown",
        shows: "One recipient of a mail does not exist.",
        happens: "The first RCPT gets 550 5.1.1; later ones are accepted.",
        watch: "Send one mail to two recipients: the first one fails for good with Gmail's words, the second \
                one gets the mail. The account stays open.",
        password: APP_PASSWORD,
        trouble: Trouble::Reply(Stage::Rcpt, &replies::NO_SUCH_USER, Times::Next(1)),
    },
    Scenario {
        name: "mailbox-full",
        shows: "A recipient's mailbox is full.",
        happens: "The first RCPT gets 452 4.2.2; later ones are accepted.",
        watch: "Only this recipient waits, with growing pauses; `pillarbox queue list` shows when it is tried \
                again. The account stays open.",
        password: APP_PASSWORD,
        trouble: Trouble::Reply(Stage::Rcpt, &replies::MAILBOX_FULL, Times::Next(1)),
    },
    Scenario {
        name: "temporarily-rejected",
        shows: "Gmail does not take a message just now.",
        happens: "The first three final dots get 451 4.3.0.",
        watch: "The message waits with growing pauses and an attempt is charged each time; the account stays \
                open and other mail goes on.",
        password: APP_PASSWORD,
        trouble: Trouble::Reply(Stage::Dot, &replies::TRY_AGAIN, Times::Next(3)),
    },
    Scenario {
        name: "spam-verdict",
        shows: "Gmail takes the mail for spam.",
        happens: "Every final dot gets 550 5.7.1 UnsolicitedMessageError.",
        watch: "The mail fails for good and is not tried again, because repeating it endangers the account. It \
                stays in the queue as dead, with Gmail's words. Several within an hour also stop the account.",
        password: APP_PASSWORD,
        trouble: Trouble::Reply(Stage::Dot, &replies::UNSOLICITED, Times::Always),
    },
    Scenario {
        name: "attachment-blocked",
        shows: "Gmail refuses a kind of attachment.",
        happens: "Every final dot gets 552 5.7.0 BlockedMessage.",
        watch: "The mail fails for good and stays in the queue as dead, with Gmail's words; the account stays open.",
        password: APP_PASSWORD,
        trouble: Trouble::Reply(Stage::Dot, &replies::BLOCKED, Times::Always),
    },
    Scenario {
        name: "unknown-refusal",
        shows: "Gmail refuses mail in words that nobody has seen before.",
        happens: "Every final dot gets 550 5.9.9 with a new sentence.",
        watch: "The mail fails but is not lost: it stays in the queue as dead, and `pillarbox queue retry` sends \
                it again once the cause is known. The account stays open.",
        password: APP_PASSWORD,
        trouble: Trouble::NeverSeen,
    },
];

/// No table has this.
const NEVER_SEEN: &str = "550 5.9.9 The penguins are not amused by this message. {id} - gsmtp";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_every_row_says_everything_in_sentences() {
        for (index, scenario) in SCENARIOS.iter().enumerate() {
            let name = scenario.name;
            assert!(!SCENARIOS[..index].iter().any(|other| other.name == name), "{name} twice");
            assert!(
                name.bytes().all(|octet| octet.is_ascii_lowercase() || octet == b'-'),
                "{name}"
            );
            for text in [scenario.shows, scenario.happens, scenario.watch] {
                assert!(text.ends_with('.') && !text.contains("  "), "{name}: {text}");
            }
            assert!(scenario.shows.len() <= 100, "{name}: one line");
        }
    }

    #[test]
    fn every_scenario_is_in_the_handbook_with_the_same_words() {
        let handbook = include_str!("../../../docs/sandbox.md");
        for scenario in SCENARIOS {
            let row = format!("| `{}` | {} |", scenario.name, scenario.shows);
            assert!(handbook.contains(&row), "docs/sandbox.md has no row:\n{row}");
        }
    }

    #[test]
    fn a_scenario_changes_the_look_alike_or_the_password() {
        for scenario in SCENARIOS {
            let mut options = Options::default();
            scenario.prepare(&mut options);
            let before = Options { clock: options.clock.clone(), ..Options::default() };
            let changed = format!("{before:?}") != format!("{options:?}");
            assert_eq!(changed, scenario.password == APP_PASSWORD, "{}", scenario.name);
        }
    }

    #[test]
    fn a_scenario_that_can_be_played_while_it_runs_is_all_in_script_day_and_pace() {
        for scenario in SCENARIOS.iter().filter(|scenario| scenario.while_it_runs().is_some()) {
            let before = Options::default();
            let mut options = Options { clock: before.clock.clone(), ..Options::default() };
            scenario.prepare(&mut options);
            let rest = Options {
                script: Vec::new(),
                chance: None,
                recipients_per_day: before.recipients_per_day,
                latency: before.latency,
                ..options
            };
            assert_eq!(format!("{rest:?}"), format!("{before:?}"), "{}", scenario.name);
        }
        let played = SCENARIOS.iter().filter(|scenario| scenario.while_it_runs().is_some()).count();
        assert_eq!(
            played,
            SCENARIOS.len() - 5,
            "all but two of tokens and three that need a start"
        );
    }
}
