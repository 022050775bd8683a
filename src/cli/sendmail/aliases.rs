//! `newaliases` and `sendmail -bv`: what the aliases file says, and where an address would go.
//!
//! Rule: the daemon reads the file by itself, so nothing is built; a mistake is told, and the rest of the file works.
//! Who may not read the configuration is answered from its defaults. Must not know how a name is followed.

use std::path::{Path, PathBuf};

use super::print;
use crate::{
    aliases_file::{AliasesFile, Choice},
    message::{
        address_list::Found,
        aliases::{LocalNames, Routes},
    },
    sendmail::{
        configured::Source,
        environment,
        trouble::{Code, Trouble},
    },
    settings::{self, Surroundings, host::Host},
};

/// Checks the file.
pub(super) fn check(
    config: Option<&Path>,
    source: &Source,
    complain: &mut dyn FnMut(&str),
) -> Result<(), Trouble> {
    let (file, routes) = read(config, source)?;
    let path = file.choice().path().map_or_else(String::new, |path| path.display().to_string());
    let problems = routes.aliases.problems();
    problems.iter().for_each(|problem| complain(&format!("{path}, {problem}")));
    let more = routes.aliases.problem_count() - problems.len();
    if more > 0 {
        complain(&format!("{path} has {more} more mistakes"));
    }
    Ok(())
}

/// Prints where mail for each address would go.
pub(super) fn explain(
    config: Option<&Path>,
    source: &Source,
    addresses: &[String],
) -> Result<(), Trouble> {
    let mut found = Found::default();
    addresses.iter().for_each(|text| found.read(text));
    if let Some(text) = found.unreadable.first() {
        return Err(Trouble::new(Code::Data, format!("\"{text}\" is not an address")));
    }
    if found.addresses.is_empty() {
        return Err(Trouble::new(Code::Usage, "name the addresses: sendmail -bv ADDRESS..."));
    }
    let (_, routes) = read(config, source)?;
    let mut unknown = None;
    for address in &found.addresses {
        match routes.of(address) {
            Ok(_) => {
                let lines =
                    routes.explain(address).into_iter().map(|line| format!("{address}: {line}\n"));
                print(&lines.collect::<String>())?;
            }
            Err(reason) => {
                unknown = Some(Trouble::new(Code::NoUser, format!("{address}: {reason}")))
            }
        }
    }
    unknown.map_or(Ok(()), Err)
}

fn read(config: Option<&Path>, source: &Source) -> Result<(AliasesFile, Routes), Trouble> {
    let mut surroundings = Surroundings::of_this_process();
    // Never the file of the present directory.
    surroundings.local_file = PathBuf::new();
    if environment::has_foreign_rights() {
        surroundings.variables.clear();
    }
    let file = match settings::load_in(config, &surroundings) {
        Ok(settings) => {
            let file = &settings.listener.recipients;
            AliasesFile::new(file.choice().clone(), file.local().clone())
        }
        Err(_) => by_defaults(source),
    };
    let routes =
        file.read().map_err(|error| Trouble::new(Code::Configuration, error.to_string()))?;
    let routes =
        routes.unwrap_or_else(|| Routes { local: file.local().clone(), ..Routes::default() });
    Ok((file, routes))
}

fn by_defaults(source: &Source) -> AliasesFile {
    let choice = match source.get("identity", "aliases_file") {
        None => Choice::Usual,
        Some("" | "off") => Choice::Off,
        Some(path) => Choice::Named(path.into()),
    };
    let host = Host::of_this_machine();
    let admin = source.get("identity", "admin").and_then(|admin| admin.parse().ok());
    AliasesFile::new(choice, LocalNames { admin, domains: host.mail_names(), redirect_all: None })
}
