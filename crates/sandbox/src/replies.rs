//! Every reply of the look-alike, word for word (docs/gmail.md sections 1.3, 1.4 and 3).
//!
//! Rule: a reply is named by its meaning; a reply of several lines repeats code and enhanced code on
//! each line, breaks where Gmail breaks, and carries the session id on the last line only.
//! Must not know when a reply is due.

use std::net::IpAddr;

use data_encoding::BASE64;

/// A reply that ends in the session id.
#[derive(Debug)]
pub(super) struct Template {
    code: &'static str,
    enhanced: &'static str,
    /// Lines separated by LF; `{}` stands for the detail, such as an address.
    text: &'static str,
}

impl Template {
    /// Appends the reply to `output`.
    pub(super) fn write(&self, output: &mut Vec<u8>, id: &str, detail: &str) {
        let mut lines = self.text.split('\n').peekable();
        while let Some(line) = lines.next() {
            let last = lines.peek().is_none();
            let mut push = |text: &str| output.extend_from_slice(text.as_bytes());
            push(self.code);
            push(if last { " " } else { "-" });
            push(self.enhanced);
            push(" ");
            let (before, after) = line.split_once("{}").unwrap_or((line, ""));
            push(before);
            if before.len() != line.len() {
                push(detail);
            }
            push(after);
            if last {
                push(" ");
                push(id);
                push(" - gsmtp");
            }
            push("\r\n");
        }
    }

    /// The reply as a script writes it: lines separated by LF, `{id}` for the session id.
    pub(super) fn scripted(&self) -> String {
        let mut octets = Vec::new();
        self.write(&mut octets, "{id}", "");
        String::from_utf8_lossy(&octets).replace("\r\n", "\n")
    }

    /// Whether this is 550 5.4.5.
    pub(super) fn is_daily_limit(&self) -> bool {
        std::ptr::eq(self, &raw const DAILY_LIMIT)
    }

    /// Code and enhanced code, for the log.
    pub(super) fn codes(&self) -> String {
        format!("{} {}", self.code, self.enhanced)
    }
}

/// Where a session id is issued; Google marks its submission servers `sm` and its MX `si`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// smtp.gmail.com.
    Submission,
    /// mx.google.com.
    Exchange,
}

impl Service {
    /// The name in greeting and EHLO reply.
    pub(super) const fn host(self) -> &'static str {
        match self {
            Self::Submission => "smtp.gmail.com",
            Self::Exchange => "mx.google.com",
        }
    }
}

/// A fresh session id, such as `d2e1a72fcca58-76e7d551493sm9728466b3a.112`.
pub(super) fn session_id(service: Service) -> String {
    let mark = if service == Service::Submission { "sm" } else { "si" };
    format!(
        "{:013x}-{:011x}{mark}{}{:03x}.{}",
        fastrand::u64(1 << 48..1 << 52),
        fastrand::u64(1 << 40..1 << 44),
        fastrand::u32(1_000_000..99_999_999),
        fastrand::u32(0x100..0x1000),
        fastrand::u32(1..120),
    )
}

/// The greeting.
pub(super) fn greeting(output: &mut Vec<u8>, service: Service, id: &str) {
    let text = format!("220 {} ESMTP {id} - gsmtp\r\n", service.host());
    output.extend_from_slice(text.as_bytes());
}

/// Which of the three lists EHLO answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// Before TLS.
    StartTls,
    /// Inside TLS, with these mechanisms.
    Authentication(&'static str),
    /// The plain port.
    Neither,
}

/// The reply to EHLO, in Gmail's order and without a session id.
pub(super) fn ehlo(output: &mut Vec<u8>, service: Service, peer: IpAddr, size: u64, offer: Offer) {
    let offer = match offer {
        Offer::StartTls => "250-STARTTLS\r\n".to_owned(),
        Offer::Authentication(mechanisms) => format!("250-AUTH {mechanisms}\r\n"),
        Offer::Neither => String::new(),
    };
    let text = format!(
        "250-{} at your service, [{peer}]\r\n250-SIZE {size}\r\n250-8BITMIME\r\n{offer}\
         250-ENHANCEDSTATUSCODES\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 SMTPUTF8\r\n",
        service.host()
    );
    output.extend_from_slice(text.as_bytes());
}

/// The reply to HELO.
pub(super) fn helo(output: &mut Vec<u8>, service: Service) {
    let text = format!("250 {} at your service\r\n", service.host());
    output.extend_from_slice(text.as_bytes());
}

