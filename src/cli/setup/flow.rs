//! The flow of `pillarbox setup`: questions, plan, deeds, proof, and from a refusal back to the question that can mend it.
//!
//! Rule: what was answered is kept before the next question, what was done is recognised from the files. Nothing is written
//! before a yes but the draft.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use super::{
    answers, deed,
    draft::{Draft, DraftFile},
    environment,
    found::Found,
    front::{Front, expect_json},
    given::Given,
    plan::{self, Deed, Orders, Plan},
    proof::{self, Mend, Proof},
    providers::{self, Login, Place, place, provider},
    questions::{Answers, Kind, Name},
    reach::{Look, Seen, Target},
    report::{self, Document},
};
use crate::{
    careful_file,
    cli::{fitting::line_width, screen::Screen},
    delivery::{self, inspection::Link},
    exit::{Exit, Failure},
    secret::Secret,
    settings::{self, Settings, SettingsError},
};

/// What is wanted beside the answers.
#[derive(Clone, Debug)]
pub(super) struct Wishes {
    /// The configuration that was named.
    pub(super) config: Option<PathBuf>,
    /// Where the facts of the machine are read.
    pub(super) root: PathBuf,
    /// The plan alone.
    pub(super) dry_run: bool,
    /// The login is tried.
    pub(super) proves: bool,
    /// Everything is asked, also what is answered.
    pub(super) again: bool,
}

/// One call.
pub(super) struct Setup<'a> {
    pub(super) out: &'a mut dyn Screen,
    pub(super) front: Box<dyn Front>,
    pub(super) wishes: Wishes,
    pub(super) found: Found,
    pub(super) answers: Answers,
    pub(super) draft: Draft,
    pub(super) file: DraftFile,
    /// Something was answered or done, now or by an earlier call that was interrupted.
    pub(super) is_under_way: bool,
    /// What comes of it, for programs.
    pub(super) document: Document,
    /// Given, and not stored yet.
    password: Option<Secret>,
    /// The password that is stored has been refused.
    asks_password: bool,
    /// The question whose answer is at fault.
    blamed: Option<Name>,
    /// Whether the upstream can be reached is looked at.
    look: Option<Look>,
    /// Where a person knows what was seen, and goes on.
    met: Option<Target>,
}

/// The files are written and the service has read them.
#[derive(Debug)]
pub(super) struct Reached {
    pub(super) settings: Settings,
    pub(super) proof: Proof,
}

/// What follows a proof.
pub(super) enum Turn {
    On(Proof),
    Back,
    Stop,
}

/// The answer as it is kept; a file must be there and be what was asked for.
fn checked(name: Name, text: &str, place: Place, found: &Found) -> Result<String, String> {
    let answer = answers::check(name, text, place, found)?;
    if name.question().kind == Kind::File {
        let bytes = deed::secret_bytes(Path::new(&answer)).map_err(|failure| failure.message)?;
        expect_json(name, &bytes).map_err(|words| format!("{answer}: {words}"))?;
    }
    Ok(answer)
}

/// The password as it is stored.
fn password_checked(password: &Secret, answers: &Answers, found: &Found) -> Result<Secret, String> {
    delivery::typed_password(password, &plan::host(answers, found))
}

impl<'a> Setup<'a> {
    pub(super) fn new(
        out: &'a mut dyn Screen,
        front: Box<dyn Front>,
        wishes: Wishes,
    ) -> Result<Self, Failure> {
        let found = Found::look(wishes.config.as_deref(), &wishes.root)?;
        let file = DraftFile::of(&found.config);
        let mut document = Document::default();
        document.set("config", found.config.display().to_string());
        Ok(Self {
            out,
            front,
            wishes,
            answers: Answers::new(),
            draft: Draft::default(),
            file,
            found,
            is_under_way: false,
            document,
            password: None,
            asks_password: false,
            blamed: None,
            look: None,
            met: None,
        })
    }

    /// Does all of it but the last steps; `None` when it does not come to these.
    pub(super) fn run(&mut self, given: Given) -> Result<Option<Reached>, Failure> {
        let result = self.recall(given).and_then(|()| match self.found.is_container {
            true => self.hand_over(),
            false => self.set_up(),
        });
        if result.is_err() {
            self.document.set("question", self.blamed.map(Name::text));
        }
        result
    }

