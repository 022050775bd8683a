//! The replies of the session, built by functions that are named after what they mean.
//!
//! Rule: every reply carries an enhanced status code (RFC 3463), but for the greeting, the answers to
//! HELO and EHLO, and 354, where RFC 2034 forbids it. A text tells the client what to do and nothing
//! about our insides. Must not know when a reply is given.

use std::{borrow::Cow, net::IpAddr};

use super::{
    auth_exchange::Exchange,
    contract::{Options, Refusal},
    error::CommandError,
    extension,
    peer::Client,
};

/// One reply, of one or more lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    status: Option<&'static str>,
    lines: Vec<Cow<'static, str>>,
}

impl Reply {
    /// Appends the reply as it goes over the wire (RFC 5321 section 4.2.1).
    pub fn render(&self, output: &mut Vec<u8>) {
        let last = self.lines.len().saturating_sub(1);
        let code = [100, 10, 1].map(|unit| b'0' + (self.code / unit % 10) as u8);
        let before = code.len() + 1 + self.status.map_or(0, |status| status.len() + 1);
        output.reserve(self.lines.iter().map(|line| before + line.len() + 2).sum());
        for (index, line) in self.lines.iter().enumerate() {
            output.extend_from_slice(&code);
            output.push(if index == last { b' ' } else { b'-' });
            if let Some(status) = self.status {
                output.extend_from_slice(status.as_bytes());
                output.push(b' ');
            }
            output.extend_from_slice(line.as_bytes());
            output.extend_from_slice(b"\r\n");
        }
    }

    fn new(code: u16, status: &'static str, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, status: Some(status), lines: vec![text.into()] }
    }

    fn plain(code: u16, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, status: None, lines: vec![text.into()] }
    }
}

/// The lines of rendered replies that refuse something (4yz and 5yz), for the log.
pub fn refusals(replies: &[u8]) -> impl Iterator<Item = &str> {
    replies
        .split(|octet| *octet == b'\n')
        .filter(|line| matches!(line.first(), Some(b'4' | b'5')))
        .filter_map(|line| std::str::from_utf8(line.trim_ascii_end()).ok())
}

// The session itself.

/// The first words of a session.
pub fn greeting(hostname: &str) -> Reply {
    Reply::plain(220, format!("{hostname} ESMTP Pillarbox"))
}

/// HELO.
pub fn hello(hostname: &str) -> Reply {
    Reply::plain(250, hostname.to_owned())
}

/// EHLO: our name, then the extensions.
pub fn extended_hello(options: &Options, client: Client) -> Reply {
    let mut reply = hello(&options.hostname);
    reply.lines.extend(extension::advertised(options, client).into_iter().map(Cow::Owned));
    reply
}

/// QUIT.
pub fn goodbye() -> Reply {
    Reply::new(221, "2.0.0", "goodbye")
}

/// NOOP and RSET.
pub fn done() -> Reply {
    Reply::new(250, "2.0.0", "OK")
}

/// HELP.
pub fn help() -> Reply {
    Reply::new(
        214,
        "2.0.0",
        "commands: EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP STARTTLS AUTH QUIT",
    )
}

/// VRFY: nobody is verified before the upstream is asked.
pub fn cannot_verify() -> Reply {
    Reply::new(252, "2.0.0", "cannot verify a user, but will take mail for delivery")
}

/// The service stops.
pub fn stopping(hostname: &str) -> Reply {
    Reply::new(421, "4.3.2", format!("{hostname} is being stopped, try again later"))
}

/// The administrator has the service take nothing new.
pub fn drained(hostname: &str) -> Reply {
    let words = "takes no new mail; send it through another host, or try again later";
    Reply::new(421, "4.3.2", format!("{hostname} {words}"))
}

/// Every place is taken; the client is not even greeted.
pub fn too_many_connections(hostname: &str) -> Reply {
    Reply::new(
        421,
        "4.3.2",
        format!("{hostname} serves too many clients just now; try again later"),
    )
}