/// Replies without session id.
pub(super) const READY_TO_START_TLS: &[u8] = b"220 2.0.0 Ready to start TLS\r\n";
pub(super) const AUTHENTICATED: &[u8] = b"235 2.7.0 Accepted\r\n";
pub(super) const CHALLENGE_EMPTY: &[u8] = b"334 \r\n";
pub(super) const CHALLENGE_USERNAME: &[u8] = b"334 VXNlcm5hbWU6\r\n";
pub(super) const TOKEN_REFUSED: &str =
    r#"{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}"#;
pub(super) const TOKEN_MALFORMED: &str =
    r#"{"status":"invalid_request","scope":"https://mail.google.com/"}"#;
pub(super) const CHALLENGE_PASSWORD: &[u8] = b"334 UGFzc3dvcmQ6\r\n";

/// The JSON of a refused token, in base64 (docs/gmail.md section 4.2).
pub(super) fn challenge_json(output: &mut Vec<u8>, json: &str) {
    let text = format!("334 {}\r\n", BASE64.encode(json.as_bytes()));
    output.extend_from_slice(text.as_bytes());
}

/// Octets that no server should send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// No reply code at all.
    Garbage,
    /// A line of 64 KiB.
    LongLine,
    /// A reply of two lines with different codes.
    MixedCodes,
    /// A NUL inside the text.
    Nul,
}

impl Malformed {
    /// Appends it to `output`.
    pub(super) fn write(self, output: &mut Vec<u8>) {
        match self {
            Self::Garbage => output.extend_from_slice(b"\x7f\x01 not a reply\r\n"),
            Self::MixedCodes => output.extend_from_slice(b"250-2.1.5 OK\r\n550 5.1.1 OK\r\n"),
            Self::Nul => output.extend_from_slice(b"250 2.1.5 O\0K\r\n"),
            Self::LongLine => {
                output.extend_from_slice(b"550 5.1.1 ");
                output.resize(output.len() + LONG_LINE_LENGTH, b'x');
                output.extend_from_slice(b"\r\n");
            }
        }
    }
}

/// Octets of [`Malformed::LongLine`]; RFC 5321 section 4.5.3.1.5 allows 512.
const LONG_LINE_LENGTH: usize = 64 * 1024;

