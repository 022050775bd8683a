//! The plan for a terminal of any width, and the documents for programs.
//!
//! Rule: the documents are an interface and stay (docs/setup.md); nothing in them is a secret, and nothing that was typed or
//! found steers a terminal.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::{
    answers,
    environment::Handed,
    found::Found,
    plan::Plan,
    providers,
    questions::{Answers, Kind, Name, QUESTIONS},
};
use crate::cli::{fitting::beside, screen::clean};

/// The version of the documents.
const VERSION: u32 = 1;
/// Before the words of a deed, and before its lines.
const MARGIN: usize = 5;
const INNER: usize = 9;

/// Prints the plan, for so many columns.
pub(super) fn print(out: &mut dyn Write, plan: &Plan, width: usize) -> io::Result<()> {
    writeln!(out, "\nThe plan:\n")?;
    let mut put = |margin: usize, head: &str, text: &str| {
        let lines = beside(&format!("{head:>margin$}"), &clean(text), width);
        lines.iter().try_for_each(|line| writeln!(out, "{line}"))
    };
    for (index, deed) in plan.deeds.iter().enumerate() {
        let (words, lines) = deed.words(plan.owner);
        put(MARGIN, &format!("{:>2}.  ", index + 1), &words)?;
        lines.iter().try_for_each(|line| put(INNER, "", line))?;
    }
    plan.notes.iter().try_for_each(|note| put(MARGIN, "  -  ", note))?;
    writeln!(out, "\nNothing else is changed.")
}

/// What came of it, for programs.
#[derive(Debug, Default)]
pub(super) struct Document(Map<String, Value>);

impl Document {
    /// Notes one thing.
    pub(super) fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.0.insert(key.to_owned(), value.into());
    }

    /// The plan.
    pub(super) fn set_plan(&mut self, plan: &Plan) {
        let deeds: Vec<Value> = plan.deeds.iter().map(|deed| deed.document(plan.owner)).collect();
        self.set("plan", deeds);
        self.set("notes", plan.notes.clone());
    }

    /// What a container is handed.
    pub(super) fn set_handed(&mut self, handed: &Handed) {
        let variables: Map<String, Value> = handed
            .variables
            .iter()
            .map(|(name, value)| (name.clone(), value.clone().into()))
            .collect();
        self.set("environment", variables);
        let secret = handed.secret.as_ref();
        let secret = secret.map(|secret| json!({ "file": secret.from, "mounted_at": secret.to, "content": secret.content }));
        self.set("secret_file", secret);
    }

    /// The whole, with every key that there may be.
    pub(super) fn finished(self) -> Value {
        let mut whole = json!({
            "version": VERSION,
            "config": null,
            "result": "failed",
            "question": null,
            "error": null,
            "plan": [],
            "notes": [],
            "environment": null,
            "secret_file": null,
            "login": null,
            "message": null,
            "next": [],
        });
        if let Some(fields) = whole.as_object_mut() {
            fields.extend(self.0);
        }
        whole
    }
}

/// The questions, for programs that ask them in their own way.
pub(super) fn questions(found: &Found) -> Value {
    let answered = found.answers();
    let known = [Name::Provider, Name::Transport].into_iter();
    let known: Answers =
        known.filter_map(|name| Some((name, answered.get(&name)?.clone()))).collect();
    let place = providers::place(&known);
    let questions: Vec<Value> = QUESTIONS.iter().map(|question| {
        let default = answers::default(question.name, &known, found);
        let question = providers::question(question.name, place.provider);
        let choices = providers::choices(question.name, place);
        let choices: Vec<Value> =
            choices.into_iter().map(|(name, whom)| json!({ "name": name, "help": whom })).collect();
        json!({
            "name": question.name,
            "kind": question.kind,
            "prompt": question.prompt,
            "help": question.help,
            "default": default,
            "choices": choices,
            "secret": question.kind == Kind::Secret,
            "when": question.when,
            "flag": question.flag,
            "answered": answered.contains_key(&question.name)
                || (question.name == Name::Password && (found.has_password || found.has_other_password())),
        })
    }).collect();
    json!({
        "version": VERSION,
        "config": found.config,
        "container": found.is_container,
        "questions": questions,
    })
}
