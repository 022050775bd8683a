//! Every key of the configuration as it is written, with where that is.
//!
//! Rule: a key that nobody has written is there as well, with its default. Must not know who shows it.

use std::fmt;

use super::{
    document::{REPEATED, numbered},
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
    let waits = |one: &Setting| waiting.contains(&format!("{}.{}", one.section, one.key));
    let old = |one: &Setting| {
        let old = running.0.iter().find(|old| (&old.section, &old.key) == (&one.section, &one.key));
        old.cloned().unwrap_or_else(|| one.clone())
    };
    let holding = fresh.0.iter().map(|one| match waits(one) {
        true => Setting { waits_for_restart: true, ..old(one) },
        false => one.clone(),
    });
    Written(holding.collect())
}