/// The client has as many connections as it may have.
pub fn too_many_of_client(hostname: &str) -> Reply {
    Reply::new(
        421,
        "4.7.0",
        format!("{hostname} serves too many connections of yours; close some first"),
    )
}

/// The client was silent for too long.
pub fn timed_out(hostname: &str) -> Reply {
    Reply::new(421, "4.4.2", format!("{hostname} waited too long and closes the connection"))
}

/// Too many commands that are not commands.
pub fn too_many_errors(hostname: &str) -> Reply {
    Reply::new(421, "4.7.0", format!("{hostname} closes the connection: too many errors"))
}

/// Too many recipients that were refused.
pub fn too_many_refused_recipients(hostname: &str) -> Reply {
    Reply::new(
        421,
        "4.7.0",
        format!("{hostname} closes the connection: too many refused recipients"),
    )
}

/// Too many commands without a message.
pub fn too_many_commands(hostname: &str) -> Reply {
    Reply::new(
        421,
        "4.7.0",
        format!("{hostname} closes the connection: too many commands without a message"),
    )
}

/// Too many messages on one connection.
pub fn too_many_messages(hostname: &str) -> Reply {
    Reply::new(
        421,
        "4.7.0",
        format!("{hostname} closes the connection: send further messages on another"),
    )
}

/// Too many logins that were refused.
pub fn too_many_logins(hostname: &str) -> Reply {
    Reply::new(421, "4.7.0", format!("{hostname} closes the connection: too many failed logins"))
}

/// Commands before the greeting, or before the reply to EHLO, from somebody we do not trust.
pub fn early_talker() -> Reply {
    Reply::new(
        554,
        "5.7.0",
        "you spoke before it was your turn, wait for the greeting and for EHLO's reply",
    )
}

/// The peer speaks HTTP.
pub fn not_http() -> Reply {
    Reply::new(554, "5.5.1", "this is an SMTP server, not a web server")
}

/// A proxy tells whom it speaks for, where none is expected.
pub fn no_proxy_header() -> Reply {
    Reply::new(554, "5.5.1", "this is an SMTP server on a port without PROXY protocol")
}

/// The peer begins with TLS.
pub fn no_tls_on_connect() -> Reply {
    Reply::new(554, "5.5.1", "this is an SMTP server without TLS on connect")
}

// Commands that cannot be understood or are not wanted.

/// A line longer than the limit.
pub fn line_too_long() -> Reply {
    Reply::new(500, "5.5.2", "command line too long")
}

/// A verb that nobody knows.
pub fn unknown_command() -> Reply {
    Reply::new(500, "5.5.1", "command not recognized")
}

/// A verb that we know and do not serve.
pub fn not_implemented() -> Reply {
    Reply::new(502, "5.5.1", "command not implemented")
}

/// A parameter of MAIL or RCPT that belongs to no extension we offer.
pub fn unknown_parameter() -> Reply {
    Reply::new(
        555,
        "5.5.4",
        "parameter not recognized, only the extensions in the reply to EHLO are offered",
    )
}

/// A line that is not a correct command.
pub fn malformed(error: &CommandError) -> Reply {
    match error {
        CommandError::Empty | CommandError::Character => {
            Reply::new(500, "5.5.2", error.to_string())
        }
        CommandError::EightBit => Reply::new(501, "5.5.2", error.to_string()),
        CommandError::Usage(_) | CommandError::Parameter(_) => {
            Reply::new(501, "5.5.4", error.to_string())
        }
        CommandError::ReversePath(_) | CommandError::BehindSender => {
            Reply::new(501, "5.1.7", error.to_string())
        }
        CommandError::ForwardPath(_) | CommandError::BehindRecipient => {
            Reply::new(501, "5.1.3", error.to_string())
        }
    }
}

/// A second MAIL.
pub fn nested_mail() -> Reply {
    Reply::new(503, "5.5.1", "a mail transaction is open, end it with DATA or RSET")
}

/// RCPT or DATA without MAIL.
pub fn mail_first() -> Reply {
    Reply::new(503, "5.5.1", "send MAIL first")
}

