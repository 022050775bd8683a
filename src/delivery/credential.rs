//! The password or token: where it comes from, and the AUTH command that carries it.
//!
//! Rule: with `bearer.rs` the only caller of `Secret::expose` for the upstream; nothing here is ever logged, and errors name the source,
//! never the content. Read anew before each login, so that a replaced password needs no restart.
//! Must not know what the upstream says about it.

use std::{
    io::{self, Read},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, mpsc},
    time::Duration,
};

use async_trait::async_trait;
use data_encoding::BASE64;
use ring::digest;
use rustix::process::{Pid, Signal, kill_process_group};
use thiserror::Error;
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use super::{
    answer::Fault,
    oauth::{AccessToken, Grant, Tokens, client_file},
    options::{Limits, Login, Options, PasswordSource},
};
use crate::{
    careful_file::{self, Links},
    fleet,
    secret::Secret,
    text,
};

/// Octets of a password, also of a password file or a command's output.
const PASSWORD_LENGTH_MAX: usize = 4 * 1024;
/// Letters of a Google app password, which is shown in four groups (docs/gmail.md section 4.1).
const APP_PASSWORD_LENGTH: usize = 16;

/// Why there is no password. The upstream has not heard of it: nothing was sent.
#[derive(Debug, Error)]
pub(super) enum CredentialError {
    /// The file cannot be read.
    #[error("the password file {path} cannot be read: {error}")]
    File { path: String, error: io::Error },
    /// Others may read or replace the file.
    #[error("the password file {path} is open to others; run: chmod 600 {path}")]
    Permissions { path: String },
    /// The command failed or took too long.
    #[error("the password command {program} {reason}")]
    Command { program: String, reason: String },
    /// Nothing there.
    #[error("{0} gives no password: its first line is empty")]
    Empty(String),
    /// More than a password can be.
    #[error(
        "{0} gives something longer than {PASSWORD_LENGTH_MAX} bytes, which cannot be a password"
    )]
    TooLong(String),
    /// It is in no encoding that we read.
    #[error("{source_name} {what}")]
    Unreadable { source_name: String, what: &'static str },
    /// No password has such characters, and the upstream would only say that it is wrong.
    #[error(
        "{0} has a character in its first line that no app password has, such as a control character, an invisible one \
         or a letter with an accent; store the app password again, as plain text"
    )]
    Characters(String),
    /// Our own thread ended.
    #[error("reading {0} was interrupted")]
    Interrupted(String),
}

impl CredentialError {
    /// What the administrator should do.
    pub(super) fn remedy(&self) -> String {
        let act = match self {
            Self::File { path, error } if error.kind() == io::ErrorKind::NotFound => format!(
                "Store the app password on the first line of {path}: run pillarbox setup, or: install -m 0600 /dev/stdin {path}"
            ),
            Self::File { path, .. } => {
                format!("Let the user who runs the relay read {path}; see who may: ls -l {path}")
            }
            Self::Permissions { path } => format!("Run: chmod 600 {path}"),
            Self::Command { program, .. } => format!(
                "Run upstream.password_command ({program}) by hand, as the user who runs the relay, and correct it"
            ),
            Self::Empty(source)
            | Self::TooLong(source)
            | Self::Characters(source)
            | Self::Unreadable { source_name: source, .. } => {
                format!("Make the app password the first line of {source}")
            }
            Self::Interrupted(_) => "Look at the log of the relay".to_owned(),
        };
        format!(
            "{act}. Then restart the relay: `systemctl restart pillarbox`. A file that it reads itself is looked at again \
             within minutes."
        )
    }
}

/// What a login needs.
#[derive(Debug)]
pub(super) enum Credential {
    /// A user name and a password, ready for the wire.
    Password(PasswordLines),
    /// A token, whose command depends on what the upstream offers.
    Token(Bearer),
}

