//! The part of `pillarbox check` about recipients on this host: the aliases file and who reads the rest.
//!
//! Rule: every line that is not used is named with what to write. Must not know how a name is followed.

use serde_json::{Value, json};

use super::screen::count;
use crate::{aliases_file::AliasesFile, message::aliases::Routes};

/// Lines in error that are named; the others are counted.
const PROBLEMS_SHOWN: usize = 20;

/// The file as it is now.
#[derive(Debug)]
pub(super) struct Survey<'a> {
    file: &'a AliasesFile,
    /// `None` without a file.
    routes: Option<Routes>,
    /// What a person should look at.
    pub(super) warnings: Vec<String>,
}

/// Reads the file.
pub(super) fn look(file: &AliasesFile) -> Survey<'_> {
    let path = file.choice().path().map_or_else(String::new, |path| path.display().to_string());
    match file.read() {
        Ok(routes) => {
            let aliases = routes.as_ref().map(|routes| &routes.aliases);
            let problems = aliases.map_or(&[][..], |aliases| aliases.problems());
            let mut warnings: Vec<String> = problems
                .iter()
                .take(PROBLEMS_SHOWN)
                .map(|problem| format!("{path}, {problem}"))
                .collect();
            let more = aliases.map_or(0, |aliases| aliases.problem_count()) - warnings.len();
            if more > 0 {
                warnings.push(format!("{path} has {} more", count(more as u64, "problem")));
            }
            Survey { file, routes, warnings }
        }
        Err(error) => Survey { file, routes: None, warnings: vec![error.to_string()] },
    }
}

impl Survey<'_> {
    /// For the screen.
    pub(super) fn lines(&self) -> Vec<String> {
        let local = self.file.local();
        let aliases = match (&self.routes, self.file.choice().path()) {
            (Some(routes), Some(path)) => {
                format!(
                    "{} in {}",
                    count(routes.aliases.len() as u64, "alias name"),
                    path.display()
                )
            }
            (None, Some(path)) if self.warnings.is_empty() => {
                format!("no aliases ({} is not there)", path.display())
            }
            (None, Some(path)) => format!("no aliases ({} cannot be read)", path.display()),
            (_, None) => "no aliases".to_owned(),
        };
        let admin = local.admin.as_ref().map_or_else(
            || "no other name of this host can be written to".to_owned(),
            |admin| format!("all other names of this host go to {admin}"),
        );
        let redirected = local.redirect_all.as_ref();
        let redirected =
            redirected.map(|all| format!("ALL mail, whoever it is for, goes to {all}"));
        [aliases, admin].into_iter().chain(redirected).collect()
    }

    /// For programs.
    pub(super) fn document(&self) -> Value {
        let local = self.file.local();
        let routes = self.routes.as_ref();
        json!({
            "aliases_file": self.file.choice().path(),
            "aliases": routes.map_or(0, |routes| routes.aliases.len()),
            "problems": routes.map_or(0, |routes| routes.aliases.problem_count()),
            "host_names": local.domains,
            "admin": local.admin,
            "redirect_all": local.redirect_all,
        })
    }
}