/// DATA when no recipient was accepted.
pub fn no_valid_recipients() -> Reply {
    Reply::new(554, "5.5.1", "no valid recipients")
}

/// STARTTLS or AUTH while a mail transaction is open.
pub fn not_in_a_transaction() -> Reply {
    Reply::new(503, "5.5.1", "not while a mail transaction is open, end it first")
}

/// Any other command between two chunks of a message than BDAT.
pub fn more_chunks_first() -> Reply {
    Reply::new(503, "5.5.1", "the message comes with BDAT, send the rest of it or RSET")
}

/// MAIL without EHLO, from somebody we do not trust.
pub fn hello_first() -> Reply {
    Reply::new(503, "5.5.1", "send EHLO first")
}

// STARTTLS and AUTH.

/// The TLS handshake may begin.
pub fn start_tls() -> Reply {
    Reply::new(220, "2.0.0", "ready to start TLS")
}

/// STARTTLS on a connection that is encrypted already.
pub fn already_encrypted() -> Reply {
    Reply::new(503, "5.5.1", "the connection is encrypted already")
}

/// The next response is asked for. Its text is base64 and nothing else.
pub fn challenge(exchange: &Exchange) -> Reply {
    Reply::plain(334, exchange.challenge())
}

/// The login is right.
pub fn authenticated() -> Reply {
    Reply::new(235, "2.7.0", "login accepted")
}

/// It is not; what is wrong is nobody's business.
pub fn login_refused() -> Reply {
    Reply::new(535, "5.7.8", "login not accepted: name or password is wrong")
}

/// The users cannot be read.
pub fn login_unavailable() -> Reply {
    Reply::new(454, "4.7.0", "logins cannot be checked just now, try again later")
}

/// AUTH after a login.
pub fn already_authenticated() -> Reply {
    Reply::new(503, "5.5.1", "you have logged in already")
}

/// A mechanism that is not offered (RFC 4954 section 4).
pub fn unknown_mechanism() -> Reply {
    Reply::new(504, "5.5.4", "only AUTH PLAIN and AUTH LOGIN are offered")
}

/// A password may not pass in plaintext.
pub fn encryption_required() -> Reply {
    Reply::new(538, "5.7.11", "a login needs an encrypted connection, use STARTTLS first")
}

/// Nobody may send mail without a login.
pub fn authentication_required() -> Reply {
    Reply::new(530, "5.7.0", "log in first, with AUTH PLAIN or AUTH LOGIN")
}

/// The client gave up.
pub fn login_cancelled() -> Reply {
    Reply::new(501, "5.7.0", "login cancelled")
}

/// Not base64, or not what the mechanism asks for.
pub fn malformed_response() -> Reply {
    Reply::new(501, "5.5.2", "this is not the base64 that the mechanism asks for")
}

/// A response longer than the limit (RFC 4954 section 6).
pub fn response_too_long() -> Reply {
    Reply::new(500, "5.5.6", "the line is too long for a login")
}

// The mail transaction.

/// MAIL is accepted.
pub fn sender_accepted() -> Reply {
    Reply::new(250, "2.1.0", "sender OK")
}

/// RCPT is accepted.
pub fn recipient_accepted() -> Reply {
    Reply::new(250, "2.1.5", "recipient OK")
}

/// The client may not relay.
pub fn relaying_denied(client: IpAddr) -> Reply {
    let client = client.to_canonical();
    Reply::new(
        550,
        "5.7.1",
        format!("relaying denied: {client} is not in a trusted network of this relay"),
    )
}

/// An address with other than ASCII characters, without SMTPUTF8 (RFC 6531 section 3.5).
pub fn needs_smtputf8() -> Reply {
    Reply::new(553, "5.6.7", "an address with other than ASCII characters needs SMTPUTF8 in MAIL")
}

/// A recipient on this host, when nobody reads mail here.
pub fn no_local_recipients() -> Reply {
    Reply::new(
        550,
        "5.1.3",
        "no mailboxes on this host, use a full address such as name@domain.example",
    )
}