    /// What needs not be asked: the files say it, an earlier call has heard it, or it was given.
    fn recall(&mut self, given: Given) -> Result<(), Failure> {
        let draft = Some(&self.file).filter(|_| !self.wishes.dry_run).and_then(DraftFile::read);
        if let Some(draft) = draft {
            self.is_under_way = true;
            self.draft = draft;
        }
        if !self.wishes.again {
            self.answers = self.found.answers();
            if self.front.is_person() && !self.draft.answers.is_empty() {
                let words = format!(
                    "Going on with the answers of an earlier call ({}).",
                    self.file.path().display()
                );
                self.front.tell(&words)?;
                self.answers.extend(self.draft.answers.clone());
            }
        }
        for (name, text) in given.answers {
            self.blamed = Some(name);
            let flag = name.question().flag;
            let place = place(&self.answers);
            let answer = checked(name, &text, place, &self.found).map_err(|words| {
                Failure::new(Exit::Data, format!("{} ({flag}): {words}", name.text()))
            })?;
            self.take(name, answer);
        }
        self.blamed = None;
        given.password.map_or(Ok(()), |password| self.take_password(password))
    }

    /// A password that was given: one that is stored already is not stored again, another one not without a yes.
    fn take_password(&mut self, password: Secret) -> Result<(), Failure> {
        self.blamed = Some(Name::Password);
        let password = password_checked(&password, &self.answers, &self.found)
            .map_err(|words| Failure::new(Exit::Data, words))?;
        let path = self.found.password_file();
        if self.found.has_password && delivery::password_in(&path).as_ref() == Some(&password) {
            self.blamed = None;
            return Ok(());
        }
        let what = format!("{} holds another password. Replace it?", path.display());
        let replaces =
            !self.found.has_password || self.wishes.dry_run || self.front.agree(&what)?;
        self.password = Some(password).filter(|_| replaces);
        self.blamed = None;
        Ok(())
    }

    /// Takes an answer; with another provider, those about the one before go.
    fn take(&mut self, name: Name, answer: String) {
        let old = (name == Name::Provider).then(|| provider(&self.answers));
        self.answers.insert(name, answer);
        let new = provider(&self.answers);
        if old.is_some_and(|old| old != new) {
            self.answers.retain(|name, _| !name.is_of_provider());
            self.answers.extend(
                self.found
                    .answers_for(new)
                    .into_iter()
                    .filter(|(name, _)| name.is_of_provider() && !self.wishes.again),
            );
        }
        // Another transport may take no password.
        let place = place(&self.answers);
        let login = self.answers.get(&Name::Login).and_then(|name| Login::of(name));
        if name == Name::Transport && login.is_some_and(|login| !login.is_of(place)) {
            self.answers.remove(&Name::Login);
        }
    }

    /// Asks what is not known yet; says whether it goes on.
    fn ask(&mut self) -> Result<bool, Failure> {
        while let Some(name) = self.next() {
            let provider = provider(&self.answers);
            let has = |name| self.answers.contains_key(&name);
            if provider.is_microsoft() && self.found.is_application() && !has(Name::Login) {
                self.blamed = Some(Name::Login);
                return Err(Failure::new(Exit::Configuration, providers::OF_APPLICATION));
            }
            let asks_transport = self.wishes.again
                && name > Name::Transport
                && providers::may_use_https(provider)
                && !has(Name::Transport);
            self.begin_look(name);
            if asks_transport {
                self.put(Name::Transport)?;
                continue;
            }
            match self.meet(name)? {
                Some(Turn::Stop) => return Ok(false),
                Some(_) => {}
                None if name == Name::Password => self.put_password()?,
                None => self.put(name)?,
            }
        }
        if answers::networks(&self.answers).is_empty() {
            self.answers.remove(&Name::Listen);
        }
        self.blamed = None;
        Ok(true)
    }

    /// The next question.
    fn next(&self) -> Option<Name> {
        let is_stored = self.found.has_password || self.found.has_other_password();
        let wants_password = || {
            answers::login(&self.answers) == Some(Login::AppPassword)
                && self.password.is_none()
                && !self.found.is_container
                && (self.asks_password || !is_stored || plan::moves(&self.answers, &self.found))
        };
        answers::next(&self.answers).or_else(|| wants_password().then_some(Name::Password))
    }

