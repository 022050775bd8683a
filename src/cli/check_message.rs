//! `pillarbox check --message FILE`: which rule would strike a message, and why the others would not.
//!
//! Rule: judged by the same code as mail that comes in; nothing is sent or kept. Must not know how a rule is compiled.

use std::{
    fs::File,
    io::{self, Read as _},
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::{Value, json};

use super::screen::{self, Screen, count, labelled};
use crate::{
    clock::Timestamp,
    exit::{Exit, Failure},
    message::{
        address_list,
        envelope::LocalUser,
        excerpt::{Excerpt, Wanted},
        header::HEADER_BYTES_MAX,
    },
    quantities,
    rules::{Facts, Judgement, Outcome},
    settings,
    smtp::address::Address,
};

/// A message, and what its client would have said of it.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Show which rule this message would meet, and why not the others.
    #[arg(long, value_name = "FILE")]
    pub(super) message: Option<PathBuf>,
    /// The client's address; default: 127.0.0.1, as of a program of this host.
    #[arg(long, value_name = "ADDRESS", requires = "message")]
    client: Option<IpAddr>,
    /// The login of the client.
    #[arg(long, value_name = "LOGIN", requires = "message")]
    login: Option<String>,
    /// The user of this host whose program hands it over.
    #[arg(long, value_name = "NAME", requires = "message")]
    user: Option<String>,
    /// The reverse path (MAIL FROM), or <>; default: the address in From.
    #[arg(long, value_name = "ADDRESS", requires = "message")]
    sender: Option<String>,
    /// A recipient, after aliases; may be given several times. Default: those in To, Cc and Bcc.
    #[arg(long, value_name = "ADDRESS", requires = "message")]
    recipient: Vec<Address>,
    /// The hour of the day, 0 to 23; default: the present one.
    #[arg(long, value_name = "HOUR", requires = "message", value_parser = clap::value_parser!(u8).range(..24))]
    hour: Option<u8>,
}

/// What is judged.
struct Sample {
    excerpt: Excerpt,
    size_bytes: u64,
    sender: Option<Address>,
    recipients: Vec<Address>,
    user: Option<LocalUser>,
}

/// Judges and prints.
pub(super) fn run(
    out: &mut dyn Screen,
    config: Option<&Path>,
    arguments: &Arguments,
    as_json: bool,
    now: Timestamp,
) -> Result<(), Failure> {
    let settings = settings::load(config)?;
    let rules = &settings.listener.rules;
    let Some(path) = &arguments.message else { return Ok(()) };
    let sample = arguments.sample(path, rules.wanted())?;
    let facts = Facts {
        client: arguments.client.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)).to_canonical(),
        login: arguments.login.as_deref(),
        user: sample.user.as_ref(),
        reverse_path: sample.sender.as_ref(),
        forward_paths: &sample.recipients,
        excerpt: &sample.excerpt,
        size_bytes: sample.size_bytes,
        hour: arguments.hour.unwrap_or_else(|| quantities::hour(now)),
    };
    let (judgements, routes) = (rules.explain(&facts), rules.explain_routes(&facts));
    if as_json {
        let mut document = document(&facts, &judgements);
        if !routes.is_empty() {
            document["route"] = json!(struck(&routes).map(|one| one.name));
            document["routes"] = outcomes(&routes);
        }
        return Ok(screen::json(out, &document)?);
    }
    print(out, &facts, &judgements)?;
    print_routes(out, &routes)?;
    Ok(())
}

