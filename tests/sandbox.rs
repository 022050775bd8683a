//! The Gmail look-alike, spoken to by a raw client: what it must say, stage by stage.
//!
//! Each dialogue is a list of lines: `C: ` is sent, `S: ` is the beginning of the next reply line,
//! `close` means that the server closes without another word. Lines sent in a row go in one packet.

use std::{sync::Arc, time::Duration};

use pillarbox::{
    clock::{ManualClock, Timestamp},
    sandbox::{Failure, JournalLine, Options, Sandbox, Stage},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

const HOUR: Duration = Duration::from_secs(3600);
/// How long a reply may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(20);
/// What opens a transaction with an ordinary recipient.
const OPEN: &str = "C: MAIL FROM:<me@gmail.com>\nS: 250 2.1.0 OK ";

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

struct Client {
    stream: Box<dyn Stream>,
    pending: Vec<u8>,
}

impl Client {
    fn new(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), pending: Vec::new() }
    }

    async fn plain(sandbox: &Sandbox) -> Self {
        Self::new(TcpStream::connect(sandbox.plain_address()).await.unwrap())
    }

    async fn starttls(sandbox: &Sandbox) -> Self {
        Self::new(TcpStream::connect(sandbox.starttls_address()).await.unwrap())
    }

    async fn implicit(sandbox: &Sandbox) -> Self {
        let stream = TcpStream::connect(sandbox.implicit_address()).await.unwrap();
        Self::new(Client::new(stream).secure(sandbox, "smtp.gmail.com").await.unwrap())
    }

    /// Logged in on the implicit port.
    async fn ready(sandbox: &Sandbox) -> Self {
        let mut client = Self::implicit(sandbox).await;
        client.talk(&format!("S: 220 \nC: EHLO relay.example.org\n{EHLO_REST}")).await;
        client
            .talk(&format!("C: {}\nS: 235 2.7.0 Accepted", plain("me@gmail.com", "abcdefghijklmnop")))
            .await;
        client
    }

    async fn secure(self, sandbox: &Sandbox, name: &'static str) -> std::io::Result<impl Stream + use<>> {
        let mut roots = RootCertStore::empty();
        let pem = sandbox.certificate_authority_pem();
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from(name).unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, self.stream).await
    }

    /// Plays a dialogue.
    async fn talk(&mut self, dialogue: &str) {
        let mut outgoing = Vec::new();
        for line in dialogue.lines() {
            if let Some(command) = line.strip_prefix("C: ") {
                outgoing.extend_from_slice(command.as_bytes());
                outgoing.extend_from_slice(b"\r\n");
                continue;
            }
            self.send(&std::mem::take(&mut outgoing)).await;
            match line.strip_prefix("S: ") {
                Some(expected) => {
                    let reply = self.line().await.unwrap_or_else(|| panic!("closed instead of {expected:?}"));
                    assert!(reply.starts_with(expected), "expected {expected:?}, got {reply:?}\n{dialogue}");
                }
                None => {
                    assert_eq!(line, "close", "a dialogue line of no kind");
                    assert_eq!(self.line().await, None, "still open\n{dialogue}");
                }
            }
        }
        self.send(&outgoing).await;
    }

    async fn send(&mut self, octets: &[u8]) {
        if !octets.is_empty() {
            self.stream.write_all(octets).await.unwrap();
            self.stream.flush().await.unwrap();
        }
    }

    /// The next reply line; `None` when the server has closed.
    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.pending.iter().position(|octet| *octet == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                return Some(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            let read = self.stream.read_buf(&mut self.pending);
            match tokio::time::timeout(PATIENCE, read).await.expect("no reply") {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Sends one message to `recipient`; `rest` is the dialogue from RCPT's reply on.
    async fn message(&mut self, recipient: &str, rest: &str) {
        self.talk(&format!("{OPEN}\nC: RCPT TO:<{recipient}@example.net>\n{rest}")).await;
    }
}

/// The lines after an EHLO on a TLS connection.
const EHLO_REST: &str = "S: 250-smtp.gmail.com at your service, [127.0.0.1]
S: 250-SIZE 35882577
S: 250-8BITMIME
S: 250-AUTH LOGIN PLAIN XOAUTH2 PLAIN-CLIENTTOKEN OAUTHBEARER XOAUTH
S: 250-ENHANCEDSTATUSCODES
S: 250-PIPELINING
S: 250-CHUNKING
S: 250 SMTPUTF8";

const ACCEPTED: &str =
    "S: 250 2.1.5 OK \nC: DATA\nS: 354  Go ahead \nC: Message-ID: <1@x>\nC: \nC: hello\nC: .
S: 250 2.0.0 OK  ";

/// A message whose final dot meets what follows.
fn at_dot(reply: &str) -> String {
    ACCEPTED.replace("S: 250 2.0.0 OK  ", reply)
}

/// A message whose DATA meets what follows.
fn at_data(reply: &str) -> String {
    format!("S: 250 2.1.5 OK \nC: DATA\n{reply}")
}

fn plain(username: &str, password: &str) -> String {
    let text = format!("\0{username}\0{password}");
    format!("AUTH PLAIN {}", data_encoding::BASE64.encode(text.as_bytes()))
}

const LIMIT: &str = "S: 550-5.4.5 Daily user sending limit exceeded. For more information on Gmail
S: 550-5.4.5 sending limits go to
S: 550 5.4.5  https://support.google.com/a/answer/166852 ";

async fn start(options: Options) -> Sandbox {
    Sandbox::start(options).await.unwrap()
}

/// A sandbox on a clock that the test moves.
async fn start_with_clock() -> (Sandbox, ManualClock) {
    let clock = ManualClock::new(Timestamp(1_716_281_641_000));
    let sandbox = start(Options { clock: Arc::new(clock.clone()), ..Options::default() }).await;
    (sandbox, clock)
}

#[tokio::test]
async fn the_submission_port_speaks_as_gmail_does_before_and_after_starttls() {
    let (sandbox, _clock) = start_with_clock().await;
    let mut client = Client::starttls(&sandbox).await;
    client
        .talk(
            "S: 220 smtp.gmail.com ESMTP \nC: EHLO relay.example.org
S: 250-smtp.gmail.com at your service, [127.0.0.1]\nS: 250-SIZE 35882577\nS: 250-8BITMIME\nS: 250-STARTTLS
S: 250-ENHANCEDSTATUSCODES\nS: 250-PIPELINING\nS: 250-CHUNKING\nS: 250 SMTPUTF8
C: MAIL FROM:<me@gmail.com>
S: 530-5.7.0 Must issue a STARTTLS command first. For more information, go to
S: 530-5.7.0  https://support.google.com/a/answer/3221692 and review RFC 3207
S: 530 5.7.0 specifications.
C: AUTH PLAIN AG1lAHg=\nS: 530-5.7.0 \nS: 530-5.7.0 \nS: 530 5.7.0 
C: STARTTLS\nS: 220 2.0.0 Ready to start TLS",
        )
        .await;
    let mut client = Client::new(client.secure(&sandbox, "localhost").await.unwrap());
    client
        .talk(&format!(
            "C: MAIL FROM:<me@gmail.com>\nS: 503-5.5.1 EHLO/HELO first.\nS: 503-5.5.1 \nS: 503 5.5.1 
C: EHLO relay.example.org\n{EHLO_REST}\nC: STARTTLS\nS: 454 5.5.1 STARTTLS may not be repeated
C: MAIL FROM:<me@gmail.com>\nS: 530-5.7.0 Authentication Required.\nS: 530 5.7.0  https://support.google.com/mail/?p=WantAuthError
C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: bWVAZ21haWwuY29t\nS: 334 UGFzc3dvcmQ6\nC: YWJjZCBlZmdoIGlqa2wgbW5vcA==
S: 235 2.7.0 Accepted\n{OPEN}\nC: RCPT TO:<ok@example.net>\n{ACCEPTED}1716281641 \nC: QUIT\nS: 221 2.0.0 closing connection \nclose"
        ))
        .await;
    let accepted = sandbox.mailbox().accepted();
    assert_eq!(accepted[0].body, b"Message-ID: <1@x>\r\n\r\nhello\r\n");
    assert_eq!(accepted[0].username.as_deref(), Some("me@gmail.com"));
    assert_eq!((accepted[0].tls, accepted[0].ehlo.as_str()), (true, "relay.example.org"));
    sandbox.stop().await;
}

#[tokio::test]
async fn pipelined_commands_are_answered_in_order_and_in_one_packet() {
    let sandbox = start(Options::default()).await;
    let mut client = Client::ready(&sandbox).await;
    let group = "MAIL FROM:<me@gmail.com> SIZE=9 BODY=8BITMIME\r\nRCPT TO:<ok1@x.net>\r\nRCPT TO:<nosuch@x.net>\r\n\
                 RCPT TO:<ok2@x.net>\r\nDATA\r\n";
    client.send(group.as_bytes()).await;
    client
        .talk(
            "S: 250 2.1.0 OK \nS: 250 2.1.5 OK \nS: 550-5.1.1 \nS: 550-5.1.1 \nS: 550-5.1.1 \nS: 550 5.1.1 
S: 250 2.1.5 OK \nS: 354  Go ahead ",
        )
        .await;
    // The final dot, the whole next transaction and QUIT share a packet too.
    client.send(b"..stuffed\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<ok3@x.net>\r\nRSET\r\nQUIT\r\n").await;
    client
        .talk("S: 250 2.0.0 OK  \nS: 250 2.1.0 OK \nS: 250 2.1.5 OK \nS: 250 2.1.5 Flushed \nS: 221 2.0.0 \nclose")
        .await;
    let accepted = sandbox.mailbox().accepted();
    assert_eq!(accepted[0].rcpt_to, ["ok1@x.net", "ok2@x.net"]);
    assert_eq!(accepted[0].parameters, ["SIZE=9", "BODY=8BITMIME"]);
    assert_eq!(accepted[0].body, b".stuffed\r\n");
}

#[tokio::test]
async fn plain_text_behind_starttls_is_thrown_away() {
    let sandbox = start(Options::default()).await;
    let mut client = Client::starttls(&sandbox).await;
    client.talk("S: 220 \nC: HELO relay.example.org\nS: 250 smtp.gmail.com at your service").await;
    client.talk("C: STARTTLS\nC: NOOP\nS: 220 2.0.0 ").await;
    let secured = client.secure(&sandbox, "localhost").await;
    // No reply to the injected NOOP may appear inside TLS.
    let mut client = Client::new(secured.unwrap());
    client.talk("C: QUIT\nS: 221 ").await;
    let commands = sandbox.mailbox().last_commands();
    assert_eq!(commands, ["1: HELO relay.example.org", "1: STARTTLS", "1: QUIT"]);
}

#[tokio::test]
async fn without_sni_a_client_meets_a_certificate_that_it_cannot_trust() {
    let sandbox = start(Options::default()).await;
    let connect = || async { Client::new(TcpStream::connect(sandbox.implicit_address()).await.unwrap()) };
    // An IP address as the name means that no SNI is sent.
    assert!(connect().await.secure(&sandbox, "127.0.0.1").await.is_err());
    assert!(connect().await.secure(&sandbox, "other.example.org").await.is_err());
    assert!(connect().await.secure(&sandbox, "smtp.gmail.com").await.is_ok());
    let sandbox = start(Options { require_sni: false, ..Options::default() }).await;
    let stream = TcpStream::connect(sandbox.implicit_address()).await.unwrap();
    assert!(Client::new(stream).secure(&sandbox, "127.0.0.1").await.is_ok());
}

#[tokio::test]
async fn each_trigger_password_gets_gmails_answer() {
    let sandbox = start(Options::default()).await;
    let cases = [
        ("abcd efgh ijkl mnop", "S: 235 2.7.0 Accepted"),
        ("abcdefghijklmnop", "S: 235 2.7.0 Accepted"),
        (
            "wrong",
            "S: 535-5.7.8 Username and Password not accepted.\nS: 535 5.7.8  https://support.google.com/mail/?p=BadCredentials ",
        ),
        ("anything else", "S: 535-5.7.8 \nS: 535 5.7.8 "),
        (
            "needs-app-password",
            "S: 534-5.7.9 Application-specific password required.\nS: 534 5.7.9  https://support.google.com/mail/?p=InvalidSecondFactor ",
        ),
        (
            "needs-browser",
            "S: 534-5.7.9 Please log in with your web browser and then try again.\nS: 534-5.7.9 \nS: 534 5.7.9 ",
        ),
        (
            "captcha",
            "S: 534-5.7.14 <https://accounts.google.com/signin/\nS: 534-5.7.14 \nS: 534-5.7.14 \nS: 534-5.7.14 \nS: 534 5.7.14 ",
        ),
        ("busy", "S: 454 4.7.0 Cannot authenticate due to temporary system problem."),
        (
            "toomany",
            "S: 454-4.7.0 Too many login attempts, please try again later.\nS: 454-4.7.0 \nS: 454 4.7.0 ",
        ),
        ("drop", "close"),
    ];
    for (password, reply) in cases {
        let mut client = Client::implicit(&sandbox).await;
        client
            .talk(&format!("S: 220 \nC: EHLO a.example\n{EHLO_REST}\nC: {}\n{reply}", plain("u", password)))
            .await;
    }
    let counters = sandbox.mailbox().counters();
    assert_eq!((counters.logins, counters.login_refusals), (2, 8));
    assert!(sandbox.mailbox().last_commands().iter().all(|line| !line.contains("AG")), "no credentials kept");
}

#[tokio::test]
async fn the_password_hang_gets_no_answer_at_all() {
    let sandbox = start(Options::default()).await;
    let mut client = Client::implicit(&sandbox).await;
    let auth = plain("u", "hang");
    client.talk(&format!("S: 220 \nC: EHLO a.example\n{EHLO_REST}\nC: {auth}\nC: NOOP")).await;
    let mut octet = [0; 1];
    let silent = tokio::time::timeout(Duration::from_millis(100), client.stream.read(&mut octet)).await;
    assert!(silent.is_err(), "neither a reply nor the end of the connection");
}

#[tokio::test]
async fn authentication_is_refused_where_gmail_refuses_it() {
    let accounts = [("me@gmail.com".to_owned(), "my password".to_owned())].into();
    let sandbox = start(Options { accounts, ..Options::default() }).await;
    let mut client = Client::implicit(&sandbox).await;
    let (right, other) = (plain("me@gmail.com", "my password"), plain("you@gmail.com", "my password"));
    client
        .talk(&format!(
            "S: 220 \nC: EHLO a.example\n{EHLO_REST}
C: AUTH XOAUTH2 dXNlcj1\nS: 504 5.7.4 Unrecognized Authentication Type
C: AUTH CRAM-MD5\nS: 504 5.7.4 \nC: AUTH PLAIN !!!\nS: 501 5.5.2 Cannot Decode response
C: AUTH PLAIN\nS: 334\nC: *\nS: 501 5.5.2 \nC: {other}\nS: 535-5.7.8 \nS: 535 5.7.8 
C: AUTH PLAIN\nS: 334\nC: {}\nS: 235 2.7.0 \nC: {right}\nS: 503 5.7.0 No identity changes permitted.",
            right.trim_start_matches("AUTH PLAIN ")
        ))
        .await;
}

#[tokio::test]
async fn too_many_logins_in_a_minute_are_refused_until_the_minute_is_over() {
    let clock = ManualClock::new(Timestamp(0));
    let options = Options { clock: Arc::new(clock.clone()), logins_per_minute: 2, ..Options::default() };
    let sandbox = start(options).await;
    drop(Client::ready(&sandbox).await);
    drop(Client::ready(&sandbox).await);
    let mut client = Client::implicit(&sandbox).await;
    let auth = plain("me@gmail.com", "abcdefghijklmnop");
    client.talk(&format!("S: 220 \nC: EHLO a.example\n{EHLO_REST}")).await;
    client.talk(&format!("C: {auth}\nS: 454-4.7.0 Too many login\nS: 454-4.7.0 \nS: 454 4.7.0 ")).await;
    clock.advance(Duration::from_secs(60));
    client.talk(&format!("C: {auth}\nS: 235 ")).await;
}

#[tokio::test]
async fn each_recipient_name_fails_at_its_stage_and_the_connection_goes_on() {
    let (sandbox, _clock) = start_with_clock().await;
    let mut client = Client::ready(&sandbox).await;
    let after = "\nC: RSET\nS: 250 2.1.5 Flushed ";
    let cases = [
        ("ok", ACCEPTED.to_owned()),
        ("nosuch", "S: 550-5.1.1 \nS: 550-5.1.1 \nS: 550-5.1.1 \nS: 550 5.1.1  https://support.google.com/mail/?p=NoSuchUser ".to_owned()),
        ("badsyntax", "S: 553-5.1.3 The recipient address <badsyntax@\nS: 553-5.1.3 \nS: 553-5.1.3 \nS: 553 5.1.3 ".to_owned()),
        ("rate", "S: 450-4.2.1 \nS: 450-4.2.1 \nS: 450-4.2.1 \nS: 450-4.2.1 \nS: 450 4.2.1 ".to_owned()),
        ("rateperm", "S: 550-5.2.1 \nS: 550-5.2.1 \nS: 550-5.2.1 \nS: 550 5.2.1  https://support.google.com/mail/?p=ReceivingRatePerm ".to_owned()),
        ("full", "S: 452-4.2.2 \nS: 452-4.2.2 \nS: 452 4.2.2  https://support.google.com/mail/?p=OverQuotaTemp ".to_owned()),
        ("fullperm", "S: 552-5.2.2 \nS: 552-5.2.2 \nS: 552 5.2.2  https://support.google.com/mail/?p=OverQuotaPerm ".to_owned()),
        ("garbage", "S: \u{7f}\u{1} not a reply".to_owned()),
        ("longline", "S: 550 5.1.1 xxxxxxx".to_owned()),
        ("mixedcode", "S: 250-2.1.5 OK\nS: 550 5.1.1 OK".to_owned()),
        ("nul", "S: 250 2.1.5 O\0K".to_owned()),
        ("virus", at_dot("S: 552-5.7.0 \nS: 552-5.7.0 \nS: 552-5.7.0 \nS: 552 5.7.0  https://support.google.com/mail/?p=BlockedMessage ")),
        ("spam", at_dot("S: 550-5.7.1 \nS: 550-5.7.1 \nS: 550-5.7.1 \nS: 550 5.7.1  https://support.google.com/mail/?p=UnsolicitedMessageError ")),
        ("tmp", at_dot("S: 451 4.3.0 Mail server temporarily rejected message.")),
        ("tmp3", at_dot("S: 451 4.3.0 ")),
        ("tmp3", at_dot("S: 451 4.3.0 ")),
        ("tmp3", at_dot("S: 451 4.3.0 ")),
        ("tmp3", ACCEPTED.to_owned()),
    ];
    for (recipient, rest) in &cases {
        client.message(recipient, &format!("{rest}{after}")).await;
    }
    assert_eq!(sandbox.mailbox().count(), 2);
}

#[tokio::test]
async fn recipients_that_end_the_connection_do_so_at_their_stage() {
    let sandbox = start(Options::default()).await;
    let cases = [
        ("sys", at_data("S: 421 4.3.0 Temporary System Problem.\nclose"), 0),
        ("droprcpt", "close".to_owned(), 0),
        ("dropdata", at_data("close"), 0),
        ("dropmid", at_data("S: 354  Go ahead \nC: the first line\nclose"), 0),
        ("dropdot-lost", at_dot("close"), 0),
        ("dropdot", at_dot("close"), 1),
        ("dropdot-once", at_dot("close"), 2),
        ("dropdot-once", ACCEPTED.to_owned(), 3),
        ("dropmail", format!("{ACCEPTED}\nC: MAIL FROM:<me@gmail.com>\nclose"), 4),
    ];
    for (recipient, rest, stored) in &cases {
        Client::ready(&sandbox).await.message(recipient, rest).await;
        assert_eq!(sandbox.mailbox().count(), *stored, "{recipient}");
    }
    let answered: Vec<bool> = sandbox.mailbox().accepted().iter().map(|message| message.answered).collect();
    assert_eq!(answered, [false, false, true, true]);
    assert_eq!(sandbox.mailbox().duplicates().get("<1@x>"), Some(&4));
    // Only the first MAIL behind "dropmail" is lost.
    Client::ready(&sandbox).await.message("ok", ACCEPTED).await;
}

#[tokio::test]
async fn a_lock_out_holds_at_every_stage_until_a_day_has_passed() {
    let (sandbox, clock) = start_with_clock().await;
    let refused_mail = format!("C: MAIL FROM:<me@gmail.com>\n{LIMIT}");
    let refused_rcpt = format!("{OPEN}\nC: RCPT TO:<ok@x.net>\n{LIMIT}\nC: RSET\nS: 250 ");
    let ok = format!("{OPEN}\nC: RCPT TO:<ok@x.net>\n");
    let cases = [
        ("quota", at_data(LIMIT), format!("{ok}{}", at_data(LIMIT))),
        ("quota-mail", ACCEPTED.to_owned(), refused_mail),
        ("quota-rcpt", format!("{LIMIT}\nC: RSET\nS: 250 "), refused_rcpt),
        ("quota-dot", at_dot(LIMIT), format!("{ok}{}", at_dot(LIMIT))),
    ];
    for (recipient, first, next) in &cases {
        let mut client = Client::ready(&sandbox).await;
        client.message(recipient, first).await;
        client.talk(next).await;
        clock.advance(HOUR / 2);
        client.talk(next).await;
        clock.advance(24 * HOUR);
        Client::ready(&sandbox).await.message("ok", ACCEPTED).await;
    }
    Client::ready(&sandbox).await.message("quota", &at_data(LIMIT)).await;
    sandbox.clear_quota();
    Client::ready(&sandbox).await.message("ok", ACCEPTED).await;
    assert_eq!(sandbox.mailbox().counters().quota_refusals, 12);
}

#[tokio::test]
async fn recipients_are_counted_over_a_rolling_day_across_connections() {
    let clock = ManualClock::new(Timestamp(1_716_281_641_000));
    let options = Options { clock: Arc::new(clock.clone()), recipients_per_day: 3, ..Options::default() };
    let sandbox = start(options).await;
    let second = "S: 250 2.1.5 OK \nC: RCPT TO:<ok2@example.net>\n";
    Client::ready(&sandbox).await.message("ok", &format!("{second}{ACCEPTED}")).await;
    clock.advance(HOUR);
    let mut client = Client::implicit(&sandbox).await;
    drop(client.line().await);
    let mut client = Client::ready(&sandbox).await;
    client.message("ok", &format!("{second}{}", at_data(LIMIT))).await;
    client.message("ok", ACCEPTED).await;
    client.message("ok", &at_data(LIMIT)).await;
    assert_eq!(sandbox.spent("me@gmail.com"), 3);
    clock.advance(23 * HOUR - Duration::from_millis(1));
    Client::ready(&sandbox).await.message("ok", &at_data(LIMIT)).await;
    clock.advance(Duration::from_millis(1));
    let mut client = Client::ready(&sandbox).await;
    client.message("ok", &format!("{second}{ACCEPTED}")).await;
    client.message("ok", &at_data(LIMIT)).await;
}

#[tokio::test]
async fn an_ehlo_name_that_is_no_host_name_is_answered_like_rate_limiting() {
    let sandbox = start(Options::default()).await;
    for name in ["EHLO localhost", "EHLO [127.0.0.1]", "HELO LOCALHOST", "EHLO "] {
        let mut client = Client::starttls(&sandbox).await;
        client
            .talk(&format!(
                "S: 220 \nC: {name}\nS: 421-4.7.0 Try again later, closing connection. (EHLO)\nS: 421-4.7.0 \nS: 421 4.7.0 \nclose"
            ))
            .await;
    }
    let sandbox = start(Options { refuse_localhost_ehlo: false, ..Options::default() }).await;
    Client::plain(&sandbox)
        .await
        .talk("S: 220 mx.google.com ESMTP \nC: EHLO localhost\nS: 250-mx.google.com ")
        .await;
}

#[tokio::test]
async fn commands_out_of_order_or_malformed_are_refused_with_gmails_codes() {
    let sandbox = start(Options::default()).await;
    let mut client = Client::ready(&sandbox).await;
    let three = |code: &str| {
        format!("S: {}\nS: {}\nS: {code}", code.replacen(' ', "-", 1), code.replacen(' ', "-", 1))
    };
    let two_and = |code: &str| format!("S: {}", code.replacen(' ', "-", 1));
    let (syntax, order) = (three("555 5.5.2 "), three("503 5.5.1 "));
    let sender = format!("{}\n{}", two_and("553 5.1.7 "), three("553 5.1.7 "));
    let recipient = format!("{}\n{}", two_and("553 5.1.3 "), three("553 5.1.3 "));
    client
        .talk(&format!(
            "C: RCPT TO:<a@b.net>\n{order}\nC: DATA\n{order}\nC: MAIL FROM:me@gmail.com\n{syntax}
C: MAIL FROM: <me@gmail.com>\n{syntax}\nC: MAIL FROM:<me@gmail.com> RET=HDRS\n{syntax}
C: MAIL FROM:<me@gmail.com> SIZE=35882578\nS: 552-5.3.4 \nS: 552-5.3.4 \nS: 552 5.3.4  https://support.google.com/mail/?p=MaxSizeError 
C: MAIL FROM:<no-domain>\n{sender}\nC: MAIL FROM:<ü@gmail.com>\n{sender}
C: MAIL FROM:<ü@gmail.com> SMTPUTF8\nS: 250 2.1.0 \nC: MAIL FROM:<me@gmail.com>\n{order}\nC: DATA\n{order}
C: RCPT TO:<a@b.net> NOTIFY=NEVER\n{syntax}\nC: RCPT TO:<a b@c.net>\n{recipient}\nC: RCPT TO:<nodomain>\n{recipient}
C: RCPT TO:<ü@b.net>\nS: 250 2.1.5 \nC: RSET\nS: 250 2.1.5 Flushed \nC: NOOP\nS: 250 2.0.0 OK \nC: VRFY a\nS: 252 2.1.5 
C: HELP\nS: 214 2.0.0 "
        ))
        .await;
    let unknown = format!("C: HELLO?\n{}\n", three("502 5.5.1 ")).repeat(5);
    client
        .talk(&format!("{unknown}C: HELLO?\nS: 502 5.5.1 Too many unrecognized commands, goodbye.\nclose"))
        .await;
}

#[tokio::test]
async fn the_hundred_and_first_recipient_is_refused_and_the_others_are_served() {
    let sandbox = start(Options::default()).await;
    let mut client = Client::ready(&sandbox).await;
    let recipients: String = (0..100).map(|n| format!("C: RCPT TO:<ok{n}@x.net>\nS: 250 2.1.5 \n")).collect();
    client
        .talk(&format!(
            "{OPEN}\n{recipients}C: RCPT TO:<ok@x.net>\nS: 452-4.5.3 \nS: 452-4.5.3 \nS: 452 4.5.3 "
        ))
        .await;
    client.talk("C: DATA\nS: 354 \nC: .\nS: 250 2.0.0 OK ").await;
    assert_eq!(sandbox.mailbox().accepted()[0].rcpt_to.len(), 100);
}

#[tokio::test]
async fn data_too_large_or_with_bare_line_feeds_is_refused_behind_the_dot() {
    let sandbox = start(Options { size_bytes_max: 100, ..Options::default() }).await;
    let mut client = Client::implicit(&sandbox).await;
    let ehlo = EHLO_REST.replace("35882577", "100");
    let auth = plain("me@gmail.com", "abcdefghijklmnop");
    client.talk(&format!("S: 220 \nC: EHLO a.example\n{ehlo}\nC: {auth}\nS: 235 ")).await;
    let large = at_data(&format!(
        "S: 354 \nC: {}\nC: .\nS: 552-5.3.4 \nS: 552-5.3.4 \nS: 552 5.3.4 ",
        "x".repeat(99)
    ));
    client.message("ok", &large).await;
    client.message("ok", &at_data(&format!("S: 354 \nC: {}\nC: .\nS: 250 2.0.0 ", "x".repeat(98)))).await;
    client.message("ok", &at_data("S: 354 ")).await;
    client.send(b"a\n.\nb\r\n.\r\n").await;
    client.talk("S: 451-4.5.0 SMTP protocol violation\nS: 451-4.5.0 \nS: 451 4.5.0 \nC: NOOP\nS: 250 ").await;
    assert_eq!(sandbox.mailbox().count(), 1);
}

#[tokio::test]
async fn a_connection_ends_when_it_is_silent_or_old() {
    let (sandbox, clock) = start_with_clock().await;
    let mut silent = Client::ready(&sandbox).await;
    clock.advance(Duration::from_secs(15 * 60));
    silent.talk("S: 451 4.4.2 Timeout - closing connection.\nclose").await;

    let mut old = Client::ready(&sandbox).await;
    for _ in 0..6 {
        clock.advance(Duration::from_secs(10 * 60));
        old.talk("C: NOOP\nS: 250 2.0.0 OK ").await;
    }
    old.talk("C: MAIL FROM:<me@gmail.com>\nS: 421 4.7.0 Connection expired, try reconnecting.\nclose").await;
}

#[tokio::test]
async fn too_many_connections_of_one_account_are_noticed_at_data() {
    let sandbox = start(Options { connections_max: 1, ..Options::default() }).await;
    let first = Client::ready(&sandbox).await;
    Client::ready(&sandbox)
        .await
        .message("ok", &at_data("S: 421 4.3.0 Temporary System Problem.\nclose"))
        .await;
    drop(first);
    while sandbox.mailbox().counters().connections_open > 0 {
        tokio::task::yield_now().await;
    }
    Client::ready(&sandbox).await.message("ok", ACCEPTED).await;
}

#[tokio::test]
async fn a_slow_recipient_is_answered_when_the_clock_says_so() {
    let (sandbox, clock) = start_with_clock().await;
    let mut client = Client::ready(&sandbox).await;
    client.message("slow", &at_dot("C: NOOP")).await;
    sandbox.mailbox().wait_for(1, PATIENCE).await.unwrap();
    let mut octet = [0; 1];
    let early = tokio::time::timeout(Duration::from_millis(50), client.stream.read(&mut octet)).await;
    assert!(early.is_err(), "answered before its time");
    clock.advance(Duration::from_secs(10));
    client.talk("S: 250 2.0.0 OK  \nS: 250 2.0.0 OK ").await;
}

#[tokio::test]
async fn a_test_can_order_any_reply_or_loss_at_any_stage() {
    let sandbox = start(Options::default()).await;
    sandbox
        .fail_next(Stage::Connect, Failure::ReplyAndClose("421 4.7.0 Try again later {id} - gsmtp".into()));
    Client::implicit(&sandbox).await.talk("S: 421 4.7.0 Try again later \nclose").await;
    sandbox.fail_next(Stage::StartTls, Failure::Drop);
    let mut client = Client::starttls(&sandbox).await;
    client.talk("S: 220 \nC: HELO a.example\nS: 250 \nC: STARTTLS\nclose").await;
    let mut client = Client::ready(&sandbox).await;
    for stage in [Stage::Mail, Stage::Rcpt, Stage::Data, Stage::Dot] {
        sandbox.fail_next(stage, Failure::Reply("450-4.9.9 first\n450 4.9.9 second".into()));
    }
    let failed = "S: 450-4.9.9 first\nS: 450 4.9.9 second\n";
    client.talk(&format!("C: MAIL FROM:<me@gmail.com>\n{failed}{OPEN}")).await;
    client
        .talk(&format!("C: RCPT TO:<ok@x.net>\n{failed}C: RCPT TO:<ok@x.net>\nS: 250 \nC: DATA\n{failed}"))
        .await;
    client.message("ok", &at_dot(failed)).await;
    sandbox.fail_next(Stage::Dot, Failure::StoreAndDrop);
    client.message("ok", &at_dot("close")).await;
    assert_eq!(sandbox.mailbox().count(), 1);
}

#[tokio::test]
async fn open_connections_can_be_cut_and_new_ones_work() {
    let sandbox = start(Options::default()).await;
    let mut client = Client::ready(&sandbox).await;
    sandbox.disconnect_all();
    client.talk("close").await;
    Client::ready(&sandbox).await.message("ok", ACCEPTED).await;
}

#[tokio::test]
async fn the_plain_port_takes_mail_without_tls_and_login_and_without_a_daily_limit() {
    let sandbox = start(Options { recipients_per_day: 1, ..Options::default() }).await;
    let mut client = Client::plain(&sandbox).await;
    client
        .talk(
            "S: 220 mx.google.com ESMTP \nC: EHLO a.example\nS: 250-mx.google.com at your service, [127.0.0.1]
S: 250-SIZE 157286400\nS: 250-8BITMIME\nS: 250-ENHANCEDSTATUSCODES\nS: 250-PIPELINING\nS: 250-CHUNKING\nS: 250 SMTPUTF8
C: AUTH PLAIN\nS: 502-5.5.1 \nS: 502-5.5.1 \nS: 502 5.5.1 \nC: STARTTLS\nS: 502-5.5.1 \nS: 502-5.5.1 \nS: 502 5.5.1 ",
        )
        .await;
    client.message("ok", ACCEPTED).await;
    client.message("ok", ACCEPTED).await;
    let accepted = sandbox.mailbox().accepted();
    assert_eq!((accepted[1].tls, accepted[1].username.as_deref()), (false, None));
}

#[tokio::test]
async fn the_journal_holds_each_stored_message_before_it_is_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let options = Options { journal: Some(path.clone()), keep_bodies: false, ..Options::default() };
    let sandbox = start(options).await;
    Client::ready(&sandbox).await.message("ok", ACCEPTED).await;
    Client::ready(&sandbox).await.message("dropdot", &at_dot("close")).await;
    Client::ready(&sandbox).await.message("dropdot-lost", &at_dot("close")).await;
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<JournalLine> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let answered: Vec<bool> = lines.iter().map(|line| line.answered).collect();
    assert_eq!(answered, [true, false]);
    assert_eq!(lines[0].message_id.as_deref(), Some("<1@x>"));
    assert_eq!(lines[0].rcpt_to, ["ok@example.net"]);
    let body = b"Message-ID: <1@x>\r\n\r\nhello\r\n";
    assert_eq!((lines[0].size, lines[0].crc32), (body.len() as u64, crc32fast::hash(body)));
}

#[tokio::test]
async fn a_watcher_sees_each_step_of_a_message_and_no_secret() {
    let sandbox = start(Options::default()).await;
    let mut events = sandbox.events();
    Client::ready(&sandbox).await.message("ok", ACCEPTED).await;
    let mut lines = Vec::new();
    while let Ok(event) = events.try_recv() {
        lines.push(event.to_string());
    }
    assert_eq!(
        lines,
        [
            "upstream #1 connect: connected",
            "upstream #1 ehlo: name=relay.example.org",
            "upstream #1 auth: logged in user=me@gmail.com",
            "upstream #1 mail: from=me@gmail.com",
            "upstream #1 rcpt: to=ok@example.net",
            "upstream #1 data: recipients=1",
            "upstream #1 dot: accepted from=me@gmail.com to=ok@example.net size=28 message_id=<1@x>",
        ]
    );
}

#[tokio::test]
async fn latency_delays_each_batch_of_replies_once() {
    let latency = Duration::from_millis(20);
    let sandbox = start(Options { latency, ..Options::default() }).await;
    let mut client = Client::plain(&sandbox).await;
    client.talk("S: 220 \nC: HELO a.example\nS: 250 ").await;
    tokio::time::pause();
    let before = tokio::time::Instant::now();
    client.talk("C: NOOP\nC: NOOP\nC: NOOP\nS: 250 \nS: 250 \nS: 250 ").await;
    let passed = before.elapsed();
    assert!(passed >= latency && passed < 2 * latency, "{passed:?}");
}