    /// Begins to look whether the upstream can be reached, once it is known where it is. Only for a person whose login will
    /// be tried: whoever cannot be asked hears it from that.
    fn begin_look(&mut self, next: Name) {
        let looks = self.front.is_person()
            && self.wishes.proves
            && !self.wishes.dry_run
            && !self.found.is_container
            && !next.is_of_server();
        let target = looks.then(|| Target::of(&self.answers, &self.found)).flatten();
        if self.look.as_ref().map(|look| &look.target) == target.as_ref() {
            return;
        }
        let unknown = target.filter(|target| self.met.as_ref() != Some(target));
        // A look that cannot begin is no reason to stop: the login is tried all the same.
        self.look = unknown.and_then(|target| Look::begin(target).ok());
    }

    /// Says before the first question about the login what was seen of the upstream. Where it cannot be reached, a person says
    /// what follows; nothing when the question can be put.
    fn meet(&mut self, next: Name) -> Result<Option<Turn>, Failure> {
        let Some(look) = self.look.take_if(|_| next.is_of_login()) else { return Ok(None) };
        let seen = match look.result() {
            Some(seen) => Some(seen),
            None => {
                self.front.tell("Looking whether the server can be reached ...")?;
                look.wait()
            }
        };
        self.met = Some(look.target);
        let Some(seen) = seen else { return Ok(None) };
        self.front.tell(&seen.words())?;
        if !seen.is_closed() {
            return Ok(None);
        }
        self.turn_from(&seen)
    }

    /// What a person does about an upstream that cannot be reached.
    fn turn_from(&mut self, seen: &Seen) -> Result<Option<Turn>, Failure> {
        let mends =
            proof::mends(Link::Network, answers::login(&self.answers), place(&self.answers));
        let fits = |mend: &Mend| *mend != Mend::OverHttps || seen.may_have_https();
        let mends: Vec<Mend> = mends.into_iter().filter(fits).collect();
        let choices: Vec<String> = mends.iter().map(|mend| mend.words()).collect();
        let chosen = self.front.choose("What now", &choices)?;
        Ok(match chosen.and_then(|index| mends.get(index)).copied() {
            Some(Mend::Again) => {
                self.met = None;
                Some(Turn::Back)
            }
            Some(Mend::GoOn) | None => None,
            Some(mend) => Some(self.mend(mend)),
        })
    }

    fn put_password(&mut self) -> Result<(), Failure> {
        self.blamed = Some(Name::Password);
        let (found, answers) = (&self.found, &self.answers);
        let check = |typed: Secret| password_checked(&typed, answers, found);
        let question = providers::question(Name::Password, provider(answers));
        let password = self.front.password(&question, &check)?;
        self.password = Some(password);
        self.is_under_way = true;
        Ok(())
    }

    /// Asks one question, and keeps its answer.
    pub(super) fn put(&mut self, name: Name) -> Result<(), Failure> {
        self.blamed = Some(name);
        let (found, place) = (&self.found, place(&self.answers));
        let check = |text: &str| checked(name, text, place, found);
        let earlier = self.draft.answers.get(&name).cloned().filter(|_| self.front.is_person());
        let default = earlier.or_else(|| answers::default(name, &self.answers, found));
        // What would not do as an answer is not offered as one.
        let default = default.filter(|default| check(default).is_ok());
        let question = providers::question(name, place.provider);
        let choices = providers::choices(name, place);
        let answer = self.front.answer(&question, &choices, default.as_deref(), &check)?;
        self.take(name, answer);
        self.is_under_way = true;
        self.blamed = None;
        if self.front.is_person() { self.keep() } else { Ok(()) }
    }

    /// Keeps the answers for a later call.
    pub(super) fn keep(&mut self) -> Result<(), Failure> {
        if self.wishes.dry_run || self.found.is_container {
            return Ok(());
        }
        self.draft.answers.clone_from(&self.answers);
        if !self.found.has_directory {
            let path = self.found.directory().to_owned();
            deed::perform(&Deed::Directory { path }, &self.found, None)?;
        }
        self.file.keep(&self.draft)
    }