impl Arguments {
    fn sample(&self, path: &Path, wanted: &Wanted) -> Result<Sample, Failure> {
        let unreadable = |error: io::Error| {
            let message = format!("{} cannot be read: {error}", path.display());
            Failure::new(Exit::Usage, message)
        };
        let mut file = File::open(path).map_err(unreadable)?;
        let mut beginning = Vec::new();
        let limit = HEADER_BYTES_MAX as u64;
        file.by_ref().take(limit).read_to_end(&mut beginning).map_err(unreadable)?;
        let rest = io::copy(&mut file, &mut io::sink()).map_err(unreadable)?;
        let mut wanted = wanted.clone();
        ["from", "to", "cc", "bcc"].into_iter().for_each(|name| wanted.add(name));
        let excerpt = Excerpt::of(&beginning, rest == 0, &wanted);
        let in_fields = |names: &[&str]| {
            let mut found = address_list::Found::default();
            let values = names.iter().flat_map(|name| excerpt.values(name));
            values.for_each(|value| found.read(value));
            found.addresses
        };
        let sender = match self.sender.as_deref() {
            None => in_fields(&["from"]).into_iter().next(),
            Some("<>" | "") => None,
            Some(text) => {
                let text =
                    text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(text);
                let read: Result<Address, _> = text.parse();
                Some(read.map_err(|error| {
                    Failure::new(Exit::Usage, format!("--sender {text} is not an address: {error}"))
                })?)
            }
        };
        let recipients = match self.recipient.is_empty() {
            true => in_fields(&["to", "cc", "bcc"]),
            false => self.recipient.clone(),
        };
        let user = self.user.as_ref().map(|name| LocalUser {
            uid: name.parse().unwrap_or(u32::MAX),
            name: Some(name.clone()),
            claimed: false,
        });
        let size_bytes = beginning.len() as u64 + rest;
        Ok(Sample { excerpt, size_bytes, sender, recipients, user })
    }
}

fn print(out: &mut dyn Screen, facts: &Facts<'_>, all: &[Judgement<'_>]) -> io::Result<()> {
    let sender = facts.reverse_path.map_or_else(|| "<>".to_owned(), ToString::to_string);
    let recipients: Vec<String> = facts.forward_paths.iter().map(ToString::to_string).collect();
    let to = if recipients.is_empty() { "nobody".to_owned() } else { recipients.join(", ") };
    let octets = count(facts.size_bytes, "octet");
    let of = format!("from {sender} to {to}, {octets}, by {} at {} h", facts.client, facts.hour);
    labelled(out, "message", &[of])?;
    labelled(out, "rules", &lines(all))?;
    match struck(all) {
        Some(rule) => writeln!(out, "\nThe rule {} strikes this message.", rule.name),
        None if all.is_empty() => writeln!(out, "\nThere are no rules."),
        None => writeln!(out, "\nNo rule strikes this message; it is taken as its network says."),
    }
}

/// What became of each, a line each.
fn lines(all: &[Judgement<'_>]) -> Vec<String> {
    let line = |one: &Judgement<'_>| match &one.outcome {
        Outcome::Struck(effect) => format!("{} strikes: {}", one.name, effect.join(", ")),
        Outcome::TooLate => format!("{} fits, but an earlier one strikes", one.name),
        Outcome::Unfit(why) => format!("{} does not: {}", one.name, why.join("; ")),
    };
    all.iter().map(line).collect()
}

/// The one that counts.
fn struck<'a, 'b>(all: &'a [Judgement<'b>]) -> Option<&'a Judgement<'b>> {
    all.iter().find(|one| matches!(one.outcome, Outcome::Struck(_)))
}

/// Where there are routes, the one that it takes.
fn print_routes(out: &mut dyn Screen, all: &[Judgement<'_>]) -> io::Result<()> {
    if all.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    labelled(out, "routes", &lines(all))?;
    match struck(all) {
        Some(route) => writeln!(out, "\nIt takes the route {}.", route.name),
        None => writeln!(out, "\nIt takes no route, so it leaves by the account main."),
    }
}

fn document(facts: &Facts<'_>, all: &[Judgement<'_>]) -> Value {
    json!({
        "client": facts.client,
        "login": facts.login,
        "user": facts.user.map(LocalUser::shown),
        "sender": facts.reverse_path,
        "recipients": facts.forward_paths,
        "size_bytes": facts.size_bytes,
        "hour": facts.hour,
        "rule": struck(all).map(|one| one.name),
        "rules": outcomes(all),
    })
}

fn outcomes(all: &[Judgement<'_>]) -> Value {
    let outcome = |one: &Judgement<'_>| match &one.outcome {
        Outcome::Struck(effect) => {
            json!({ "name": one.name, "outcome": "struck", "effect": effect })
        }
        Outcome::TooLate => json!({ "name": one.name, "outcome": "too-late" }),
        Outcome::Unfit(why) => json!({ "name": one.name, "outcome": "unfit", "why": why }),
    };
    all.iter().map(outcome).collect()
}