/// An access token, and where the next one comes from if the upstream does not take it.
#[derive(Clone, Debug)]
pub(super) struct Bearer {
    pub(super) username: String,
    pub(super) token: AccessToken,
    pub(super) tokens: Arc<Tokens>,
}

impl Credential {
    /// Has the password read, or an access token that is good for a while.
    pub(super) async fn of(
        login: &Login,
        tokens: Option<&Arc<Tokens>>,
        command_limit: Duration,
    ) -> Result<Self, Fault> {
        if let Some(tokens) = tokens {
            let token = tokens.access_token().await.map_err(Fault::NoToken)?;
            let bearer =
                Bearer { username: login.username.clone(), token, tokens: Arc::clone(tokens) };
            return Ok(Self::Token(bearer));
        }
        let lines = password_lines(login, command_limit).await;
        lines.map(Self::Password).map_err(|error| Fault::NoPassword {
            reason: error.to_string(),
            remedy: error.remedy(),
        })
    }
}

/// What a login with a password sends, each line with its CRLF. For the wire only.
pub(super) struct PasswordLines {
    /// AUTH PLAIN with its initial response (RFC 4616).
    pub(super) plain: Zeroizing<String>,
    /// The two responses of AUTH LOGIN: user name, password.
    pub(super) login: [Zeroizing<String>; 2],
}

impl std::fmt::Debug for PasswordLines {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("AUTH ***")
    }
}

/// Reads the password and makes the lines of both mechanisms.
async fn password_lines(
    login: &Login,
    command_limit: Duration,
) -> Result<PasswordLines, CredentialError> {
    let password = match login.password.clone() {
        PasswordSource::Inline(secret) => secret,
        source => spawn_blocking(move || read(&source, command_limit))
            .await
            .map_err(|_| CredentialError::Interrupted(name(&login.password)))??,
    };
    let password = normalized(&password);
    if password.expose().trim().is_empty() {
        return Err(CredentialError::Empty(name(&login.password)));
    }
    if !is_plain(password.expose()) {
        return Err(CredentialError::Characters(name(&login.password)));
    }
    let response = Zeroizing::new(format!("\0{}\0{}", login.username, password.expose()));
    let encoded = |text: &str| Zeroizing::new(BASE64.encode(text.as_bytes()));
    let line = |text: &str| Zeroizing::new(format!("{}\r\n", *encoded(text)));
    Ok(PasswordLines {
        plain: Zeroizing::new(format!("AUTH PLAIN {}\r\n", *encoded(&response))),
        login: [line(&login.username), line(password.expose())],
    })
}

/// What a password is made of. Others are not sent: they came with a copy from a page or an editor.
fn is_plain(password: &str) -> bool {
    password.chars().all(|character| matches!(character, ' '..='~'))
}

/// An app password as Google shows it, in groups, becomes the sixteen letters, also when it stands in quotes; any other
/// secret stays.
fn normalized(password: &Secret) -> Secret {
    let quote = |character: char| character == '"' || character == '\'';
    let bare = password.expose().trim();
    let inside = bare.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    let letters = Zeroizing::new(inside.unwrap_or(bare).split_whitespace().collect::<String>());
    let app_password = letters.len() == APP_PASSWORD_LENGTH
        && letters.bytes().all(|byte| byte.is_ascii_alphabetic());
    if app_password { Secret::new(letters.to_string()) } else { password.clone() }
}

