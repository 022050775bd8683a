//! Dialogues as they happen: what is seen of them, and that no secret and no text of a message is.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::support::{
    client::Client,
    daemon::{Home, within},
    gmail::Gmail,
};

const LIMIT: Duration = Duration::from_secs(30);

/// A watching command and its lines, which come as they are printed.
struct Watching {
    command: Child,
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Watching {
    fn start(home: &Home, arguments: &[&str]) -> Self {
        let mut command = home.command(arguments);
        let mut command = command.stdout(Stdio::piped()).spawn().expect("started");
        let (told, lines) = mpsc::channel();
        let output = BufReader::new(command.stdout.take().expect("piped"));
        thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| told.send(line))
        });
        Self { command, lines, seen: Vec::new() }
    }

    /// Waits for a line that holds `text`.
    fn sees(&mut self, text: &str) -> bool {
        within(LIMIT, || {
            self.seen.extend(self.lines.try_iter());
            self.seen.iter().any(|line| line.contains(text))
        })
    }

    fn end(mut self) -> String {
        self.command.kill().expect("running");
        self.command.wait().expect("ended");
        self.seen.extend(self.lines.iter());
        self.seen.join("\n")
    }
}

#[test]
fn a_clients_dialogue_is_shown_as_it_happens_without_secrets_and_text() {
    let home = Home::with_sections(&Gmail::start().upstream(), "");
    let line = "hostname = \"relay.example.org\"";
    let text = fs::read_to_string(home.config()).expect("a configuration");
    let text = text.replace(line, &format!("{line}\nauthentication = \"accept-any\""));
    fs::write(home.config(), text).expect("written");
    let daemon = home.start();
    let mut watching = Watching::start(&home, &["trace", "--client", "127.0.0.0/8"]);
    assert!(watching.sees("Watching dialogues with 127.0.0.0/8 for 1 min"));
    let mut client = Client::hello(daemon.smtp);
    client.command("EHLO device");
    client.command("AUTH LOGIN");
    client.command("YWxpY2U=");
    client.command("aHVudGVyMg==");
    client.command("AUTH PLAIN AGFsaWNlAGh1bnRlcjI=");
    // What is no command may be a password that went astray.
    client.command("aHVudGVyMg==");
    client.command("hunter2 once more");
    client.mail("a@example.org", &["b@example.net"], "Subject: private\r\n\r\nsecret words");
    assert!(watching.sees("octets of a message)") && watching.sees("S: 250 2.0.0"));
    assert!(watching.sees("C: MAIL FROM:<a@example.org>") && watching.sees("S: 354"));
    let seen = watching.end();
    assert!(seen.contains("C: AUTH PLAIN ***") && seen.contains("C: AUTH LOGIN ***"), "{seen}");
    assert!(seen.contains("C: ***\n"), "{seen}");
    for secret in ["AGFsaWNl", "aHVudGVyMg", "YWxpY2U", "hunter2", "private", "secret words"] {
        assert!(!seen.contains(secret), "{secret} in {seen}");
    }
    assert_eq!(daemon.terminate(LIMIT).code(), Some(0));
}

#[test]
fn the_upstreams_dialogue_is_shown_with_its_login_masked() {
    let gmail = Gmail::start();
    let home = Home::new(&gmail.upstream());
    let daemon = home.start();
    let mut watching = Watching::start(&home, &["trace", "--upstream", "--for", "10min"]);
    assert!(watching.sees("Watching dialogues with the upstream for 10 min"));
    let mut client = Client::hello(daemon.smtp);
    client.mail("a@example.org", &["b@example.net"], "Subject: private\r\n\r\nsecret words");
    assert!(watching.sees("C: ."), "{}", home.log());
    let seen = watching.end();
    for line in [
        "S: 220 ",
        "C: EHLO relay.example.org",
        "C: STARTTLS",
        "C: AUTH PLAIN ***",
        "S: 235 ",
        "C: RCPT TO:<b@example.net>",
    ] {
        assert!(seen.contains(line), "{line} is not in {seen}");
    }
    for secret in ["abcd", "AUTH PLAIN A", "private", "secret words"] {
        assert!(!seen.contains(secret), "{secret} in {seen}");
    }
    assert_eq!(daemon.terminate(LIMIT).code(), Some(0));
}

#[test]
fn of_several_accounts_each_upstreams_dialogue_has_its_name_and_can_be_watched_alone() {
    let gmail = Gmail::start();
    let upstream = gmail.upstream();
    let second = format!(
        "[[account]]\nname = \"second\"\nhost = \"localhost\"\nport = {}\nca_file = {:?}\n\
         ehlo_name = \"relay.example.org\"\nusername = \"second@gmail.com\"\npassword = \"abcd efgh ijkl mnop\"\n\n\
         [[route]]\nname = \"shop\"\naccounts = [\"second\"]\nmatch = {{ recipient = \"shop@example.net\" }}\n",
        upstream.port,
        upstream.ca_file.as_ref().expect("one").display().to_string(),
    );
    let home = Home::with_sections(&upstream, &second);
    let daemon = home.start();
    let mut all = Watching::start(&home, &["trace", "--upstream"]);
    let mut alone = Watching::start(&home, &["trace", "--upstream", "--account", "second"]);
    assert!(all.sees("Watching dialogues with the upstream for 1 min"));
    assert!(alone.sees("Watching dialogues with the upstream of second for 1 min"));
    let mut client = Client::hello(daemon.smtp);
    client.mail("a@example.org", &["b@example.net"], "Subject: x\r\n\r\nx");
    assert!(all.sees("RCPT TO:<b@example.net>"), "{}", home.log());
    client.mail("a@example.org", &["shop@example.net"], "Subject: x\r\n\r\nx");
    assert!(alone.sees("RCPT TO:<shop@example.net>"), "{}", home.log());
    assert!(all.sees("RCPT TO:<shop@example.net>"));
    for line in all.end().lines().skip(1) {
        let of_main = line.contains(" upstream of main #");
        assert!(of_main || line.contains(" upstream of second #"), "{line}");
        let is_others = if of_main { "shop@example.net" } else { "b@example.net" };
        assert!(!line.contains(&format!("<{is_others}>")), "{line}");
    }
    let seen = alone.end();
    assert!(!seen.contains("upstream of main") && !seen.contains("b@example.net"), "{seen}");
    let output = home.output(["trace", "--upstream", "--account", "third"]);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && words.contains("there is main, second"), "{words}");
    assert_eq!(daemon.terminate(LIMIT).code(), Some(0));
}

#[test]
fn a_question_that_makes_no_sense_is_refused() {
    let home = Home::new(&Gmail::start().upstream());
    let daemon = home.start();
    for (arguments, code) in [
        (&["trace"][..], 64),
        (&["trace", "--upstream", "--client", "127.0.0.1"], 64),
        (&["trace", "--upstream", "--for", "2h"], 64),
        (&["trace", "--client", "127.0.0.1", "--account", "main"], 64),
        (&["trace", "--client", "the printer"], 65),
    ] {
        let output = home.output(arguments);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {words}");
    }
    let output = home.output(["trace", "--json", "--client", "127.0.0.1", "--for", "1s"]);
    assert!(output.status.success() && output.stdout.is_empty());
    assert_eq!(daemon.terminate(LIMIT).code(), Some(0));
}
