//! `pillarbox page`: a way into the page, and who is in.
//!
//! Rule: the link is printed and nowhere else; whoever reads it first is in. Must not know what the page shows.

use clap::{Args, Subcommand};

use super::screen::{self, Form, Screen, Side, Table, json, when};
use crate::{
    admin::{
        client::Client,
        page::PageSessions,
        sessions::{Listed, Role},
    },
    exit::Failure,
};

#[derive(Clone, Debug, Args)]
#[group(skip)]
pub(super) struct Arguments {
    /// The link is for looking only: nothing can be done with it.
    #[arg(long)]
    look: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Command {
    /// List who visits the page.
    Sessions,
    /// End a session.
    End {
        /// Its number, as `page sessions` prints it.
        number: u64,
    },
}

pub(super) async fn run(
    out: &mut dyn Screen,
    client: &Client,
    form: Form,
    arguments: &Arguments,
) -> Result<(), Failure> {
    match arguments.command {
        None => {
            let role = if arguments.look { Role::Look } else { Role::Act };
            let link = client.page_link(role).await?;
            match form {
                Form::Json => json(out, &link)?,
                Form::Text => {
                    writeln!(out, "{}", link.url)?;
                    writeln!(
                        out,
                        "Open it in a browser within five minutes. It works once, and whoever opens it is in for twelve hours."
                    )?;
                    if let Some(forwarded) = forwarded(&link.url) {
                        writeln!(out, "From another machine, first: {forwarded}")?;
                    }
                }
            }
        }
        Some(Command::Sessions) => {
            let answer = client.page_sessions().await?;
            match form {
                Form::Json => json(out, &answer)?,
                Form::Text => print(out, &answer)?,
            }
        }
        Some(Command::End { number }) => {
            let ended = client.end_page_session(number).await?;
            match form {
                Form::Json => json(out, &ended)?,
                Form::Text => writeln!(out, "Session {} has ended.", ended.number)?,
            }
        }
    }
    Ok(())
}

/// How a browser elsewhere finds a page of this host alone.
fn forwarded(url: &str) -> Option<String> {
    let name = url.strip_prefix("http://")?.split('/').next()?;
    let (_, port) = name.rsplit_once(':')?;
    let is_local =
        name.starts_with("127.") || name.starts_with("[::1]") || name.starts_with("localhost");
    is_local.then(|| format!("ssh -L {port}:{name} this-host"))
}

fn print(out: &mut dyn Screen, answer: &PageSessions) -> std::io::Result<()> {
    if answer.sessions.is_empty() {
        return writeln!(out, "Nobody visits the page. `pillarbox page` makes a link to it.");
    }
    let mut table = Table::new([
        ("SESSION", Side::Right),
        ("SINCE", Side::Left),
        ("UNTIL", Side::Left),
        ("MAY", Side::Left),
        ("WHO", Side::Left),
    ]);
    let row = |session: &Listed| {
        [
            session.number.to_string(),
            when(session.since, answer.now),
            when(session.until, answer.now),
            session.role.name().to_owned(),
            screen::clean(&session.person),
        ]
    };
    table.print(out, &answer.sessions.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    #[test]
    fn a_page_of_this_host_alone_says_how_it_is_reached_from_elsewhere() {
        let way = |url| forwarded(url);
        assert_eq!(
            way("http://127.0.0.1:8025/enter?link=x").as_deref(),
            Some("ssh -L 8025:127.0.0.1:8025 this-host")
        );
        assert_eq!(way("https://relay.example.org/enter?link=x"), None);
        assert_eq!(way("http://relay.lan:8025/enter?link=x"), None);
    }

    #[test]
    fn the_sessions_are_a_table() {
        let session = Listed {
            number: 3,
            person: "alice (user 1000)".into(),
            role: Role::Look,
            since: Timestamp(1_800_000_000_000),
            until: Timestamp(1_800_043_200_000),
        };
        let mut answer =
            PageSessions { now: Timestamp(1_800_000_060_000), sessions: vec![session] };
        let mut out = Vec::new();
        print(&mut out, &answer).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("SESSION  SINCE"), "{text}");
        assert!(text.contains("1 min ago") && text.contains("in 11 h"), "{text}");
        assert!(text.trim_end().ends_with("look  alice (user 1000)"), "{text}");
        answer.sessions.clear();
        let mut out = Vec::new();
        print(&mut out, &answer).unwrap();
        assert!(String::from_utf8(out).unwrap().starts_with("Nobody visits the page."));
    }
}