macro_rules! replies {
    ($($(#[$doc:meta])* $name:ident = $code:literal $enhanced:literal $text:expr;)*) => {
        $($(#[$doc])* pub(super) static $name: Template =
            Template { code: $code, enhanced: $enhanced, text: $text };)*
        /// All of them, for the test of their form.
        #[cfg(test)]
        static ALL: &[(&str, &Template)] = &[$((stringify!($name), &$name),)*];
    };
}

replies! {
    // Success.
    SENDER_OK = "250" "2.1.0" "OK";
    RECIPIENT_OK = "250" "2.1.5" "OK";
    GO_AHEAD = "354" "" "Go ahead";
    /// The detail is the Unix time in seconds.
    MESSAGE_ACCEPTED = "250" "2.0.0" "OK  {}";
    FLUSHED = "250" "2.1.5" "Flushed";
    CHUNK_OK = "250" "2.0.0" "OK";
    NOOP_OK = "250" "2.0.0" "OK";
    CLOSING = "221" "2.0.0" "closing connection";
    VRFY_MAYBE = "252" "2.1.5" "Send some mail, I'll try my best";
    HELP = "214" "2.0.0" " https://www.google.com/search?btnI&q=RFC+5321";

    // Order and syntax of commands.
    EHLO_REFUSED = "421" "4.7.0"
        "Try again later, closing connection. (EHLO)\nFor more information, go to\n \
         https://support.google.com/a/answer/3221692";
    EHLO_FIRST = "503" "5.5.1"
        "EHLO/HELO first. For more information, go to\n https://support.google.com/a/answer/3221692 \
         and review RFC 5321\nspecifications.";
    MAIL_FIRST = "503" "5.5.1"
        "MAIL first. For more information, go to\n https://support.google.com/a/answer/3221692 \
         and review RFC 5321\nspecifications.";
    RCPT_FIRST = "503" "5.5.1"
        "RCPT first. For more information, go to\n https://support.google.com/a/answer/3221692 \
         and review RFC 5321\nspecifications.";
    BAD_SEQUENCE = "503" "5.5.1"
        "Bad sequence of commands. For more information, go to\n \
         https://support.google.com/a/answer/3221692 and review RFC 5321\nspecifications.";
    UNRECOGNIZED = "502" "5.5.1"
        "Unrecognized command. For more information, go to\n \
         https://support.google.com/a/answer/3221692 and review RFC 5321\nspecifications.";
    UNIMPLEMENTED = "502" "5.5.1"
        "Unimplemented command. For more information, go to\n \
         https://support.google.com/a/answer/3221692 and review RFC 5321\nspecifications.";
    NO_DATA_AFTER_BDAT = "503" "5.5.1"
        "No DATA after BDAT. For more information, go to\n https://support.google.com/a/answer/3221692 \
         and review RFC 3030\nspecifications.";
    TOO_MANY_UNRECOGNIZED = "502" "5.5.1" "Too many unrecognized commands, goodbye.";
    SYNTAX_ERROR = "555" "5.5.2"
        "Syntax error, cannot decode response. For more information, go to\n \
         https://support.google.com/a/answer/3221692 and review RFC 5321\nspecifications.";
    LINE_TOO_LONG = "500" "5.5.2" "Line too long, closing connection.";

    // Encryption and authentication.
    STARTTLS_FIRST = "530" "5.7.0"
        "Must issue a STARTTLS command first. For more information, go to\n \
         https://support.google.com/a/answer/3221692 and review RFC 3207\nspecifications.";
    STARTTLS_REPEATED = "454" "5.5.1" "STARTTLS may not be repeated";
    AUTHENTICATION_REQUIRED = "530" "5.7.0"
        "Authentication Required. For more information, go to\n \
         https://support.google.com/mail/?p=WantAuthError";
    BAD_CREDENTIALS = "535" "5.7.8"
        "Username and Password not accepted. For more information, go to\n \
         https://support.google.com/mail/?p=BadCredentials";
    APP_PASSWORD_REQUIRED = "534" "5.7.9"
        "Application-specific password required. For more information, go to\n \
         https://support.google.com/mail/?p=InvalidSecondFactor";
    BROWSER_REQUIRED = "534" "5.7.9"
        "Please log in with your web browser and then try again. For more\ninformation, go to\n \
         https://support.google.com/mail/?p=WebLoginRequired";
    CAPTCHA_REQUIRED = "534" "5.7.14"
        "<https://accounts.google.com/signin/continue?sarp=1&scc=1&plt=AKgnsbsXYZ0\n\
         XYZ1abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcde\n\
         XYZ2abcdefghijklmnopqrstuvwxyz> Please log in via your web browser and\n\
         then try again. For more information, go to\n https://support.google.com/mail/answer/78754";
    LOGIN_UNAVAILABLE = "454" "4.7.0"
        "Cannot authenticate due to temporary system problem. Try again later.";
    TOO_MANY_LOGINS = "454" "4.7.0"
        "Too many login attempts, please try again later. For more information,\ngo to\n \
         https://support.google.com/mail/answer/7126229";
    UNKNOWN_MECHANISM = "504" "5.7.4" "Unrecognized Authentication Type";
    CANNOT_DECODE = "501" "5.5.2" "Cannot Decode response";
    XOAUTH_GONE = "504" "5.7.4" "XOAUTH is no longer supported.";
    NO_IDENTITY_CHANGE = "503" "5.7.0" "No identity changes permitted.";

    // The account and the connection.
    DAILY_LIMIT = "550" "5.4.5"
        "Daily user sending limit exceeded. For more information on Gmail\nsending limits go to\n \
         https://support.google.com/a/answer/166852";
    SYSTEM_PROBLEM = "421" "4.3.0" "Temporary System Problem.  Try again later (10).";
    CONNECTION_EXPIRED = "421" "4.7.0" "Connection expired, try reconnecting.";
    /// The wording is not known from a transcript; docs/gmail.md section 2 only says that it names the session.
    SESSION_EXPIRED = "421" "4.7.0" "Session expired, please login again.";
    SERVER_BUSY = "421" "4.4.5" "Server busy, try again later.";
    SENDING_DENIED = "550" "5.7.0" "Mail Sending denied.";
    IDLE_TIMEOUT = "451" "4.4.2" "Timeout - closing connection.";

    // Sender and recipients; the detail is the address.
    BAD_SENDER = "553" "5.1.7"
        "The sender address <{}> is not a valid\nRFC 5321 address. For more information, go to\n \
         https://support.google.com/a/answer/3221692 and review RFC 5321\nspecifications.";
    BAD_RECIPIENT = "553" "5.1.3"
        "The recipient address <{}> is not a valid\nRFC 5321 address. For more information, go to\n \
         https://support.google.com/a/answer/3221692 and review RFC 5321\nspecifications.";
    TOO_MANY_RECIPIENTS = "452" "4.5.3"
        "Your message has too many recipients. For more information regarding\n\
         Google's sending limits, go to\n https://support.google.com/mail/?p=TooManyRecipientsError";
    NO_SUCH_USER = "550" "5.1.1"
        "The email account that you tried to reach does not exist. Please try\ndouble-checking the \
         recipient's email address for typos or\nunnecessary spaces. For more information, go to\n \
         https://support.google.com/mail/?p=NoSuchUser";
    RATE = "450" "4.2.1"
        "The user you are trying to contact is receiving mail at a rate that\nprevents additional \
         messages from being delivered. Please resend your\nmessage at a later time. If the user is \
         able to receive mail at that\ntime, your message will be delivered. For more information, go \
         to\n https://support.google.com/mail/?p=ReceivingRate";
    RATE_PERMANENT = "550" "5.2.1"
        "The user you are trying to contact is receiving mail at a rate that\nprevents additional \
         messages from being delivered. For more\ninformation, go to\n \
         https://support.google.com/mail/?p=ReceivingRatePerm";
    MAILBOX_FULL = "452" "4.2.2"
        "The recipient's inbox is out of storage space. Please direct the\nrecipient to\n \
         https://support.google.com/mail/?p=OverQuotaTemp";
    MAILBOX_FULL_PERMANENT = "552" "5.2.2"
        "The recipient's inbox is out of storage space and inactive. Please\ndirect the recipient to\n \
         https://support.google.com/mail/?p=OverQuotaPerm";

    // The message.
    TOO_LARGE = "552" "5.3.4"
        "Your message exceeded Google's message size limits. For more\ninformation, go to\n \
         https://support.google.com/mail/?p=MaxSizeError";
    BARE_LINE_FEED = "451" "4.5.0"
        "SMTP protocol violation, visit\n https://support.google.com/a/answer/3221692 and review \
         RFC 5321\nspecifications.";
    BLOCKED = "552" "5.7.0"
        "This message was blocked because its content presents a potential\nsecurity issue. To review \
         our message content and attachment content\nguidelines, go to\n \
         https://support.google.com/mail/?p=BlockedMessage";
    UNSOLICITED = "550" "5.7.1"
        "Our system has detected that this message is likely unsolicited mail.\nTo reduce the amount \
         of spam sent to Gmail, this message has been\nblocked. For more information, go to\n \
         https://support.google.com/mail/?p=UnsolicitedMessageError";
    TRY_AGAIN = "451" "4.3.0" "Mail server temporarily rejected message.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reply_repeats_its_codes_and_is_signed_on_its_last_line_only() {
        for (name, reply) in ALL {
            let mut output = Vec::new();
            reply.write(&mut output, "id", "a@b");
            let text = String::from_utf8(output).unwrap();
            let lines: Vec<&str> = text.split_terminator("\r\n").collect();
            for (index, line) in lines.iter().enumerate() {
                let last = index + 1 == lines.len();
                let separator = if last { ' ' } else { '-' };
                let start = format!("{}{separator}{} ", reply.code, reply.enhanced);
                assert!(line.starts_with(&start), "{name}: {line}");
                assert_eq!(line.ends_with(" id - gsmtp"), last, "{name}: {line}");
                assert!(line.len() <= 512, "{name}: RFC 5321 section 4.5.3.1.5");
            }
        }
    }

    #[test]
    fn the_daily_limit_reads_as_gmail_writes_it() {
        let mut output = Vec::new();
        DAILY_LIMIT.write(&mut output, "x.1", "");
        assert_eq!(
            String::from_utf8(output).unwrap(),
            "550-5.4.5 Daily user sending limit exceeded. For more information on Gmail\r\n\
             550-5.4.5 sending limits go to\r\n\
             550 5.4.5  https://support.google.com/a/answer/166852 x.1 - gsmtp\r\n"
        );
    }

    #[test]
    fn success_carries_gmails_two_spaces() {
        let mut output = Vec::new();
        GO_AHEAD.write(&mut output, "x.1", "");
        MESSAGE_ACCEPTED.write(&mut output, "x.1", "1716281641");
        assert_eq!(
            output,
            b"354  Go ahead x.1 - gsmtp\r\n250 2.0.0 OK  1716281641 x.1 - gsmtp\r\n"
        );
    }
}