/// A mark of the settings and of the secret that a login is made with, by which a start sees whether they have changed
/// since a refusal. It is two octets of a digest, so it gives nothing of them away; `None` when the secret cannot be
/// read.
pub(super) async fn mark(options: &Options) -> Option<u16> {
    let source = options.login.as_ref().map(|login| login.password.clone());
    let secret = spawn_blocking(move || match source {
        // What a command would say is not asked: the settings alone are marked.
        None | Some(PasswordSource::Command(_)) => Some(Zeroizing::new(Vec::new())),
        Some(PasswordSource::Tokens(options)) => {
            let path = match &options.grant {
                Grant::Refresh { token_file, .. } => token_file,
                Grant::ServiceAccount { key_file } => key_file,
                Grant::Application { certificate: Some(path), .. } => path,
                Grant::Application { client, .. } => {
                    let secret = client_file::client(client).ok()?.secret?;
                    return Some(Zeroizing::new(secret.expose().as_bytes().to_vec()));
                }
            };
            read_bounded(careful_file::open(path, Links::Followed).ok()?).ok()
        }
        Some(source) => {
            let password = read(&source, Duration::ZERO).ok()?;
            Some(Zeroizing::new(password.expose().as_bytes().to_vec()))
        }
    });
    let secret = secret.await.ok()??;
    let mut digest = digest::Context::new(&digest::SHA256);
    let username = options.login.as_ref().map_or("", |login| login.username.as_str());
    for part in [options.host.as_str(), &options.ehlo_name, username, &format!("{:?}", options.tls)]
    {
        digest.update(part.as_bytes());
        digest.update(b"\0");
    }
    digest.update(&options.port.to_be_bytes());
    digest.update(&secret);
    let digest = digest.finish();
    Some(u16::from_be_bytes(digest.as_ref().get(..2)?.try_into().ok()?))
}

/// What is wrong with a password before anybody has heard of it; nothing of it is in the words. What a command or the
/// token's source would give is not asked, and a file that the caller may not read is not judged.
#[must_use]
pub(crate) fn password_fault(login: &Login, host: &str) -> Option<String> {
    let source = &login.password;
    let found = match source {
        PasswordSource::Command(_) | PasswordSource::Tokens(_) => return None,
        PasswordSource::Inline(_) | PasswordSource::File(_) | PasswordSource::Mounted(_) => {
            read(source, Duration::ZERO)
        }
    };
    let password = match found {
        Ok(password) => normalized(&password),
        // Modes and whose it is are looked at by whoever asks.
        Err(CredentialError::File { .. } | CredentialError::Permissions { .. }) => return None,
        Err(error) => return Some(error.to_string()),
    };
    fault(&password, name(source), host)
}

/// What is wrong with a password, before anybody tries it.
fn fault(password: &Secret, source: String, host: &str) -> Option<String> {
    let text = password.expose();
    if text.trim().is_empty() {
        return Some(CredentialError::Empty(source).to_string());
    }
    if !is_plain(text) {
        return Some(CredentialError::Characters(source).to_string());
    }
    let is_app_password =
        text.len() == APP_PASSWORD_LENGTH && text.bytes().all(|octet| octet.is_ascii_alphabetic());
    let at_gmail = host.trim_end_matches('.').to_ascii_lowercase().ends_with(".gmail.com");
    (at_gmail && !is_app_password).then(|| {
        format!(
            "{source} does not hold an app password, which has {APP_PASSWORD_LENGTH} letters; Gmail refuses the \
             account's own password. Make one: https://myaccount.google.com/apppasswords"
        )
    })
}

/// The source in words for the administrator.
fn name(source: &PasswordSource) -> String {
    match source {
        PasswordSource::Inline(_) => "upstream.password".to_owned(),
        PasswordSource::File(path) | PasswordSource::Mounted(path) => {
            format!("the password file {}", path.display())
        }
        PasswordSource::Command(words) => {
            format!("the password command {}", text::program(words))
        }
        PasswordSource::Tokens(_) => "the token".to_owned(),
    }
}

fn read(source: &PasswordSource, command_limit: Duration) -> Result<Secret, CredentialError> {
    let output = match source {
        PasswordSource::Inline(secret) => return Ok(secret.clone()),
        PasswordSource::File(path) => read_file(path, Access::OwnersAlone)?,
        PasswordSource::Mounted(path) => read_file(path, Access::AsMounted)?,
        PasswordSource::Command(words) => read_command(words, command_limit)?,
        // A token never passes here; as a password there is none.
        PasswordSource::Tokens(_) => return Err(CredentialError::Empty(name(source))),
    };
    if output.len() > PASSWORD_LENGTH_MAX {
        return Err(CredentialError::TooLong(name(source)));
    }
    let text = text::only_utf8(&output)
        .map_err(|what| CredentialError::Unreadable { source_name: name(source), what })?;
    Ok(first_line(text))
}

