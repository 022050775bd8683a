//! The question of `budget simulate`: which past, and under which settings.
//!
//! Rule: a flag is laid over the configuration as a variable of the environment is, so that it is checked as one. Must not know
//! what the settings do.

use std::{path::Path, time::Duration};

use clap::value_parser;

use crate::{
    addressed::MAIN,
    budget::Limit,
    cli::of_account::OfAccount,
    exit::{Exit, Failure},
    quantities::count,
    queue::storms::AFTER_MAX,
    settings::{self, Settings, SettingsError, Surroundings},
    written_time::span_up_to,
};

/// The longest past that can be asked for.
const LAST_MAX: Duration = Duration::from_secs(366 * 86_400);

/// What is laid over the configuration: section, key, value.
pub(super) type Change = (&'static str, &'static str, u32);

/// Which past, and under which settings.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How much of the past, up to now.
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = span_up_to(Some(LAST_MAX)))]
    pub(super) last: Duration,
    /// Another budget.recipients_per_day.
    #[arg(long, value_name = "NUMBER", value_parser = value_parser!(u32).range(1..))]
    recipients_per_day: Option<u32>,
    /// Another budget.owner_reserve: how many of them are left to you. Where the present one leaves nothing, none.
    #[arg(long, value_name = "NUMBER")]
    owner_reserve: Option<u32>,
    /// Another budget.bulk_share.
    #[arg(long, value_name = "NUMBER", value_parser = value_parser!(u32).range(0..=50))]
    bulk_share: Option<u32>,
    /// Another budget.origin_limit; 0 means none.
    #[arg(long, value_name = "NUMBER")]
    origin_limit: Option<u32>,
    /// Another storm.after; 0 folds nothing.
    #[arg(long, value_name = "NUMBER", value_parser = value_parser!(u32).range(0..=i64::from(AFTER_MAX)))]
    storm_after: Option<u32>,
    #[command(flatten)]
    pub(super) of: OfAccount,
}

/// The values that each account has its own of.
pub(super) const OF_ACCOUNT: [&str; 2] = ["recipients_per_day", "owner_reserve"];

impl Arguments {
    /// Of the flags alone.
    fn changes(&self) -> Vec<Change> {
        let all = [
            ("budget", "recipients_per_day", self.recipients_per_day),
            ("budget", "owner_reserve", self.owner_reserve),
            ("budget", "bulk_share", self.bulk_share),
            ("budget", "origin_limit", self.origin_limit),
            ("storm", "after", self.storm_after),
        ];
        all.into_iter().filter_map(|(section, key, value)| Some((section, key, value?))).collect()
    }

    /// The same account.
    pub(crate) fn of(self, named: OfAccount) -> Self {
        let account = self.of.account.or(named.account);
        Self { of: OfAccount { account }, ..self }
    }

    /// The account besides the main one that the values of an account are meant for.
    fn other(&self) -> Option<&str> {
        self.of.name().filter(|name| *name != MAIN)
    }

    /// Lays the values of another account than the main one over its section, and says what was laid.
    pub(super) fn lay_over_account(&self, settings: &mut Settings) -> Result<Vec<String>, Failure> {
        let Some(name) = self.other() else { return Ok(Vec::new()) };
        let wrong = |words: String| Err(Failure::new(Exit::Data, words));
        let Some(account) = settings.accounts.iter_mut().find(|one| one.name == name) else {
            let names: Vec<&str> = settings.all_accounts().map(|(name, ..)| name).collect();
            return wrong(format!(
                "there is no account called {name:?}; there is {}",
                names.join(", ")
            ));
        };
        let present = account.delivery.recipients_per_day.with(account.owner_reserve);
        let per_day = self.recipients_per_day.or_else(|| present.recipients());
        let is_too_large = |reserve: u32| per_day.is_some_and(|per_day| reserve >= per_day);
        let mut laid = Vec::new();
        let mut lay = |key, value: u32| laid.push(format!("[[account]] {name}: {key} = {value}"));
        if let Some(per_day) = self.recipients_per_day {
            lay("recipients_per_day", per_day);
        }
        let reserve = match self.owner_reserve {
            Some(reserve) if is_too_large(reserve) => {
                return wrong(format!(
                    "--owner-reserve {reserve} leaves nothing of the {} of the account {name}",
                    count(per_day.unwrap_or_default().into(), "recipient")
                ));
            }
            Some(reserve) => {
                lay("owner_reserve", reserve);
                reserve
            }
            // As of the main account: nobody has thought of it for so small a day.
            None if is_too_large(account.owner_reserve) => {
                lay("owner_reserve", 0);
                0
            }
            None => account.owner_reserve,
        };
        account.owner_reserve = reserve;
        account.delivery.recipients_per_day = per_day.map_or(Limit::NONE, Limit::of).less(reserve);
        Ok(laid)
    }

    /// The configuration of this process with these values over it, as the environment lays them; with what was laid.
    pub(super) fn settings(
        &self,
        config: Option<&Path>,
    ) -> Result<(Settings, Vec<Change>), SettingsError> {
        let mut surroundings = Surroundings::of_this_process();
        let mut changes = self.changes();
        changes.retain(|(_, key, _)| self.other().is_none() || !OF_ACCOUNT.contains(key));
        let of_main = self.recipients_per_day.filter(|_| self.other().is_none());
        if let (Some(per_day), None) = (of_main, self.owner_reserve) {
            // A reserve that nobody has thought of for so small a day leaves nothing to simulate.
            let present = settings::load_in(config, &surroundings)?.owner_reserve;
            changes.extend((present >= per_day).then_some(("budget", "owner_reserve", 0)));
        }
        for (section, key, value) in &changes {
            let name = format!("PILLARBOX__{section}__{key}").to_uppercase();
            surroundings.variables.insert(name, value.to_string());
        }
        Ok((settings::load_in(config, &surroundings)?, changes))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        asked: Arguments,
    }

