//! nullmailer: a file for each setting; `remotes` has a line for each upstream, quoted as for a shell
//! (nullmailer-send(8)).
//!
//! Rule: the first remote is carried over, the others are named. Pure. Must not know where the files lie.

use super::output::{ConfigOutput, Password, Protection, host_name, lines};

const LEFT: &[(&str, &str)] = &[
    ("auth-login", "the strongest method that the upstream offers is used"),
    ("source", "the system chooses the address; upstream.ip_family narrows it"),
    ("x509certfile", "there are no client certificates"),
    ("x509keyfile", "there are no client certificates"),
    ("x509crlfile", "there are no revocation lists"),
    ("x509fmtder", "certificates are in PEM form"),
    ("insecure", "the certificate is always checked; upstream.ca_file adds a trust root"),
    ("tls-anon-auth", "the certificate is always checked"),
];

/// Other files of /etc/nullmailer that have no counterpart.
const FILES_LEFT: &[(&str, &str)] = &[
    ("allmailfrom", "mail is sent as the account"),
    ("bounceto", "failures are reported to identity.admin ([notices] to)"),
    ("idhost", "Message-IDs are made with listener.hostname"),
    ("maxpause", "the times of retries are fixed (docs/dead-letters.md)"),
    ("pausetime", "the times of retries are fixed (docs/dead-letters.md)"),
    ("sendtimeout", "every wait on the upstream has its limit already"),
    ("doublebounceto", "failures are reported to identity.admin ([notices] to)"),
];

/// Reads `remotes` and the files beside it.
pub(super) fn read(
    text: &str,
    other: &dyn Fn(&str) -> Option<String>,
) -> Result<ConfigOutput, String> {
    let mut draft = ConfigOutput::default();
    let mut remotes = lines(text);
    let (line, first) = remotes.next().ok_or("it names no server")?;
    remote(&mut draft, line, first)?;
    for (line, content) in remotes {
        let host = content.split_whitespace().next().and_then(host_name);
        draft.tell(&format!(
            "{} (line {line}): there is one upstream; mail waits while it cannot be reached",
            host.as_deref().unwrap_or("another server")
        ));
    }
    let value =
        |name: &str| other(name).and_then(|text| Some(text.lines().next()?.trim().to_owned()));
    draft.admin =
        value("adminaddr").filter(|address| address.contains('@') && !address.contains(','));
    draft.domain = value("defaultdomain").as_deref().and_then(host_name);
    draft.ehlo_name = value("helohost").or_else(|| value("me")).as_deref().and_then(host_name);
    let lifetime = value("queuelifetime").and_then(|seconds| seconds.parse::<u64>().ok());
    draft.lifetime = lifetime.map(|seconds| format!("{seconds}s"));
    for (name, why) in FILES_LEFT {
        if value(name).is_some_and(|value| !value.is_empty()) {
            draft.tell(&format!("the file {name}: {why}"));
        }
    }
    Ok(draft)
}

fn remote(draft: &mut ConfigOutput, line: usize, content: &str) -> Result<(), String> {
    let words = words(content).ok_or_else(|| format!("line {line}: a quote does not end"))?;
    let (host, rest) = words.split_first().ok_or("it names no server")?;
    draft.host = Some(host.clone());
    draft.port = Some(25);
    for (place, word) in rest.iter().enumerate() {
        let option = word.trim_start_matches('-');
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match name {
            "smtp" if place == 0 => {}
            "qmqp" if place == 0 => {
                return Err(format!("line {line}: there is no QMQP here, only SMTP"));
            }
            "port" => draft.port = value.parse().ok(),
            "user" => draft.username = Some(value.to_owned()),
            "pass" => draft.password = Password::At(format!("line {line}")),
            "tls" | "ssl" => {
                draft.protection = Protection::Implicit;
                draft.port = draft.port.map(|port| if port == 25 { 465 } else { port });
            }
            "starttls" => draft.protection = Protection::Starttls,
            "x509cafile" => draft.ca_file = Some(value.to_owned()),
            _ if LEFT.iter().any(|(known, _)| *known == name) => {
                draft.leave(LEFT, name, line);
            }
            // It may be the rest of a password that was not quoted.
            _ => draft.tell(&format!(
                "a word that is not an option (line {line}): not known to migrate; is a quote missing?"
            )),
        }
    }
    Ok(())
}

/// The words of a line, as a shell would part them.
fn words(line: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote, mut letters) =
        (Vec::new(), None::<String>, None, line.chars());
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(open), letter) if letter == open => quote = None,
            (Some('"') | None, '\\') => word.get_or_insert_default().push(letters.next()?),
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, letter) if letter.is_whitespace() => words.extend(word.take()),
            (_, letter) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}
