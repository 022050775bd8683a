//! The last steps of `pillarbox setup`: the consent in a browser, the first mail, and what to do next.
//!
//! Rule: a mail is sent only when somebody said to whom, and once, however often setup is called.

use std::path::Path;

use super::{
    flow::{Reached, Setup, Turn},
    proof::{self, Mend, Proof},
    providers::{Login, place},
    questions::{NOBODY, Name},
};
use crate::{
    admin::client::Client,
    cli::{auth, runtime::Runtime, send},
    exit::{Exit, Failure},
    settings::Settings,
};

/// How they ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// There is no more to do, or a later call goes on.
    Enough,
    /// From the plan on, with a question that is to be asked again if one is named.
    Back(Option<Name>),
}

/// Takes them.
pub(super) fn take(setup: &mut Setup<'_>, reached: &Reached) -> Result<Taken, Failure> {
    let Reached { settings, proof } = reached;
    let mut next = Vec::new();
    let config = setup.found.config.clone();
    let option = if setup.found.is_system {
        String::new()
    } else {
        format!(" --config {}", config.display())
    };
    let has_daemon = is_answered(settings)?;
    let consents = *proof == Proof::NeedsConsent;
    if consents && setup.front.is_person() {
        // Asked before: the consent reads the terminal itself, to its end.
        ask_whom(setup, has_daemon)?;
        match consented(setup, &config)? {
            Mend::GoOn => {}
            Mend::Ask(name) => return Ok(Taken::Back(Some(name))),
            _ => return stopped(setup),
        }
        // Only the upstream knows whether it is this account that has consented.
        if setup.wishes.proves {
            match setup.try_login(settings)? {
                Turn::On(Proof::Proved) => {}
                Turn::On(_) => return take(setup, reached),
                Turn::Back => return Ok(Taken::Back(None)),
                Turn::Stop => return stopped(setup),
            }
        }
    } else if consents {
        let command = auth::command(settings.delivery.login.as_ref());
        next.extend(command.map(|command| format!("{command}{option}")));
    } else {
        ask_whom(setup, has_daemon)?;
    }
    let is_unproved = consents && !setup.front.is_person();
    if !has_daemon {
        next.push(match setup.found.has_unit {
            true => "systemctl start pillarbox".to_owned(),
            false => format!("pillarbox run{option}"),
        });
    }
    let whom = setup.answers.get(&Name::SendTo).filter(|to| *to != NOBODY).cloned();
    let result = match whom {
        Some(to) if has_daemon && !is_unproved => first_mail(setup, &to),
        Some(to) => {
            next.push(format!("pillarbox send{option} --wait {to}"));
            Ok(())
        }
        None => Ok(()),
    };
    // A message that still waits is followed again by the next call.
    if !matches!(&result, Err(failure) if failure.exit == Exit::Temporary) {
        setup.file.remove()?;
    }
    result?;
    if has_daemon {
        next.push(format!("pillarbox status{option}"));
    }
    setup.document.set("result", "done");
    setup.document.set("next", next.clone());
    writeln!(setup.out, "\nDone. Next:")?;
    next.iter().try_for_each(|command| writeln!(setup.out, "  {command}"))?;
    Ok(Taken::Enough)
}

fn stopped(setup: &mut Setup<'_>) -> Result<Taken, Failure> {
    writeln!(setup.out, "Call pillarbox setup again to go on.")?;
    Ok(Taken::Enough)
}

/// Has the owner consent; when he does not, what the person wants instead.
fn consented(setup: &mut Setup<'_>, config: &Path) -> Result<Mend, Failure> {
    let asked = proof::asked(Login::Consent, place(&setup.answers)).into_iter().map(Mend::Ask);
    let mends: Vec<Mend> = [Mend::Again].into_iter().chain(asked).chain([Mend::Stop]).collect();
    loop {
        let Err(failure) = auth::consent(setup.out, Some(config)) else { return Ok(Mend::GoOn) };
        setup.out.flush()?;
        setup.front.tell(&failure.message)?;
        let choices: Vec<String> = mends.iter().map(|mend| mend.words()).collect();
        let chosen = setup.front.choose("What now", &choices)?;
        match chosen.and_then(|index| mends.get(index)) {
            Some(Mend::Again) => {}
            mend => return Ok(mend.copied().unwrap_or(Mend::Stop)),
        }
    }
}

fn is_answered(settings: &Settings) -> Result<bool, Failure> {
    let client = Client::new(settings.admin.socket.clone());
    Ok(Runtime::of_a_question()?.block_on(client.status()).is_ok())
}

/// Whoever sets up is asked once; a call that finds all in place sends nothing that was not asked for.
fn ask_whom(setup: &mut Setup<'_>, has_daemon: bool) -> Result<(), Failure> {
    let is_due = setup.is_under_way && has_daemon && setup.front.is_person();
    if is_due && !setup.answers.contains_key(&Name::SendTo) {
        setup.out.flush()?;
        setup.put(Name::SendTo)?;
    }
    Ok(())
}

fn first_mail(setup: &mut Setup<'_>, to: &str) -> Result<(), Failure> {
    let config = setup.found.config.clone();
    let id = match setup.draft.sent {
        Some(id) => id,
        None => {
            let id = send::hand_over_to(Some(&config), to)?;
            setup.draft.sent = Some(id);
            setup.keep()?;
            id
        }
    };
    setup.document.set("message", id.to_string());
    writeln!(setup.out, "\nA first mail to {to}:")?;
    setup.out.flush()?;
    send::watch(setup.out, Some(&config), id)
}
