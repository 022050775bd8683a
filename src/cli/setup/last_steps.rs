//! The last steps of `pillarbox setup`: the consent in a browser, the first mail, and what to do next.
//!
//! Rule: a mail is sent only when somebody said to whom, and once, however often setup is called.

use super::{
    flow::{Reached, Setup},
    proof::Proof,
    questions::{NOBODY, Name},
};
use crate::{
    admin::client::Client,
    cli::{auth, runtime::Runtime, send},
    exit::{Exit, Failure},
    settings::Settings,
};

/// Takes them.
pub(super) fn take(setup: &mut Setup<'_>, reached: &Reached) -> Result<(), Failure> {
    let Reached { settings, proof } = reached;
    let mut next = Vec::new();
    let config = setup.found.config.clone();
    let option = if setup.found.is_system {
        String::new()
    } else {
        format!(" --config {}", config.display())
    };
    let has_daemon = answers(settings)?;
    let consents = *proof == Proof::NeedsConsent;
    if consents && setup.front.is_person() {
        // Asked before: the consent reads the terminal itself, to its end.
        ask_whom(setup, has_daemon)?;
        auth::consent(setup.out, Some(&config))?;
    } else if consents {
        next.push(format!("pillarbox auth google{option}"));
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
    Ok(())
}

fn answers(settings: &Settings) -> Result<bool, Failure> {
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
