//! The packages that a build compiles, as Cargo.lock has them: what must not come back, and how many there may be.

use std::collections::{BTreeMap, BTreeSet};

/// Packages that were got rid of, or are kept out. A trailing `*` stands for any ending.
const ABSENT: &[(&str, &str)] = &[
    ("oauth2", "its few requests are in src/delivery/oauth, and it brings 21 packages of its own"),
    ("chrono", "jiff is the one calendar"),
    ("icu_*", "idna's tables are those of unicode-rs: idna_adapter is 1.1, not 1.2"),
    ("zerovec", "it comes with ICU's tables"),
    ("openssl-sys", "TLS is rustls with ring"),
    ("native-tls", "TLS is rustls with ring"),
    ("aws-lc-sys", "the one cryptography provider is ring"),
    ("reqwest", "requests to other hosts are sent by delivery/https.rs"),
];

/// Packages that only these others may need, which have no other way; we have our own.
const BELOW: &[(&str, &[&str], &str)] = &[
    (
        "rand",
        &["postgres-protocol", "tokio-postgres"],
        "fastrand for what need not be secret, ring for what must",
    ),
    ("sha2", &["postgres-protocol"], "ring has SHA-256"),
];

/// Packages of others in Cargo.lock, those of tests and of other systems included. A new dependency may raise it, with
/// its reason in Cargo.toml; one that goes lowers it.
pub(super) const PACKAGES_MAX: usize = 269;

/// How many packages of others a Cargo.lock has.
pub(super) fn count(lock: &str) -> usize {
    lock.lines().filter(|line| line.starts_with("source = ")).count()
}

/// The names in a Cargo.lock.
fn names(lock: &str) -> Vec<&str> {
    let names = lock.lines().filter_map(|line| line.strip_prefix("name = \""));
    names.map(|name| name.trim_end_matches('"')).collect()
}

/// Packages that must not be there, and packages beyond the number.
pub(super) fn unwanted(lock: &str) -> Vec<String> {
    let names = names(lock);
    let mut found = Vec::new();
    for (pattern, reason) in ABSENT {
        let is_meant = |name: &&&str| match pattern.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => **name == *pattern,
        };
        found.extend(
            names.iter().filter(is_meant).map(|name| format!("Cargo.lock: `{name}`: {reason}")),
        );
    }
    found.extend(lock.split("[[package]]").flat_map(needless));
    let count = count(lock);
    if count > PACKAGES_MAX {
        found.push(format!("Cargo.lock: {count} packages; the limit is {PACKAGES_MAX}"));
    }
    found
}

/// Packages that a build has in several versions, as `cargo tree --duplicates` lists them, but for those that deny.toml
/// lets be; and what deny.toml lets be that is not there.
pub(super) fn several_versions(listed: &str, deny: &str) -> Vec<String> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in listed.lines() {
        let mut words = line.split(' ');
        if let (Some(name), Some(version)) = (words.next(), words.next()) {
            versions.entry(name).or_default().insert(version.trim_start_matches('v'));
        }
    }
    let deny: toml::Table = deny.parse().expect("deny.toml is TOML");
    let skipped = deny["bans"]["skip"].as_array().into_iter().flatten();
    let skipped = skipped.filter_map(|one| one["crate"].as_str()?.split_once('@'));
    let skipped: Vec<(&str, String)> =
        skipped.map(|(name, version)| (name, format!("{version}."))).collect();
    let is_meant = |name: &str, version: &str, (other, beginning): &(&str, String)| {
        *other == name && format!("{version}.").starts_with(beginning)
    };
    let mut found = Vec::new();
    for (name, versions) in &versions {
        let others = versions
            .iter()
            .filter(|version| !skipped.iter().any(|one| is_meant(name, version, one)))
            .copied()
            .collect::<Vec<_>>();
        if versions.len() > 1 && others.len() > 1 {
            found.push(format!("deny.toml: `{name}` is there as {}", others.join(" and ")));
        }
    }
    for one in &skipped {
        let mut all =
            versions.iter().flat_map(|(name, all)| all.iter().map(move |version| (name, version)));
        if !all.any(|(name, version)| is_meant(name, version, one)) {
            found.push(format!("deny.toml: `{}` has no second version any more", one.0));
        }
    }
    found
}

/// What one package of a Cargo.lock needs and should not.
fn needless(package: &str) -> Vec<String> {
    let name = package.lines().find_map(|line| line.strip_prefix("name = \""));
    let name = name.map_or("", |name| name.trim_end_matches('"'));
    let needs = |needed: &str| {
        // With its version where there are several.
        let word = package.split_once("dependencies = [").map_or("", |(_, list)| list);
        word.split('"').any(|text| text.split(' ').next() == Some(needed))
    };
    let wrong = BELOW.iter().filter(|(needed, by, _)| needs(needed) && !by.contains(&name));
    wrong
        .map(|(needed, _, reason)| format!("Cargo.lock: `{name}` needs `{needed}`: {reason}"))
        .collect()
}
