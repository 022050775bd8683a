//! dma: `NAME value` lines, and `user|smarthost:password` in a file of its own (dma(8)).
//!
//! Rule: every line is carried over or named. Pure. Must not know where the files lie.

use super::output::{ConfigOutput, Password, Protection, host_name, is_path, lines};

const LEFT: &[(&str, &str)] = &[
    ("SPOOLDIR", "queue.directory is where mail waits"),
    (
        "FINGERPRINT",
        "the certificate is checked against the trust roots; upstream.ca_file adds one",
    ),
    ("OPPORTUNISTIC_TLS", "the connection is protected, or there is none"),
    ("CERTFILE", "there are no client certificates"),
    ("SECURE", "a password is never sent without TLS"),
    ("INSECURE", "a password is never sent without TLS"),
    ("DEFER", "pillarbox queue shows what waits; the daemon sends it when it can"),
    (
        "FULLBOUNCE",
        "a notice has the header section, or the whole message when the sender asks (RET=FULL)",
    ),
    ("NULLCLIENT", "mail for names without a domain goes to identity.admin, or by the aliases"),
    ("MASQUERADE", "mail is sent as the account; identity.from and identity.domain say otherwise"),
];

/// Reads a dma.conf and the file of logins that it names.
pub(super) fn read(
    text: &str,
    other: &dyn Fn(&str) -> Option<String>,
) -> Result<ConfigOutput, String> {
    let mut draft = ConfigOutput::default();
    draft.port = Some(25);
    let (mut secure, mut starttls, mut logins) = (false, false, None);
    for (line, content) in lines(text) {
        let (name, value) =
            content.split_once(|letter: char| letter.is_whitespace()).unwrap_or((content, ""));
        let value = value.trim();
        match name {
            "SMARTHOST" if !value.is_empty() => draft.host = Some(value.into()),
            "PORT" => draft.port = value.parse().ok(),
            "ALIASES" => draft.aliases_file = Some(value.into()),
            "AUTHPATH" => logins = Some(value),
            // The manual has the one name, the sample file the other.
            "SECURETRANSFER" | "SECURETRANS" => secure = true,
            "STARTTLS" => starttls = true,
            "MAILNAME" if value.starts_with('/') => {
                let name = other(value).and_then(|text| text.lines().next().map(str::to_owned));
                draft.ehlo_name = name.as_deref().and_then(host_name);
            }
            "MAILNAME" => draft.ehlo_name = host_name(value),
            _ => draft.leave(LEFT, name, line),
        }
    }
    draft.protection = match (secure, starttls) {
        (true, true) => Protection::Starttls,
        (true, false) => Protection::Implicit,
        (false, _) => Protection::None,
    };
    let host = draft.host.clone().ok_or(
        "it has no SMARTHOST: dma delivered to each domain's own servers, Pillarbox relays through one account",
    )?;
    if let Some(file) = logins {
        let text = other(file);
        let login = text.as_deref().and_then(|text| login(text, &host));
        match login {
            Some((line, user)) => {
                draft.username = Some(user);
                draft.password = Password::At(format!("line {line} of {file}"));
            }
            None if is_path(file) => draft.tell(&format!(
                "AUTHPATH {file}: it has no login for the SMARTHOST, or cannot be read"
            )),
            None => draft.tell("AUTHPATH: what stands there is not the name of a file"),
        }
    }
    Ok(draft)
}

/// The line and the user of the login for `host`.
fn login(text: &str, host: &str) -> Option<(usize, String)> {
    lines(text).find_map(|(line, content)| {
        let (user, rest) = content.split_once('|')?;
        let (smarthost, _password) = rest.split_once(':')?;
        smarthost.eq_ignore_ascii_case(host).then(|| (line, user.to_owned()))
    })
}