    fn hand_over(&mut self) -> Result<Option<Reached>, Failure> {
        self.ask()?;
        let handed = environment::handed(&self.answers);
        self.document.set_handed(&handed);
        self.document.set("result", "planned");
        write!(self.out, "{}", environment::words(&handed))?;
        Ok(None)
    }

    fn set_up(&mut self) -> Result<Option<Reached>, Failure> {
        loop {
            if !self.ask()? {
                return self.stopped();
            }
            let plan = self.plan()?;
            let Some(settings) = self.judged(&plan)? else { continue };
            if self.is_under_way || !plan.is_done() || self.wishes.dry_run {
                report::print(self.out, &plan, line_width())?;
                self.out.flush()?;
            } else {
                let config = self.found.config.display();
                writeln!(
                    self.out,
                    "All is in place: {config}. To answer anew: pillarbox setup --again"
                )?;
            }
            self.document.set_plan(&plan);
            if self.wishes.dry_run {
                self.document.set("result", "planned");
                return Ok(None);
            }
            if !plan.is_done() && !self.front.agree("Do this?")? {
                self.document.set("result", "declined");
                writeln!(self.out, "Nothing was changed. The answers are kept for the next call.")?;
                return Ok(None);
            }
            self.write(&plan)?;
            match self.prove(&plan, &settings)? {
                Turn::Back => {
                    self.found = Found::look(self.wishes.config.as_deref(), &self.wishes.root)?
                }
                Turn::Stop => return self.stopped(),
                Turn::On(proof) => {
                    self.serve(&plan)?;
                    return Ok(Some(Reached { settings, proof }));
                }
            }
        }
    }

    fn stopped(&mut self) -> Result<Option<Reached>, Failure> {
        self.document.set("result", "declined");
        writeln!(self.out, "Call pillarbox setup again to go on.")?;
        Ok(None)
    }

    fn plan(&self) -> Result<Plan, Failure> {
        let orders = Orders {
            stores_password: self.password.is_some(),
            proves: self.wishes.proves,
            service_is_due: self.draft.service_is_due,
        };
        plan::make(&self.answers, &self.found, orders).map_err(|words| {
            let words = format!("{}: {words}; correct that by hand", self.found.config.display());
            Failure::new(Exit::Configuration, words)
        })
    }

    /// What relay.toml will mean. A network that may not be trusted is asked for again; then there is nothing yet.
    fn judged(&mut self, plan: &Plan) -> Result<Option<Settings>, Failure> {
        let text = plan.text().or(self.found.text.as_deref()).unwrap_or_default();
        let error = match settings::judge(&self.found.config, text.to_owned()) {
            Ok(settings) => return Ok(Some(settings)),
            Err(error) => error,
        };
        let blames_network = match &error {
            SettingsError::Invalid(problems) => {
                problems.iter().any(|problem| problem.to_string().contains("[[listener.network]]"))
            }
            _ => false,
        };
        if blames_network && !answers::networks(&self.answers).is_empty() {
            self.blamed = Some(Name::Serve);
            if self.front.is_person() {
                self.front.tell(&format!("That cannot be: {error}"))?;
                self.answers.remove(&Name::Serve);
                self.answers.remove(&Name::Listen);
                self.draft.answers.clone_from(&self.answers);
                return Ok(None);
            }
        }
        let words = format!(
            "{} would be wrong with these answers; nothing was changed\n\n{error}",
            self.found.config.display()
        );
        Err(Failure::new(Exit::Configuration, words))
    }

    /// Writes the files.
    fn write(&mut self, plan: &Plan) -> Result<(), Failure> {
        let files = plan
            .deeds
            .iter()
            .filter(|deed| !matches!(deed, Deed::Prove { .. } | Deed::Service { .. }));
        let files: Vec<&Deed> = files.collect();
        if files.is_empty() {
            return Ok(());
        }
        self.is_under_way = true;
        self.draft.service_is_due = true;
        self.keep()?;
        let directory = File::open(self.found.directory())?;
        careful_file::lock(&directory).map_err(|error| {
            Failure::new(Exit::Temporary, format!("{}: {error}", self.found.directory().display()))
        })?;
        for deed in files {
            deed::perform(deed, &self.found, self.password.as_ref())?;
            if let Deed::Copy { to, .. } = deed {
                let name = match answers::login(&self.answers) {
                    Some(Login::Consent) => Name::ClientFile,
                    _ => Name::KeyFile,
                };
                self.answers.insert(name, to.display().to_string());
                self.keep()?;
            }
        }
        self.password = None;
        self.asks_password = false;
        Ok(())
    }

