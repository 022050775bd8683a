//! ssmtp: `Name=value` lines, names in any case (ssmtp.conf(5)).
//!
//! Rule: every line is carried over or named. Pure. Must not know where the file lies.

use super::output::{ConfigOutput, Password, Protection, host_name, is_on, lines};

const LEFT: &[(&str, &str)] = &[
    ("FromLineOverride", "mail is sent as the account; identity.from says otherwise"),
    ("TLSCert", "there are no client certificates"),
    ("TLSKey", "there are no client certificates"),
    ("UseTLSCert", "there are no client certificates"),
    ("TLS_CA_Dir", "the system's trust roots are used; upstream.ca_file adds one"),
    ("AuthMethod", "the strongest method that the upstream offers is used, over TLS only"),
    ("Debug", "log.level = \"debug\" says more"),
    ("MinUserId", "mail for every name without a domain goes to identity.admin, or by the aliases"),
];

/// Reads a ssmtp.conf.
pub(super) fn read(text: &str) -> Result<ConfigOutput, String> {
    let mut draft = ConfigOutput::default();
    let (mut tls, mut starttls) = (false, false);
    for (line, content) in lines(text) {
        let Some((name, value)) = content.split_once('=') else {
            draft.leave(LEFT, content, line);
            continue;
        };
        let (name, value) = (name.trim(), value.trim());
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if value.is_empty() {
            continue;
        }
        if is("mailhub") {
            let parted = value.rsplit_once(':');
            let numbered = parted.and_then(|(host, port)| Some((host, port.trim().parse().ok()?)));
            let (host, port) = numbered.unwrap_or((value, 25));
            (draft.host, draft.port) = (Some(host.trim().into()), Some(port));
        } else if is("root") {
            match value.contains('@') {
                true => draft.admin = Some(value.into()),
                false => draft.leave(
                    &[("root", "it is not an address; identity.admin gets mail for local names")],
                    "root",
                    line,
                ),
            }
        } else if is("rewriteDomain") {
            draft.domain = host_name(value);
        } else if is("hostname") {
            // ssmtp takes an address for a name.
            draft.ehlo_name = host_name(value);
        } else if is("UseTLS") {
            tls = is_on(value);
        } else if is("UseSTARTTLS") {
            starttls = is_on(value);
        } else if is("AuthUser") {
            draft.username = Some(value.into());
        } else if is("AuthPass") {
            draft.password = Password::At(format!("line {line}"));
        } else if is("TLS_CA_File") {
            draft.ca_file = (value != "/etc/ssl/certs/ca-certificates.crt").then(|| value.into());
        } else {
            draft.leave(LEFT, name, line);
        }
    }
    draft.protection = match (tls, starttls) {
        (_, true) => Protection::Starttls,
        (true, false) => Protection::Implicit,
        (false, false) => Protection::None,
    };
    draft.tell(
        "/etc/ssmtp/revaliases: mail is sent as the account; identity.send_as has other senders",
    );
    if draft.host.is_some() { Ok(draft) } else { Err("it has no mailhub".into()) }
}