/// One recipient more than a transaction may have; the others are kept (RFC 5321 section 4.5.3.1.10).
pub fn too_many_recipients(limit: usize) -> Reply {
    let text =
        format!("too many recipients, send the message to the first {limit}, then to the rest");
    Reply::new(452, "4.5.3", text)
}

// The message.

/// DATA may begin.
pub fn start_data() -> Reply {
    Reply::plain(354, "end the message with a line that has only a dot")
}

/// A chunk that is not the last one has come.
pub fn chunk_received(octets: u64) -> Reply {
    Reply::new(250, "2.0.0", format!("{octets} octets received"))
}

/// The message is ours now.
pub fn queued(id: &str) -> Reply {
    Reply::new(250, "2.0.0", format!("queued as {id}"))
}

/// The message cannot be taken, for now or for good.
pub fn refused(refusal: Refusal) -> Reply {
    match refusal {
        Refusal::Full => Reply::new(452, "4.3.1", "no room for the message, try again later"),
        Refusal::Unavailable => {
            Reply::new(451, "4.3.0", "the queue is not available, try again later")
        }
        // Its session ends with words of its own where it is asked for.
        Refusal::Drained => Reply::new(451, "4.3.2", "no new mail is taken, try again later"),
        Refusal::Rejected => Reply::new(554, "5.0.0", "the relay refuses the message"),
        Refusal::TooFast { retry_after } => {
            let seconds = retry_after.as_secs().max(1);
            Reply::new(
                450,
                "4.7.1",
                format!("too many messages in this minute, try again in {seconds} s"),
            )
        }
        Refusal::NobodyReads => no_local_recipients(),
        // For good: the same message would have as many next time.
        Refusal::TooManyAddresses { limit } => {
            let text = format!("the recipients stand for more than {limit} addresses");
            Reply::new(550, "5.5.3", text)
        }
        Refusal::Unwanted { text } => Reply::new(550, "5.7.1", text),
    }
}

/// Larger than the limit, as declared or as received (RFC 1870 section 6).
pub fn too_large(limit: u64) -> Reply {
    Reply::new(552, "5.3.4", format!("the message is larger than the limit of {limit} octets"))
}

/// So many hops that it must be going round in circles (RFC 5321 section 6.3).
pub fn loop_detected() -> Reply {
    Reply::new(554, "5.4.6", "too many Received fields, the message is in a loop")
}

/// A lone dot between line ends that are not CRLF, from somebody we do not trust.
pub fn wrong_line_ends() -> Reply {
    Reply::new(
        550,
        "5.5.2",
        "a line with only a dot was not delimited by CRLF, send lines that end with CRLF",
    )
}

/// A NUL, or a bare CR in a header field, from somebody we do not trust.
pub fn forbidden_octets() -> Reply {
    Reply::new(550, "5.6.0", "the message contains a NUL, or a CR without LF in a header field")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_but_the_last_has_a_hyphen_and_each_has_the_status_code() {
        let reply = Reply {
            code: 550,
            status: Some("5.7.1"),
            lines: vec!["one".into(), "two".into(), "three".into()],
        };
        let mut output = Vec::new();
        reply.render(&mut output);
        assert_eq!(output, b"550-5.7.1 one\r\n550-5.7.1 two\r\n550 5.7.1 three\r\n");
    }

    #[test]
    fn greeting_hello_and_354_have_no_status_code() {
        for (reply, expected) in [
            (greeting("a.example"), "220 a.example ESMTP Pillarbox\r\n"),
            (hello("a.example"), "250 a.example\r\n"),
            (start_data(), "354 end the message with a line that has only a dot\r\n"),
        ] {
            let mut output = Vec::new();
            reply.render(&mut output);
            assert_eq!(output, expected.as_bytes());
        }
    }

    #[test]
    fn refusals_are_found_among_other_replies() {
        let replies =
            b"250-relay.example\r\n250 SIZE 5\r\n550 5.7.1 no\r\n354 go\r\n452 4.3.1 full\r\n";
        assert_eq!(refusals(replies).collect::<Vec<_>>(), ["550 5.7.1 no", "452 4.3.1 full"]);
    }
}
