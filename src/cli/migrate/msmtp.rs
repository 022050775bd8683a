//! msmtp: `name value` lines, in accounts that may follow others (msmtp(1), "Configuration files").
//!
//! Rule: only the account that is asked for is carried over; the others are named. Pure. Must not know where
//! the file lies.

use super::output::{ConfigOutput, Password, Protection, host_name, is_name, is_on, lines};

/// What has no counterpart, and why.
const LEFT: &[(&str, &str)] = &[
    ("logfile", "the log goes to standard error, and so to the journal"),
    ("logfile_time_format", "the log has its own format (log.format)"),
    ("syslog", "the log goes to standard error, and so to the journal"),
    ("timeout", "every wait on the upstream has its limit already"),
    ("from", "mail is sent as the account; identity.from and identity.send_as say otherwise"),
    ("from_full_name", "the name in From stays what the program wrote"),
    ("allow_from_override", "mail is sent as the account; identity.from says otherwise"),
    ("set_from_header", "From is rewritten together with the envelope"),
    ("set_date_header", "a missing Date is always added"),
    ("set_msgid_header", "a missing Message-ID is always added"),
    ("add_missing_from_header", "a missing From is always added"),
    ("add_missing_date_header", "a missing Date is always added"),
    ("remove_bcc_headers", "Bcc is always removed"),
    ("undisclosed_recipients", "To stays what the program wrote"),
    ("auto_from", "mail is sent as the account"),
    ("maildomain", "identity.domain is what a sender without a domain gets"),
    (
        "dsn_notify",
        "programs ask for notifications themselves (NOTIFY), and failures are always reported",
    ),
    ("dsn_return", "programs ask for it themselves (RET)"),
    ("tls_certcheck", "the certificate is always checked; upstream.ca_file adds a trust root"),
    (
        "tls_fingerprint",
        "the certificate is checked against the trust roots; upstream.ca_file adds one",
    ),
    ("tls_crl_file", "there are no revocation lists"),
    ("tls_key_file", "there are no client certificates"),
    ("tls_cert_file", "there are no client certificates"),
    ("tls_min_dh_prime_bits", "TLS 1.2 and 1.3 with safe parameters only"),
    ("tls_priorities", "TLS 1.2 and 1.3 with safe parameters only"),
    ("tls_host_override", "the certificate must be for upstream.host"),
    ("proxy_host", "there is no SOCKS proxy"),
    ("proxy_port", "there is no SOCKS proxy"),
    ("socket", "the upstream is reached by its name"),
    ("source_ip", "the system chooses the address; upstream.ip_family narrows it"),
    ("protocol", "SMTP is the only protocol"),
    ("ntlmdomain", "there is no NTLM"),
    ("eval", "write the value itself, or an environment variable PILLARBOX__SECTION__KEY"),
    ("host", "set twice, or without an account"),
];

struct Setting<'a> {
    line: usize,
    name: &'a str,
    value: &'a str,
}

struct Account<'a> {
    name: &'a str,
    line: usize,
    settings: Vec<(usize, &'a str, &'a str)>,
}

/// Reads a msmtprc.
pub(super) fn read(text: &str, wanted: Option<&str>) -> Result<ConfigOutput, String> {
    let accounts = accounts(text)?;
    let wanted = wanted.unwrap_or("default");
    let chosen = accounts.iter().rev().find(|account| account.name == wanted);
    let chosen = match (chosen, accounts.as_slice()) {
        (Some(account), _) => account,
        (None, [only]) => only,
        (None, _) => {
            let names: Vec<&str> = accounts.iter().map(|account| account.name).collect();
            return Err(format!(
                "there is no account {wanted:?}; name one with --account: {}",
                names.join(", ")
            ));
        }
    };
    let mut draft = ConfigOutput::default();
    let (mut tls, mut starttls, mut is_login) = (false, true, true);
    for (line, name, value) in &chosen.settings {
        let setting = Setting { line: *line, name, value };
        match *name {
            "host" => draft.host = Some((*value).into()),
            "port" => draft.port = value.parse().ok(),
            "tls" => tls = is_on(value),
            "tls_starttls" => starttls = is_on(value),
            "auth" => is_login = *value != "off",
            "user" => draft.username = Some((*value).into()),
            "aliases" => draft.aliases_file = Some((*value).into()),
            "domain" => draft.ehlo_name = host_name(value),
            "tls_trust_file" => draft.ca_file = trust_file(value),
            "maildomain" => draft.domain = host_name(value),
            "password" => draft.password = Password::At(format!("line {line}")),
            "passwordeval" => draft.password = command(&setting),
            _ if value.is_empty() => draft.leave_line(*line),
            _ => draft.leave(LEFT, setting.name, setting.line),
        }
    }
    draft.protection = match (tls, starttls) {
        (false, _) => Protection::None,
        (true, true) => Protection::Starttls,
        (true, false) => Protection::Implicit,
    };
    if draft.port.is_none() && draft.protection != Protection::Implicit {
        draft.port = Some(25);
    }
    if !is_login {
        (draft.username, draft.password) = (None, Password::None);
    }
    if draft.username.is_some() && draft.password == Password::None {
        draft.password = Password::At("the system's keyring, or was asked for".into());
    }
    // A base of the chosen account is no other one.
    let is_base =
        |account: &Account<'_>| account.settings.iter().all(|set| chosen.settings.contains(set));
    for other in accounts.iter().filter(|account| account.name != chosen.name && !is_base(account))
    {
        let name = if is_name(other.name) { other.name } else { "of another name" };
        let why = "one daemon relays through one account";
        draft.tell(&format!("account {name} (line {}): {why}", other.line));
    }
    match draft.host {
        Some(_) => Ok(draft),
        None => Err(format!("the account {:?} has no host", chosen.name)),
    }
}