/// A password for another server than the upstream, which is read by the same rules.
#[derive(Clone, Debug)]
pub(crate) struct StoredPassword(PasswordSource);

impl StoredPassword {
    pub(crate) fn new(source: PasswordSource) -> Self {
        Self(source)
    }
}

#[async_trait]
impl fleet::Password for StoredPassword {
    async fn read(&self) -> Result<Secret, String> {
        let source = self.0.clone();
        let limit = Limits::default().password_command;
        match spawn_blocking(move || read(&source, limit)).await {
            Ok(password) => password.map_err(|error| error.to_string()),
            Err(_) => Err(CredentialError::Interrupted(name(&self.0)).to_string()),
        }
    }
}

/// Who may be able to read a password file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    OwnersAlone,
    AsMounted,
}

fn read_file(path: &Path, access: Access) -> Result<Zeroizing<Vec<u8>>, CredentialError> {
    let name = path.display().to_string();
    let failed = |error| CredentialError::File { path: name.clone(), error };
    let file = careful_file::open(path, Links::Followed).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode();
    // Readable by everyone, or writable by anyone but the owner.
    if access == Access::OwnersAlone && mode & 0o026 != 0 {
        return Err(CredentialError::Permissions { path: name });
    }
    read_bounded(file).map_err(failed)
}

fn read_command(words: &[String], limit: Duration) -> Result<Zeroizing<Vec<u8>>, CredentialError> {
    let failed = |reason: String| CredentialError::Command {
        program: text::program(words).to_owned(),
        reason,
    };
    // A process group of its own, so that a time-out reaches what the command has started.
    let mut child = Command::new(words.first().map_or("", String::as_str))
        .args(words.iter().skip(1))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| failed(format!("cannot be started: {error}")))?;
    let Some(output) = child.stdout.take() else { return Err(failed("has no output".into())) };
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let (sender, receiver) = mpsc::channel();
    // The thread ends with the command, which the time-out below ends.
    let waiter = std::thread::Builder::new().name("password-command".into()).spawn(move || {
        let bytes = read_bounded(output);
        if bytes.as_ref().is_ok_and(|bytes| bytes.len() > PASSWORD_LENGTH_MAX) {
            kill(group);
        }
        sender.send((bytes, child.wait()))
    });
    waiter.map_err(|error| failed(format!("cannot be read: {error}")))?;
    let Ok((bytes, status)) = receiver.recv_timeout(limit) else {
        kill(group);
        return Err(failed(format!("gave no answer within {} s", limit.as_secs_f32())));
    };
    let bytes = bytes.map_err(|error| failed(format!("cannot be read: {error}")))?;
    let status = status.map_err(|error| failed(format!("cannot be waited for: {error}")))?;
    if !status.success() && bytes.len() <= PASSWORD_LENGTH_MAX {
        return Err(failed(format!("failed: {status}")));
    }
    Ok(bytes)
}

fn kill(group: Option<Pid>) {
    if let Some(group) = group {
        // The group may have ended by itself in this moment: then there is nothing to do.
        kill_process_group(group, Signal::KILL).ok();
    }
}

