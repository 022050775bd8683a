//! Every key of the configuration as it is written, with where that is.
//!
//! Rule: a key that nobody has written is there as well, with its default. Must not know who shows it.

use std::fmt;

use super::{
    document::{ACCOUNT, REPEATED, numbered, without_number},
    load::Sections,
    report::Report,
    shown::Shown,
};
use crate::admin::configured::Setting;

/// Every key as it is written, or by default.
#[derive(Clone)]
pub(super) struct Written(pub(super) Vec<Setting>);

/// Without the keys: what follows from them is shown by the checked configuration.
impl fmt::Debug for Written {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Written").finish_non_exhaustive()
    }
}

/// Every key of these sections.
pub(super) fn written(sections: &Sections, report: &Report<'_>) -> Written {
    let mut settings = Vec::new();
    for (section, keys) in sections.shown() {
        let mut several = Vec::new();
        for (key, shown) in keys {
            match shown {
                Shown::Sections(all) => several.extend(
                    all.into_iter()
                        .enumerate()
                        .map(|(index, keys)| (numbered(&list_name(section, key), index), keys)),
                ),
                // A list of sections of which there is none.
                Shown::Nothing if is_list_of_sections(section, key) => {}
                shown => settings.push(setting(section, key, shown, report)),
            }
        }
        for (section, keys) in several {
            settings
                .extend(keys.into_iter().map(|(key, shown)| setting(&section, key, shown, report)));
        }
    }
    Written(settings)
}

fn is_list_of_sections(section: &str, key: &str) -> bool {
    REPEATED.contains(&list_name(section, key).as_str())
}

/// The name of a list of sections: of one in a section, or of one that stands alone.
fn list_name(section: &str, key: &str) -> String {
    if key.is_empty() { section.to_owned() } else { format!("{section}.{key}") }
}

fn setting(section: &str, key: &str, shown: Shown, report: &Report<'_>) -> Setting {
    let value = match shown {
        Shown::Path(path) => Some(report.path(section, key, &path).display().to_string()),
        shown => shown.text(),
    };
    Setting {
        section: section.to_owned(),
        key: key.to_owned(),
        value,
        origin: report.origin(section, key),
        waits_for_restart: false,
    }
}

/// Of a changed configuration the keys that wait for a restart with the values that hold until then.
pub(super) fn holding(fresh: &Written, running: &Written, waiting: &[String]) -> Written {
    let section = |one: &Setting| without_number(&one.section).to_owned();
    let waits = |one: &Setting| waiting.contains(&format!("{}.{}", section(one), one.key));
    let old = |one: &Setting| {
        let old = running.0.iter().find(|old| (&old.section, &old.key) == (&one.section, &one.key));
        old.cloned().unwrap_or_else(|| one.clone())
    };
    let kept = |one: Setting| Setting { waits_for_restart: true, ..one };
    // With other accounts all of them wait: what is written of them now belongs to others.
    let others = waiting.iter().any(|key| key == "account.name");
    let is_of_account = |one: &&Setting| section(one) == ACCOUNT;
    let mut old_accounts = running.0.iter().filter(|_| others).filter(is_of_account);
    let mut holding = Vec::new();
    for one in &fresh.0 {
        if others && is_of_account(&one) {
            holding.extend(old_accounts.by_ref().cloned().map(kept));
        } else if waits(one) {
            holding.push(kept(old(one)));
        } else {
            holding.push(one.clone());
        }
    }
    // There is none any more.
    holding.extend(old_accounts.cloned().map(kept));
    Written(holding)
}
