//! `[notices]`, `[doctor]`, `[report]` and `[log]`: who is told of trouble by mail, and what the relay says of itself.
//!
//! Rule: nobody is told by mail unless there is an account to send it as. Must not know how a notice looks.

use std::{sync::Arc, time::Duration};

use super::{
    FurtherAccount,
    report::{Report, in_range},
    value::{Words, section, switch, text, whole},
};
use crate::{
    addressed::MAIN,
    admin::weekly::{
        memory,
        schedule::{Hour, Weekday},
    },
    delivery, notices,
    smtp::address::Address,
    telemetry,
};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

section! {
    /// `[notices]`: mail about mail that could not be relayed.
    pub(super) struct Notices {
        to: Told = Told::Admin, "text";
        per_hour: i64 = usual().per_hour.into(), "whole";
        delay_after: Option<Duration> = usual().delay_after, "text";
    }
}

/// The notifier's own defaults.
fn usual() -> notices::Options {
    notices::Options::new(String::new())
}

/// Who gets notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nobody,
    Admin,
    AdminAndSender,
}

impl Words for Told {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("admin", Self::Admin),
        ("admin-and-sender", Self::AdminAndSender),
        ("nobody", Self::Nobody),
    ];
}

/// The days of all accounts that notices tell of.
pub(super) fn days(main: &delivery::Options, others: &[FurtherAccount]) -> Vec<notices::Day> {
    let day = |name: Option<&str>, of: &delivery::Options| {
        let limit = of.recipients_per_day;
        let reserved = of.notice_reserve.saturating_add(of.urgent_reserve);
        let name = name.map(Arc::from);
        notices::Day { account: of.account, name, limit, others: limit.less(reserved) }
    };
    // With one account nothing has to be told apart.
    let name = (!others.is_empty()).then_some(MAIN);
    let others = others.iter().map(|one| day(Some(&one.name), &one.delivery));
    [day(name, main)].into_iter().chain(others).collect()
}

impl Notices {
    const SECTION: &str = "notices";

    /// What the notifier is told, and whether all mail is redirected.
    pub(super) fn check(
        &self,
        hostname: &str,
        (account, admin, history_lifetime): (Option<&Address>, Option<&Address>, Duration),
        is_redirected: bool,
        report: &mut Report<'_>,
    ) -> notices::Options {
        let by_mail = self.to != Told::Nobody;
        let per_hour = in_range!(report.whole, Self::SECTION, self.per_hour, 1..=60);
        let default = Self::default().delay_after;
        let delay_after = self.delay_after.map(|after| {
            let range = 10 * MINUTE..=90 * DAY;
            report.within(Self::SECTION, "delay_after", after, default.unwrap_or(after), range)
        });
        notices::Options {
            from: account.or(admin).filter(|_| by_mail).cloned(),
            admin: admin.filter(|_| by_mail).cloned(),
            // Nobody elsewhere hears of mail that was kept from him.
            senders: self.to == Told::AdminAndSender && !is_redirected,
            account: account.or(admin).cloned(),
            folded_kept: history_lifetime,
            per_hour,
            delay_after,
            ..notices::Options::new(hostname.to_owned())
        }
    }
}

section! {
    /// `[doctor]`: the relay's own look at itself.
    pub(super) struct Doctor {
        pub(super) enabled: bool = true, "switch";
    }
}

section! {
    /// `[report]`: a mail about the week.
    pub(super) struct WeeklyReport {
        enabled: bool = false, "switch";
        day: Weekday = Weekday::Monday, "text";
        hour: i64 = 6, "whole";
        to: Option<Address> = None, "text";
    }
}

impl Words for Weekday {
    const WORDS: &'static [(&'static str, Self)] = Self::WORDS;
}

impl WeeklyReport {
    const SECTION: &str = "report";

    /// What the weekly report is told; it is sent as the account, to the administrator unless somebody else is named.
    pub(super) fn check(
        &self,
        (account, admin, history_lifetime): (Option<&Address>, Option<&Address>, Duration),
        report: &mut Report<'_>,
    ) -> memory::Options {
        let hour = in_range!(report.whole, Self::SECTION, self.hour, 0..=23);
        if let Some(to) = self.to.as_ref().filter(|to| to.domain().is_none()) {
            let what = format!("{to} has no domain, so the upstream would be asked to find it");
            let remedy = "Write the whole address, such as \"you@example.org\".";
            report.add(Self::SECTION, "to", what, remedy);
        }
        let to = self.to.as_ref().or(admin);
        if self.enabled && to.is_none() {
            let what = "there is nobody that the report could be sent to";
            report.add_lack(
                Self::SECTION,
                "to",
                what,
                "Write for example to = \"you@example.org\".",
            );
        }
        memory::Options {
            enabled: self.enabled,
            hour: Hour { day: self.day, hour: u8::try_from(hour).unwrap_or_default() },
            from: account.or(to).cloned(),
            to: to.cloned(),
            history_lifetime,
        }
    }
}

section! {
    /// `[log]`: what is printed.
    pub(super) struct Log {
        pub(super) output: telemetry::Output = telemetry::Output::Stderr, "text";
        format: telemetry::Format = telemetry::Format::Auto, "text";
        level: tracing::Level = tracing::Level::INFO, "text";
    }
}

impl Log {
    /// How the log is printed.
    pub(super) fn options(&self) -> telemetry::Options {
        telemetry::Options { format: self.format, level: self.level }
    }
}