/// One octet more than allowed tells that there is too much.
fn read_bounded(source: impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(PASSWORD_LENGTH_MAX + 1));
    source.take(PASSWORD_LENGTH_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The rest is left for remarks, such as which device the app password was made for.
fn first_line(output: &[u8]) -> Secret {
    let text = Zeroizing::new(String::from_utf8_lossy(output).into_owned());
    let line = text.split('\n').next().unwrap_or_default();
    Secret::new(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

/// A password that somebody has just given, as it is stored; or what is wrong with it.
pub(crate) fn typed_password(password: &Secret, host: &str) -> Result<Secret, String> {
    let password = normalized(password);
    match fault(&password, "this".to_owned(), host) {
        Some(words) => Err(words),
        None => Ok(password),
    }
}

/// The password in a file that nobody else can read.
pub(crate) fn password_in(path: &Path) -> Option<Secret> {
    let source = PasswordSource::File(path.to_owned());
    read(&source, Duration::ZERO).ok().map(|password| normalized(&password))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    fn decoded(lines: &PasswordLines) -> String {
        let encoded = lines.plain.trim_end().strip_prefix("AUTH PLAIN ").unwrap();
        String::from_utf8(BASE64.decode(encoded.as_bytes()).unwrap()).unwrap()
    }

    async fn from(password: PasswordSource) -> Result<String, String> {
        let login = Login { username: "me@gmail.com".into(), password };
        password_lines(&login, LIMIT)
            .await
            .map(|lines| decoded(&lines))
            .map_err(|error| error.to_string())
    }

    fn command(script: &str) -> PasswordSource {
        PasswordSource::Command(["sh", "-c", script].map(String::from).into())
    }

    #[tokio::test]
    async fn an_app_password_is_understood_as_google_shows_it() {
        for shown in ["abcdefghijklmnop", "abcd efgh ijkl mnop", " abcd\u{a0}efgh ijkl\tmnop\n"] {
            let sent = from(PasswordSource::Inline(Secret::new(shown.into()))).await;
            assert_eq!(sent.as_deref(), Ok("\0me@gmail.com\0abcdefghijklmnop"), "{shown:?}");
        }
    }

    #[tokio::test]
    async fn any_other_secret_is_left_untouched() {
        for secret in ["two words", " leading", "abcd efgh ijkl mn0p", "abcd efgh ijkl mno"] {
            let sent = from(PasswordSource::Inline(Secret::new(secret.into()))).await;
            assert_eq!(sent, Ok(format!("\0me@gmail.com\0{secret}")));
        }
    }

    #[tokio::test]
    async fn the_first_line_of_a_file_or_of_an_output_is_the_password() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        for text in [
            "secret word\nmade for the relay\n",
            "secret word\r\n\r\n",
            "secret word\r",
            "secret word",
        ] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let sent = from(PasswordSource::File(path.clone())).await;
            assert_eq!(sent.as_deref(), Ok("\0me@gmail.com\0secret word"), "{text:?}");
        }
        let sent = from(command("printf 'abcd efgh ijkl mnop\r\nmore\n'")).await;
        assert_eq!(sent.as_deref(), Ok("\0me@gmail.com\0abcdefghijklmnop"));
    }

    #[tokio::test]
    async fn what_an_editor_or_a_web_page_added_is_stripped_or_refused_in_words() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        let sent = async |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            from(PasswordSource::File(path.clone())).await
        };
        for stripped in [
            &b"\xef\xbb\xbfabcd efgh ijkl mnop\r\n"[..],
            "abcd\u{a0}efgh\u{a0}ijkl\u{a0}mnop\n".as_bytes(),
            b"\"abcd efgh ijkl mnop\"\n",
            b"'abcdefghijklmnop'",
        ] {
            let sent = sent(stripped).await;
            assert_eq!(sent.as_deref(), Ok("\0me@gmail.com\0abcdefghijklmnop"));
        }
        assert_eq!(sent(b"\xef\xbb\xbfsecret").await.as_deref(), Ok("\0me@gmail.com\0secret"));
        for refused in [
            "abcd\u{200b}efghijklmnop",
            "secret\u{a0}word",
            "p\u{e4}ssword",
            "secret\tword",
            "\u{201c}abcdefghijklmnop\u{201d}",
        ] {
            let error = sent(refused.as_bytes()).await.unwrap_err();
            assert!(error.contains("a character") && !error.contains("secret"), "{error}");
        }
        let utf_16: Vec<u8> = "\u{feff}abcd".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(sent(&utf_16).await.unwrap_err().contains("UTF-16"));
        assert!(sent(b"p\xe4ss").await.unwrap_err().contains("a character"));
    }

    #[tokio::test]
    async fn an_empty_password_is_blamed_on_its_source() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        fs::write(&path, " \nsecond line\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        for (source, named) in [
            (PasswordSource::File(path.clone()), path.to_str().unwrap()),
            (command("echo"), "command sh"),
            (PasswordSource::Inline(Secret::new(String::new())), "upstream.password"),
        ] {
            let login = Login { username: "me@gmail.com".into(), password: source };
            let error = password_lines(&login, LIMIT).await.unwrap_err();
            assert!(
                error.to_string().contains(named) && error.to_string().contains("empty"),
                "{error}"
            );
            assert!(error.remedy().contains(named), "{}", error.remedy());
        }
    }

    #[tokio::test]
    async fn a_password_file_must_be_private_and_loses_its_newline() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        fs::write(&path, "secret word\n").unwrap();
        for (mode, accepted) in
            [(0o600, true), (0o400, true), (0o640, true), (0o644, false), (0o660, false)]
        {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let sent = from(PasswordSource::File(path.clone())).await;
            match accepted {
                true => assert_eq!(sent.as_deref(), Ok("\0me@gmail.com\0secret word"), "{mode:o}"),
                false => assert!(sent.unwrap_err().contains("chmod 600"), "{mode:o}"),
            }
        }
    }

    #[tokio::test]
    async fn a_mounted_secret_may_be_readable_by_everybody_as_containers_mount_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gmail_password");
        fs::write(&path, "abcd efgh ijkl mnop\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
        let sent = from(PasswordSource::Mounted(path.clone())).await;
        assert_eq!(sent.as_deref(), Ok("\0me@gmail.com\0abcdefghijklmnop"));
        fs::remove_file(&path).unwrap();
        assert!(from(PasswordSource::Mounted(path)).await.unwrap_err().contains("gmail_password"));
    }

    #[tokio::test]
    async fn a_command_gives_its_output_and_its_failures_are_named() {
        assert_eq!(from(command("echo word")).await.as_deref(), Ok("\0me@gmail.com\0word"));
        assert!(from(command("exit 3")).await.unwrap_err().contains("exit status: 3"));
        assert!(from(command("true")).await.unwrap_err().contains("empty"));
        assert!(from(command("yes")).await.unwrap_err().contains("longer"));
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_ended_with_all_it_started() {
        let login =
            Login { username: "me@gmail.com".into(), password: command("sleep 600 & wait") };
        let error = password_lines(&login, Duration::from_millis(100)).await.unwrap_err();
        assert!(error.to_string().contains("no answer within"), "{error}");
    }

    #[test]
    fn the_lines_print_as_stars() {
        let line = || Zeroizing::new("c2VjcmV0\r\n".to_owned());
        let lines = PasswordLines { plain: line(), login: [line(), line()] };
        assert_eq!(format!("{lines:?}"), "AUTH ***");
    }

    #[tokio::test]
    async fn both_mechanisms_carry_the_same_name_and_password() {
        let login = Login {
            username: "me@gmail.com".into(),
            password: PasswordSource::Inline(Secret::new("a b".into())),
        };
        let lines = password_lines(&login, LIMIT).await.unwrap();
        assert_eq!(decoded(&lines), "\0me@gmail.com\0a b");
        let responses = lines.login.each_ref().map(|line| {
            let encoded = line.strip_suffix("\r\n").unwrap();
            String::from_utf8(BASE64.decode(encoded.as_bytes()).unwrap()).unwrap()
        });
        assert_eq!(responses, ["me@gmail.com", "a b"]);
    }
}
