//! The words of `pillarbox sandbox`: the welcome, the scenario it plays, the list of scenarios.
//!
//! Rule: whoever reads it can act at once, with commands that can be copied. Must not know how anything
//! is started.

use std::{env, ffi::OsString, net::SocketAddr, path::Path};

use crate::{
    cli::exit::{Exit, Failure},
    sandbox::{HOST, SCENARIOS, Scenario, USERNAME},
};

/// Where everything is.
#[derive(Clone, Copy)]
pub(super) struct Places<'a> {
    pub(super) listening: SocketAddr,
    pub(super) upstream: SocketAddr,
    pub(super) directory: &'a Path,
    pub(super) socket: &'a Path,
    pub(super) submit: &'a Path,
}

/// What a person needs to try it.
pub(super) fn welcome(places: &Places<'_>, scenario: Option<&Scenario>) -> String {
    let Places { listening, upstream, directory, socket, submit } = *places;
    let (address, port) = (listening.ip(), listening.port());
    let scenario = scenario.map_or_else(String::new, announcement);
    let program = program(env::args_os().next());
    let trusted = if address.is_loopback() { "" } else { " of private networks" };
    format!(
        r#"
Pillarbox sandbox: the whole relay against a built-in look-alike of Gmail.
Nothing leaves this machine. The real thing, with your account, is `{program} run`.

  takes mail on   {listening} (SMTP{trusted}, no password)
  relays to       {HOST}:{upstream_port} (the look-alike, over TLS, logged in as {USERNAME})
  queue           {directory}
  admin socket    {socket}
{scenario}
Send a mail in any of these ways:

  swaks --server {listening} --from me@example.org --to you@example.org

  printf 'Subject: Hello\r\n\r\nIt works.\r\n' | curl -sS --upload-file - --mail-from me@example.org --mail-rcpt you@example.org smtp://{listening}

  python3 -c 'import smtplib; s = smtplib.SMTP("{address}", {port}); s.sendmail("me@example.org", ["you@example.org"], "Subject: Hello\n\nIt works.\n"); s.quit()'

  printf 'Subject: Hello\n\nIt works.\n' | PILLARBOX_SUBMIT={submit} {program} sendmail you@example.org

Some recipients make the look-alike refuse as Gmail does: nosuch@, full@, tmp@, spam@, quota@. The last one says
that the day's limit is reached: the account pauses and all mail waits until the look-alike is started anew.
`{program} sandbox --scenario list` shows more kinds of trouble.

See what waits, and why:  {program} status --socket {socket}
End a pause, try now:     {program} resume --socket {socket}
Stop:                     Ctrl-C

From here on, one line for each stage of each message.

"#,
        upstream_port = upstream.port(),
        directory = directory.display(),
        socket = socket.display(),
        submit = submit.display(),
    )
}

/// The program as it was called here, so that the commands work when they are copied: it is seldom in the PATH yet.
fn program(called: Option<OsString>) -> String {
    let called = called.and_then(|name| name.into_string().ok());
    called.filter(|name| !name.is_empty()).unwrap_or_else(|| "pillarbox".to_owned())
}

/// What will happen, and what to look at.
fn announcement(scenario: &Scenario) -> String {
    let block = |text: &str| wrapped(text, WIDTH - INDENT.len()).join(&format!("\n{INDENT}"));
    format!(
        "\nScenario {}: {}\n\n  what happens    {}\n  watch for       {}\n",
        scenario.name,
        scenario.shows,
        block(scenario.happens),
        block(scenario.watch)
    )
}

/// Every scenario in a line.
pub(super) fn list() -> String {
    let width = SCENARIOS.iter().map(|scenario| scenario.name.len()).max().unwrap_or(0);
    let line = |scenario: &Scenario| format!("  {:<width$}  {}\n", scenario.name, scenario.shows);
    let lines: String = SCENARIOS.iter().map(line).collect();
    format!("Scenarios of the sandbox (pillarbox sandbox --scenario NAME):\n\n{lines}")
}

/// The scenario of that name; otherwise the list helps.
pub(super) fn find(name: &str) -> Result<&'static Scenario, Failure> {
    Scenario::find(name).ok_or_else(|| {
        let near =
            |scenario: &&Scenario| strsim::damerau_levenshtein(scenario.name, name) <= TYPOS_MAX;
        let hint = SCENARIOS
            .iter()
            .find(near)
            .map(|scenario| format!("; did you mean {}?", scenario.name));
        let hint = hint.unwrap_or_else(|| ".".to_owned());
        Failure::new(
            Exit::Usage,
            format!("there is no scenario \"{name}\"{hint}\n\n{}", list().trim_end()),
        )
    })
}

/// The words in lines of at most so many characters, where the words allow it.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let fits =
            lines.last().is_none_or(|line| line.is_empty() || line.len() + 1 + word.len() <= width);
        if !fits {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

/// Characters of a line on a small screen.
const WIDTH: usize = 110;
/// The column of the facts.
const INDENT: &str = "                  ";
/// Letters that may be wrong in a name for a suggestion.
const TYPOS_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_sentences_are_broken_between_words() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("incomprehensible", 7), ["incomprehensible"]);
        assert_eq!(wrapped("", 7), [""]);
    }

    #[test]
    fn a_scenario_with_a_typing_error_is_suggested_and_all_are_listed() {
        let failure = find("dayly-limit").expect_err("there is no such scenario");
        assert!(failure.message.contains("did you mean daily-limit?"), "{}", failure.message);
        for scenario in SCENARIOS {
            assert!(failure.message.contains(scenario.shows));
            assert_eq!(find(scenario.name).expect("it exists").name, scenario.name);
        }
    }
}
