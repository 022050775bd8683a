//! The question of `budget simulate`: which past, and under which settings.
//!
//! Rule: a flag is laid over the configuration as a variable of the environment is, so that it is checked as one. Must not know
//! what the settings do.

use std::{path::Path, time::Duration};

use clap::value_parser;

use crate::{
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
}

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

    /// The configuration of this process with these values over it, as the environment lays them; with what was laid.
    pub(super) fn settings(
        &self,
        config: Option<&Path>,
    ) -> Result<(Settings, Vec<Change>), SettingsError> {
        let mut surroundings = Surroundings::of_this_process();
        let mut changes = self.changes();
        if let (Some(per_day), None) = (self.recipients_per_day, self.owner_reserve) {
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
