//! `pillarbox reload`: the running daemon reads its configuration anew.

use std::io;

use super::screen::{Form, Screen, json};
use crate::{
    admin::{client::Client, reload::Reload},
    exit::Failure,
};

pub(super) async fn run(out: &mut dyn Screen, client: &Client, form: Form) -> Result<(), Failure> {
    let reload = client.reload().await?;
    match form {
        Form::Json => json(out, &reload)?,
        Form::Text => print(out, &reload)?,
    }
    Ok(())
}

fn print(out: &mut dyn Screen, Reload { applied, at_a_start }: &Reload) -> io::Result<()> {
    match applied.as_slice() {
        [] if at_a_start.is_empty() => writeln!(out, "The configuration has not changed.")?,
        [] => {}
        keys => writeln!(out, "Changed, and in force: {}.", keys.join(", "))?,
    }
    match at_a_start.as_slice() {
        [] => Ok(()),
        keys => writeln!(
            out,
            "Changed, and in force after a restart: {}. Until then the old values stay.",
            keys.join(", ")
        ),
    }
}
