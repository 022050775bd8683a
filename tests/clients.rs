//! Clients that we did not write (swaks, curl, Python's smtplib) hand in mail of every kind, and the upstream
//! gets each octet of it, behind the fields that the relay adds in front (docs/identity.md).

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use pillarbox::sandbox::Accepted;

use crate::support::{
    daemon::{Daemon, Home, within},
    gmail::Gmail,
    outage::{PLENTY, home_without_brakes, tail},
    submitter::message,
};

/// How long a message of 30 MB may take through a client, the daemon and TLS on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The fields that the relay adds in front of a message.
const ADDED: [&str; 5] = ["received", "message-id", "date", "from", "reply-to"];

#[test]
fn swaks_submits_messages_of_several_sizes() {
    let relay = Relay::start();
    for size in [400, 4_000, 400_000] {
        let sent = mail_for_swaks(size);
        let file = relay.file("mail", &sent);
        relay.runs("swaks", &["--to", "reader@example.net", "--data", &format!("@{file}")]);
        // swaks adds a line end to the data that it is given.
        relay.expect(&[&sent[..], b"\r\n"].concat(), &["reader@example.net"]);
    }
}

#[test]
fn swaks_submits_to_a_hundred_recipients() {
    let relay = Relay::start();
    let recipients: Vec<String> =
        (0..100).map(|number| format!("reader{number}@example.net")).collect();
    let sent = mail_for_swaks(2_000);
    let file = relay.file("mail", &sent);
    relay.runs("swaks", &["--to", &recipients.join(","), "--data", &format!("@{file}")]);
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    relay.expect(&[&sent[..], b"\r\n"].concat(), &recipients);
}

#[test]
fn curl_submits_messages_up_to_thirty_megabytes() {
    let relay = Relay::start();
    for size in [400, 70_000, 30_000_000] {
        let sent = mail(size);
        relay.curl(&sent, &["reader@example.net"]);
        relay.expect(&sent, &["reader@example.net"]);
    }
}

#[test]
fn curl_submits_to_utf8_addresses() {
    let relay = Relay::start();
    let sent = mail(500);
    relay.curl(&sent, &["l\u{e9}a@example.net", "reader@b\u{fc}cher.example"]);
    // A domain travels in its ASCII form, which every server knows (RFC 5890); a local part has none.
    relay.expect(&sent, &["l\u{e9}a@example.net", "reader@xn--bcher-kva.example"]);
}

#[test]
fn python_submits_messages_from_one_octet_to_thirty_megabytes() {
    let relay = Relay::start();
    relay.python(b"x", &["reader@example.net"], &[]);
    // Python ends the last line; without an empty line, the relay puts one behind its own fields.
    relay.expect(b"x\r\n", &["reader@example.net"]);
    for size in [400, 1 << 20, 30_000_000] {
        let sent = mail(size);
        relay.python(&sent, &["reader@example.net"], &["BODY=8BITMIME"]);
        relay.expect(&sent, &["reader@example.net"]);
    }
}

#[test]
fn python_submits_8_bit_text_that_is_no_utf8() {
    let relay = Relay::start();
    let mut sent = b"Subject: latin\r\nMessage-ID: <8bit@client.example.org>\r\n\r\n".to_vec();
    sent.extend((0x80_u8..=0xff).chain([0x0b, 0x0c, 0x7f, 0x09]));
    sent.extend_from_slice(b"\r\n..\r\n.\r\n\r\n.end\r\n");
    relay.python(&sent, &["reader@example.net"], &["BODY=8BITMIME"]);
    relay.expect(&sent, &["reader@example.net"]);
}

#[test]
fn python_submits_to_utf8_addresses_and_to_a_hundred_recipients() {
    let relay = Relay::start();
    let sent = mail(700);
    relay.python(&sent, &["j\u{f6}rg@example.net"], &["SMTPUTF8", "BODY=8BITMIME"]);
    relay.expect(&sent, &["j\u{f6}rg@example.net"]);
    let recipients: Vec<String> =
        (0..100).map(|number| format!("reader{number}@example.net")).collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let sent = mail(900);
    relay.python(&sent, &recipients, &[]);
    relay.expect(&sent, &recipients);
}

/// A client that writes to a hundred recipients in one transaction, as a mailing list does.
const PYTHON: &str = "
import smtplib, sys
host, port, path, recipients, options = sys.argv[1:6]
with smtplib.SMTP(host, int(port), local_hostname='client.example.org', timeout=60) as client:
    refused = client.sendmail('sender@example.org', recipients.split(','), open(path, 'rb').read(),
                              [option for option in options.split(',') if option])
sys.exit(1 if refused else 0)
";

/// A daemon between a client and the look-alike.
struct Relay {
    gmail: Gmail,
    home: Home,
    daemon: Daemon,
}

impl Relay {
    fn start() -> Self {
        let gmail = Gmail::start();
        let home = home_without_brakes(&gmail.upstream(), PLENTY);
        let daemon = home.start();
        Self { gmail, home, daemon }
    }

    fn file(&self, name: &str, text: &[u8]) -> String {
        let path: PathBuf = self.home.path(name);
        std::fs::write(&path, text).expect("a file");
        path.to_str().expect("a path in UTF-8").to_owned()
    }