/// Accounts with everything they inherit.
fn accounts(text: &str) -> Result<Vec<Account<'_>>, String> {
    let (mut defaults, mut accounts): (Vec<_>, Vec<Account<'_>>) = (Vec::new(), Vec::new());
    let mut in_defaults = false;
    let mut open = false;
    for (line, content) in lines(text) {
        let (name, value) =
            content.split_once(|letter: char| letter.is_whitespace()).unwrap_or((content, ""));
        let value = value.trim().trim_matches('"');
        // The password in the line behind its name: msmtp would not take it, but it is one.
        let (name, value) =
            if std::mem::take(&mut open) && !is_setting(name) { ("", "") } else { (name, value) };
        open = value.is_empty() && name.to_lowercase().starts_with("pass");
        match name {
            "defaults" => (in_defaults, defaults) = (true, Vec::new()),
            "account" => {
                let (name, bases) = value.split_once(':').unwrap_or((value, ""));
                let mut settings: Vec<(usize, &str, &str)> = defaults.clone();
                for base in bases.split(',').map(str::trim).filter(|base| !base.is_empty()) {
                    let found = accounts.iter().find(|account| account.name == base);
                    let found = found
                        .ok_or_else(|| format!("line {line}: there is no account {base:?}"))?;
                    found.settings.iter().for_each(|setting| set(&mut settings, *setting));
                }
                accounts.push(Account { name: name.trim(), line, settings });
                in_defaults = false;
            }
            _ => match accounts.last_mut() {
                Some(account) if !in_defaults => set(&mut account.settings, (line, name, value)),
                _ if in_defaults => set(&mut defaults, (line, name, value)),
                // What stands before any account belongs to the default one.
                _ => accounts.push(Account {
                    name: "default",
                    line,
                    settings: vec![(line, name, value)],
                }),
            },
        }
    }
    if accounts.is_empty() { Err("there is no account in it".into()) } else { Ok(accounts) }
}

fn is_setting(name: &str) -> bool {
    const CARRIED: [&str; 12] = [
        "defaults",
        "account",
        "host",
        "port",
        "tls",
        "tls_starttls",
        "auth",
        "user",
        "aliases",
        "domain",
        "tls_trust_file",
        "passwordeval",
    ];
    CARRIED.contains(&name) || LEFT.iter().any(|(known, _)| *known == name)
}

fn set<'a>(settings: &mut Vec<(usize, &'a str, &'a str)>, setting: (usize, &'a str, &'a str)) {
    settings.retain(|(_, name, _)| *name != setting.1);
    settings.push(setting);
}

/// Programs that keep passwords, and print one when they are asked. Their arguments say which.
const KEEPERS: [&str; 21] = [
    "gpg",
    "gpg2",
    "pass",
    "gopass",
    "passage",
    "secret-tool",
    "security",
    "keyring",
    "keyctl",
    "op",
    "bw",
    "rbw",
    "lpass",
    "kwallet-query",
    "age",
    "rage",
    "sops",
    "vault",
    "systemd-creds",
    "cat",
    "head",
];

/// A command that only repeats a password is one, and so may be an argument. So only the programs that are known to
/// keep passwords are carried over with theirs.
fn command(setting: &Setting<'_>) -> Password {
    let value = setting.value;
    let mut words = value.split_whitespace();
    let program = words.next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    let is_telling = |word: &str| {
        let word = word.trim_start_matches('-').to_lowercase();
        ["pass", "secret", "echo", "printf"].iter().any(|start| word.starts_with(start))
            && word.contains(['=', '-'])
            || ["passphrase", "password", "echo", "printf"].contains(&&*word)
    };
    let is_plain = !value.contains(['|', ';', '&', '<', '$', '`', '\n']);
    if KEEPERS.contains(&program) && is_plain && !words.any(is_telling) {
        Password::Command(value.to_owned())
    } else {
        Password::At(format!("line {}, in a command", setting.line))
    }
}

/// The system's own trust roots are used anyway.
fn trust_file(value: &str) -> Option<String> {
    let usual =
        ["system", "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", ""];
    (!usual.contains(&value)).then(|| value.to_owned())
}