    fn prove(&mut self, plan: &Plan, settings: &Settings) -> Result<Turn, Failure> {
        let proves = plan.deeds.iter().any(|deed| matches!(deed, Deed::Prove { .. }));
        if !proves {
            return Ok(Turn::On(Proof::Proved));
        }
        self.try_login(settings)
    }

    /// Tries the login; after a refusal a person says what follows.
    pub(super) fn try_login(&mut self, settings: &Settings) -> Result<Turn, Failure> {
        writeln!(self.out, "\nTrying the login ...")?;
        self.out.flush()?;
        let proof = proof::prove(settings)?;
        let Proof::Refused { link, reason, remedy } = &proof else {
            self.document
                .set("login", if proof == Proof::Proved { "proved" } else { "needs-consent" });
            if proof == Proof::Proved {
                let what = match settings.delivery.login {
                    Some(_) => "takes it",
                    None => "answers; whether it takes this host's mail, a first mail shows",
                };
                writeln!(self.out, "{} {what}.", settings.delivery.host)?;
            }
            return Ok(Turn::On(proof));
        };
        self.document.set("login", "refused");
        let is_login = *link == Link::Login;
        let mends = proof::mends(*link, answers::login(&self.answers), place(&self.answers));
        let words = format!(
            "{}: {reason}\n  {remedy}",
            if is_login { "the login was refused" } else { "the login could not be tried" }
        );
        self.blamed = mends.iter().find_map(|mend| mend.question());
        let choices: Vec<String> = mends.iter().map(|mend| mend.words()).collect();
        let chosen = if self.front.is_person() {
            self.out.flush()?;
            self.front.tell(&words)?;
            self.front.choose("What now", &choices)?
        } else {
            None
        };
        let Some(chosen) = chosen.and_then(|index| mends.get(index)) else {
            let exit = if is_login { Exit::Permission } else { Exit::Temporary };
            let hints = mends.iter().filter_map(|mend| mend.flags());
            let words = hints.fold(words, |words, hint| format!("{words}\n  {hint}"));
            return Err(Failure::new(exit, words));
        };
        self.blamed = None;
        Ok(self.mend(*chosen))
    }

    /// What follows when a person wants this.
    fn mend(&mut self, mend: Mend) -> Turn {
        match mend {
            Mend::Ask(name) => self.ask_again(name),
            Mend::OverHttps => {
                self.take(Name::Transport, providers::GMAIL_API.to_owned());
                self.draft.answers.clone_from(&self.answers);
                Turn::Back
            }
            Mend::Consent => Turn::On(Proof::NeedsConsent),
            Mend::Again => Turn::Back,
            Mend::GoOn => Turn::On(Proof::Proved),
            Mend::Stop => Turn::Stop,
        }
    }

    /// Goes through it once more, with a question that is asked again if one is named.
    pub(super) fn run_from(&mut self, name: Option<Name>) -> Result<Option<Reached>, Failure> {
        if let Some(name) = name {
            self.ask_again(name);
        }
        self.found = Found::look(self.wishes.config.as_deref(), &self.wishes.root)?;
        self.set_up()
    }

    fn ask_again(&mut self, name: Name) -> Turn {
        self.asks_password = name == Name::Password;
        let old = self.answers.remove(&name);
        if name == Name::Account && self.answers.get(&Name::RootTo) == old.as_ref() {
            self.answers.remove(&Name::RootTo);
        }
        self.draft.answers.clone_from(&self.answers);
        Turn::Back
    }

    /// Has the service read what was written.
    fn serve(&mut self, plan: &Plan) -> Result<(), Failure> {
        for deed in plan.deeds.iter().filter(|deed| matches!(deed, Deed::Service { .. })) {
            let (words, _) = deed.words(plan.owner);
            writeln!(self.out, "{words} ...")?;
            self.out.flush()?;
            deed::perform(deed, &self.found, None)?;
        }
        if self.draft.service_is_due {
            self.draft.service_is_due = false;
            self.keep()?;
        }
        Ok(())
    }
}