    fn read(line: &str) -> Option<Arguments> {
        let words = ["simulate"].into_iter().chain(line.split_whitespace());
        Line::try_parse_from(words).ok().map(|line| line.asked)
    }

    #[test]
    fn a_flag_lays_its_value_over_the_configuration_and_nothing_else_changes() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let text = "[upstream]\nusername = \"you@gmail.com\"\npassword = \"abcdefghijklmnop\"\n[budget]\nbulk_share = 9\norigin_limit = 50\n";
        std::fs::write(file.path(), text).expect("written");
        let settings =
            |line| read(line).expect("flags").settings(Some(file.path())).expect("it is good").0;
        let queue = settings("--recipients-per-day 100 --origin-limit 30 --storm-after 0").queue;
        assert_eq!(queue.fairness.origin_limit.recipients(), Some(30));
        assert_eq!((queue.fairness.bulk_share, queue.storms.terms.after), (9, 0));
        let none = settings("");
        assert_eq!(none.queue.fairness.origin_limit.recipients(), Some(50));
        assert_eq!(none.queue.storms.terms.after, 5);
        let limit = |settings: &Settings| settings.delivery.recipients_per_day.recipients();
        assert!(limit(&settings("--recipients-per-day 100")) < limit(&none));
        assert_eq!(settings("--bulk-share 7").queue.fairness.bulk_share, 7);
    }

    #[test]
    fn a_day_smaller_than_the_reserve_has_none_and_says_so_unless_one_is_asked_for() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let settings = |line| read(line).expect("flags").settings(Some(file.path()));
        let (small, changes) = settings("--recipients-per-day 5").expect("five recipients");
        assert_eq!(
            (small.owner_reserve, small.delivery.recipients_per_day.recipients()),
            (0, Some(5))
        );
        assert_eq!(changes.last(), Some(&("budget", "owner_reserve", 0)));
        let (large, changes) = settings("--recipients-per-day 26").expect("one recipient");
        assert_eq!((large.owner_reserve, changes.len()), (25, 1));
        let (asked, _) = settings("--recipients-per-day 26 --owner-reserve 3").expect("23");
        assert_eq!(asked.delivery.recipients_per_day.recipients(), Some(23));
        let refused =
            settings("--recipients-per-day 5 --owner-reserve 5").map(|_| ()).expect_err("nothing");
        assert!(refused.to_string().contains("leaves nothing of 5 recipients"), "{refused}");
    }

    #[test]
    fn what_an_account_has_its_own_of_is_laid_over_the_one_that_is_named() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let account = "username = \"you@gmail.com\"\npassword = \"abcdefghijklmnop\"\n";
        let text = format!(
            "[upstream]\n{account}[[account]]\nname = \"second\"\nrecipients_per_day = 100\nowner_reserve = 10\n{}\
             [[route]]\nname = \"all\"\naccounts = [\"main\", \"second\"]\n",
            account.replace("you", "me")
        );
        std::fs::write(file.path(), text).expect("written");
        let laid = |line: &str| {
            let asked = read(line).expect("flags");
            let (mut settings, changes) = asked.settings(Some(file.path())).expect("it is good");
            let laid = asked.lay_over_account(&mut settings)?;
            let limits: Vec<Option<u32>> = settings
                .all_accounts()
                .map(|(_, delivery, _)| delivery.recipients_per_day.recipients())
                .collect();
            Ok::<_, Failure>((limits, changes.len(), laid.join(", ")))
        };
        let second = "[[account]] second: recipients_per_day = ";
        for (line, limits, changes, words) in [
            ("", [475, 90], 0, String::new()),
            ("--recipients-per-day 300", [275, 90], 1, String::new()),
            ("--account main --recipients-per-day 300", [275, 90], 1, String::new()),
            (
                "--account second --recipients-per-day 30 --bulk-share 7",
                [475, 20],
                1,
                format!("{second}30"),
            ),
            (
                "--account second --recipients-per-day 5",
                [475, 5],
                0,
                format!("{second}5, [[account]] second: owner_reserve = 0"),
            ),
        ] {
            let found = laid(line).expect("it fits");
            assert_eq!(found, (limits.map(Some).to_vec(), changes, words), "{line}");
        }
        for (line, words) in [
            ("--account third", "there is main, second"),
            ("--account second --owner-reserve 100", "leaves nothing of the 100 recipients"),
        ] {
            let refused = laid(line).expect_err("it does not fit");
            assert!(refused.message.contains(words), "{}", refused.message);
        }
    }

    #[test]
    fn what_no_configuration_may_say_no_flag_may_either() {
        assert_eq!(read("").map(|asked| asked.last), Some(Duration::from_secs(30 * 86_400)));
        assert_eq!(
            read("--last 36h").map(|asked| asked.last),
            Some(Duration::from_secs(36 * 3_600))
        );
        for line in [
            "--last 0d",
            "--last 3y",
            "--bulk-share 51",
            "--recipients-per-day 0",
            "--storm-after 101",
        ] {
            assert!(read(line).is_none(), "{line}");
        }
        let asked = read("--recipients-per-day 3000000000").expect("a number");
        assert!(asked.settings(None).is_err(), "more than relay.toml takes");
    }
}