    fn curl(&self, text: &[u8], recipients: &[&str]) {
        let file = self.file("mail", text);
        let url = format!("smtp://{}/client.example.org", self.daemon.smtp);
        let mut arguments =
            vec!["-sS", "--max-time", "60", &url, "--mail-from", "sender@example.org", "-T", &file];
        for recipient in recipients {
            arguments.extend(["--mail-rcpt", recipient]);
        }
        self.runs("curl", &arguments);
    }

    fn python(&self, text: &[u8], recipients: &[&str], options: &[&str]) {
        let (program, mail) = (self.file("client.py", PYTHON.as_bytes()), self.file("mail", text));
        let (host, port) = (self.daemon.smtp.ip().to_string(), self.daemon.smtp.port().to_string());
        let arguments = [&program, &host, &port, &mail, &recipients.join(","), &options.join(",")];
        self.runs("python3", &arguments.map(String::as_str));
    }

    /// Runs a program and shows everything when it fails.
    fn runs(&self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(program);
        if program == "swaks" {
            let server = self.daemon.smtp;
            command.args([
                "--server",
                &server.ip().to_string(),
                "--port",
                &server.port().to_string(),
            ]);
            command.args([
                "--from",
                "sender@example.org",
                "--ehlo",
                "client.example.org",
                "--timeout",
                "60",
            ]);
        }
        // curl and Python read addresses in the encoding of the locale.
        let output = command.args(arguments).env("LC_ALL", "C.UTF-8").stdin(Stdio::null()).output();
        let output = output.unwrap_or_else(|error| {
            panic!(
                "{program} cannot be started ({error}); `make test` installs what the tests need"
            )
        });
        assert!(
            output.status.success(),
            "{program}: {}\n{}{}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
            tail(&self.home.log()),
        );
    }

    /// Waits for one more message and compares every octet of it.
    fn expect(&self, original: &[u8], recipients: &[&str]) {
        let arrived =
            || self.gmail.accepted().into_iter().filter(|mail| mail.body.ends_with(original));
        let complete =
            || arrived().map(|mail| mail.rcpt_to.len()).sum::<usize>() >= recipients.len();
        assert!(
            within(PATIENCE, complete),
            "{} octets never arrived whole, but {:?}\n{}",
            original.len(),
            self.gmail.accepted().iter().map(|mail| beginning(&mail.body)).collect::<Vec<_>>(),
            tail(&self.home.log()),
        );
        let mut reached: Vec<String> = arrived().flat_map(|mail| mail.rcpt_to.clone()).collect();
        let mut wanted: Vec<String> =
            recipients.iter().map(|&recipient| recipient.to_owned()).collect();
        reached.sort();
        wanted.sort();
        assert_eq!(reached, wanted);
        for mail in arrived() {
            expect_only_documented_fields_in_front(&mail, original);
            // Gmail sends for the account alone, so the envelope names the account; the message is untouched.
            assert_eq!(mail.mail_from, "relay@gmail.com");
        }
    }
}

fn expect_only_documented_fields_in_front(mail: &Arc<Accepted>, original: &[u8]) {
    let added = &mail.body[..mail.body.len() - original.len()];
    let added = std::str::from_utf8(added).expect("the added fields are ASCII");
    let names: Vec<String> = added
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with([' ', '\t']) && *line != "X-Original-")
        .map(|line| line.split(':').next().unwrap_or_default().to_lowercase())
        .collect();
    assert_eq!(names.first().map(String::as_str), Some("received"), "{added}");
    assert!(names.iter().all(|name| ADDED.contains(&name.as_str())), "{added}");
    let has = |field: &str| {
        let head = String::from_utf8_lossy(&original[..original.len().min(1000)]).to_lowercase();
        head.lines()
            .take_while(|line| !line.is_empty())
            .any(|line| line.starts_with(&format!("{field}:")))
    };
    // From becomes the account; the old one, which is the first line where there is one, stays under another name.
    if original.starts_with(b"From: Sender <sender@example.org>\r\n") {
        let renamed =
            "\r\nFrom: Sender <relay@gmail.com>\r\nReply-To: sender@example.org\r\nX-Original-";
        assert!(added.ends_with(renamed), "{added}");
    } else {
        assert!(
            added.contains("\r\nFrom: \"sender on example.org\" <relay@gmail.com>\r\n"),
            "{added}"
        );
    }
    for field in ["message-id", "date"] {
        let count = names.iter().filter(|name| *name == field).count();
        assert_eq!(count, usize::from(!has(field)), "{field} in {added}");
    }
}

fn beginning(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned()
}

/// The same without the signs that swaks replaces in its data: `%TOKEN%` and a backslash before `n`.
fn mail_for_swaks(size: usize) -> Vec<u8> {
    mail(size)
        .into_iter()
        .map(|octet| if matches!(octet, b'%' | b'\\') { b'/' } else { octet })
        .collect()
}

/// A mail of about `size` octets that no other test sends.
fn mail(size: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::new();
    let message_id = format!("<{}@client.example.org>", random.u64(..));
    let mut text = message(&message_id, size, &mut random);
    // Curl and swaks read a file: the last line must end, and it does.
    text.extend_from_slice(b"last line\r\n");
    text
}
