//! A Postfix null client: `name = value` lines that may go on, and a table with the login (postconf(5),
//! SASL_README).
//!
//! Rule: what a null client has is carried over; what makes a Postfix more than that is named. Pure. Must not
//! know where the files lie.

use std::collections::BTreeMap;

use super::output::{ConfigOutput, Password, Protection, host_name, is_on, is_path, lines};

/// What has no counterpart, and why.
const LEFT: &[(&str, &str)] = &[
    (
        "mynetworks",
        "other hosts are named in [[listener.network]] sections, and need listener.addresses",
    ),
    (
        "inet_interfaces",
        "listener.addresses says where mail is taken; the default is this host only",
    ),
    ("inet_protocols", "upstream.ip_family narrows the upstream, listener.addresses the listener"),
    (
        "mydestination",
        "no mail is delivered on this host; mail for local names goes to identity.admin",
    ),
    (
        "smtp_generic_maps",
        "mail is sent as the account; identity.from and identity.send_as say otherwise",
    ),
    (
        "sender_canonical_maps",
        "mail is sent as the account; identity.from and identity.send_as say otherwise",
    ),
    (
        "canonical_maps",
        "mail is sent as the account; identity.from and identity.send_as say otherwise",
    ),
    ("masquerade_domains", "identity.domain is what a sender without a domain gets"),
    (
        "virtual_alias_maps",
        "aliases of local names have a counterpart, those of other addresses have none",
    ),
    ("transport_maps", "everything goes through the one upstream"),
    ("sender_dependent_relayhost_maps", "everything goes through the one upstream"),
    ("header_checks", "docs/identity.md lists every edit of a header section"),
    ("smtp_header_checks", "docs/identity.md lists every edit of a header section"),
    ("mailbox_size_limit", "no mail is delivered on this host"),
    ("mailbox_command", "no mail is delivered on this host"),
    ("home_mailbox", "no mail is delivered on this host"),
    ("recipient_delimiter", "no mail is delivered on this host"),
    ("smtp_sasl_security_options", "a password is never sent without TLS"),
    ("smtp_sasl_tls_security_options", "a password is never sent without TLS"),
    ("smtp_sasl_mechanism_filter", "the strongest method that the upstream offers is used"),
    ("smtp_tls_CApath", "the system's trust roots are used; upstream.ca_file adds one"),
    ("smtpd_tls_cert_file", "listener.tls_certificate, when clients shall use TLS"),
    ("smtpd_tls_key_file", "listener.tls_key, when clients shall use TLS"),
    ("smtpd_relay_restrictions", "only the named networks may relay, and whoever logs in"),
    ("smtpd_recipient_restrictions", "only the named networks may relay, and whoever logs in"),
    ("bounce_queue_lifetime", "notices are ordinary mail, and live as long"),
    ("delay_warning_time", "[alert] oldest_message reports mail that waits"),
    ("smtp_host_lookup", "the upstream is looked up as everything else on this host"),
    ("default_destination_concurrency_limit", "upstream.connections"),
    ("smtp_destination_concurrency_limit", "upstream.connections"),
    ("default_destination_rate_delay", "budget.pace_per_minute"),
    ("smtp_destination_rate_delay", "budget.pace_per_minute"),
];

/// Settings that say how Postfix itself is built or greets, and concern nobody else.
const OF_NO_CONCERN: &[&str] = &[
    "compatibility_level",
    "command_directory",
    "daemon_directory",
    "data_directory",
    "queue_directory",
    "mail_owner",
    "setgid_group",
    "sendmail_path",
    "newaliases_path",
    "mailq_path",
    "html_directory",
    "manpage_directory",
    "sample_directory",
    "readme_directory",
    "debug_peer_level",
    "debugger_command",
    "smtpd_banner",
    "biff",
    "append_dot_mydomain",
    "unknown_local_recipient_reject_code",
    "myorigin",
    "smtp_tls_session_cache_database",
    "smtpd_tls_session_cache_database",
    "smtpd_tls_security_level",
    "smtp_tls_note_starttls_offer",
    "alias_database",
    "smtp_tls_loglevel",
    "mydomain",
];

type Settings<'a> = BTreeMap<&'a str, (usize, String)>;

/// Reads a main.cf and the table of logins that it names.
pub(super) fn read(
    text: &str,
    other: &dyn Fn(&str) -> Option<String>,
) -> Result<ConfigOutput, String> {
    let mut settings = settings(text);
    let mut draft = ConfigOutput::default();
    let mut take = |name: &str| {
        settings.remove(name).map(|(_, value)| value).filter(|value| !value.is_empty())
    };
    let relayhost = take("relayhost").ok_or(
        "it has no relayhost: that Postfix delivers to each domain's own servers, Pillarbox relays through one account",
    )?;
    let (host, port) = host_and_port(&relayhost);
    (draft.host, draft.port) = (Some(host.to_owned()), Some(port));
    let is_implicit = take("smtp_tls_wrappermode").is_some_and(|value| is_on(&value));
    let level = take("smtp_tls_security_level");
    let has_tls = take("smtp_use_tls").is_some_and(|value| is_on(&value));
    draft.protection = match (is_implicit, level.as_deref()) {
        (true, _) => Protection::Implicit,
        (false, None | Some("none")) if !has_tls => Protection::None,
        (false, _) => Protection::Starttls,
    };
    draft.ca_file =
        take("smtp_tls_CAfile").filter(|file| file != "/etc/ssl/certs/ca-certificates.crt");
    draft.ehlo_name =
        take("smtp_helo_name").or_else(|| take("myhostname")).as_deref().and_then(host_name);
    draft.aliases_file = take("alias_maps").as_deref().and_then(file).map(str::to_owned);
    draft.lifetime = take("maximal_queue_lifetime").map(|time| with_unit(&time));
    draft.max_message_bytes = take("message_size_limit").and_then(|octets| octets.parse().ok());
    draft.max_message_bytes =
        draft.max_message_bytes.filter(|octets| (65_536..35_882_577).contains(octets));
    let is_login = take("smtp_sasl_auth_enable").is_some_and(|value| is_on(&value));
    let table = settings.remove("smtp_sasl_password_maps").filter(|_| is_login);
    if let Some((line, table)) = table {
        let table = beside_main_cf(&table);
        match login(&table, &[&relayhost, host], other) {
            Some(login) => {
                draft.username = Some(login.user);
                draft.password =
                    Password::At(login.place.unwrap_or_else(|| format!("line {line}")));
            }
            None => draft.tell(&format!(
                "smtp_sasl_password_maps (line {line}): no table of it that migrate can read has a login for the \
                 relayhost"
            )),
        }
    }
    for (name, (line, _)) in settings.into_iter().filter(|(name, _)| !OF_NO_CONCERN.contains(name))
    {
        draft.leave(LEFT, name, line);
    }
    Ok(draft)
}

/// The last value of each name, continuation lines joined.
fn settings(text: &str) -> Settings<'_> {
    let (mut found, mut last) = (Settings::new(), None);
    for (line, content) in text.lines().enumerate() {
        let starts_with_a_blank = content.starts_with([' ', '\t']);
        let trimmed = content.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        if let (true, Some(name)) = (starts_with_a_blank, last) {
            if let Some((_, value)) = found.get_mut(name) {
                *value = format!("{value} {trimmed}").trim().to_owned();
            }
        } else if let Some((name, value)) = trimmed.split_once('=') {
            last = Some(name.trim());
            found.insert(name.trim(), (line + 1, value.trim().to_owned()));
        }
    }
    found
}

/// `[smtp.gmail.com]:587`, `smtp.gmail.com`.
fn host_and_port(relayhost: &str) -> (&str, u16) {
    let (host, port) = match relayhost.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (relayhost, "25"),
    };
    let port = match port {
        "submission" => 587,
        "submissions" | "smtps" => 465,
        number => number.parse().unwrap_or(25),
    };
    (host.trim_matches(['[', ']']), port)
}

/// Tables whose files lie beside main.cf, where relative paths are looked for.
fn beside_main_cf(tables: &str) -> String {
    let with_brace = tables.replace("${config_directory}/", "").replace("$(config_directory)/", "");
    with_brace.replace("$config_directory/", "")
}

/// Days when there is no unit, as in Postfix.
fn with_unit(time: &str) -> String {
    if time.bytes().all(|octet| octet.is_ascii_digit()) {
        format!("{time}d")
    } else {
        time.to_owned()
    }
}

/// Tables whose argument is a file with the text of the table beside its index.
const FILES: [&str; 7] = ["hash", "btree", "lmdb", "cdb", "dbm", "texthash", "sdbm"];
/// Words in front of a table, which then means the same.
const WRAPPERS: [&str; 2] = ["proxy", "debug"];
/// Tables within tables; nobody nests them deeper.
const DEPTH_MAX: usize = 4;

/// A login that was found. Not its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: String,
    /// "line 2 of /etc/postfix/sasl_passwd"; `None` when it stands in main.cf itself.
    pub(super) place: Option<String>,
}

/// The login for one of `keys` in the first table that has one.
pub(super) fn login(
    maps: &str,
    keys: &[&str],
    other: &dyn Fn(&str) -> Option<String>,
) -> Option<Login> {
    in_maps(maps, keys, other, DEPTH_MAX)
}

fn in_maps(
    maps: &str,
    keys: &[&str],
    other: &dyn Fn(&str) -> Option<String>,
    depth: usize,
) -> Option<Login> {
    split(maps).into_iter().find_map(|map| in_map(map, keys, other, depth.checked_sub(1)?))
}

fn in_map(
    map: &str,
    keys: &[&str],
    other: &dyn Fn(&str) -> Option<String>,
    depth: usize,
) -> Option<Login> {
    let (kind, argument) = map.split_once(':').unwrap_or(("hash", map));
    let written_here = |user: &str| Login { user: user.to_owned(), place: None };
    match kind {
        "static" => user(inside(argument)).map(written_here),
        "inline" => {
            let entries = split(inside(argument));
            let entries = entries.iter().filter_map(|entry| inside(entry).split_once('='));
            let entries: Vec<_> =
                entries.map(|(key, value)| (key.trim(), inside(value.trim()))).collect();
            let found = keys.iter().find_map(|wanted| {
                entries.iter().find(|(key, _)| key.eq_ignore_ascii_case(wanted))
            });
            found.and_then(|(_, value)| user(value)).map(written_here)
        }
        "unionmap" | "pipemap" => in_maps(inside(argument), keys, other, depth),
        kind if WRAPPERS.contains(&kind) => in_map(argument, keys, other, depth.checked_sub(1)?),
        kind if FILES.contains(&kind) && is_path(argument) => in_file(argument, keys, other),
        _ => None,
    }
}

/// A line of the table: `[smtp.gmail.com]:587 user:password`.
fn in_file(file: &str, keys: &[&str], other: &dyn Fn(&str) -> Option<String>) -> Option<Login> {
    let text = other(file)?;
    keys.iter().find_map(|wanted| {
        lines(&text).find_map(|(line, content)| {
            let (key, value) = content.split_once(|letter: char| letter.is_whitespace())?;
            let user = user(value.trim()).filter(|_| key.eq_ignore_ascii_case(wanted))?;
            Some(Login { user: user.to_owned(), place: Some(format!("line {line} of {file}")) })
        })
    })
}

/// The file of the first table that is one.
pub(super) fn file(maps: &str) -> Option<&str> {
    split(maps).into_iter().find_map(|map| {
        let (kind, argument) = map.split_once(':').unwrap_or(("hash", map));
        let (kind, argument) = match argument.split_once(':') {
            Some((inner, argument)) if WRAPPERS.contains(&kind) => (inner, argument),
            _ => (kind, argument),
        };
        (FILES.contains(&kind) && is_path(argument)).then_some(argument)
    })
}

/// The user of `user:password`.
fn user(login: &str) -> Option<&str> {
    login.split_once(':').map(|(user, _)| user.trim()).filter(|user| !user.is_empty())
}

/// Without the braces around it.
fn inside(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).map_or(text, str::trim)
}

/// The parts of a list: separated by blanks or commas, but not within braces.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0_u32);
    for (position, letter) in text.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            letter if depth == 0 && (letter == ',' || letter.is_whitespace()) => {
                parts.push(&text[start..position]);
                start = position + letter.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts.retain(|part| !part.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_that_can_hold_a_login_is_read() {
        let other = |file: &str| {
            (file == "/etc/postfix/sasl_passwd")
                .then(|| "# x\n[smtp.gmail.com]:587 me@gmail.com:secret\n".to_owned())
        };
        let keys = ["[smtp.gmail.com]:587", "smtp.gmail.com"];
        for maps in [
            "static:me@gmail.com:secret",
            "static:{me@gmail.com:se cret}",
            "inline:{smtp.gmail.com=me@gmail.com:secret}",
            "inline:{ other=a:b, {[smtp.gmail.com]:587 = me@gmail.com:se cret} }",
            "inline:{ { smtp.gmail.com = {me@gmail.com:secret} } }",
            "hash:/etc/postfix/sasl_passwd",
            "/etc/postfix/sasl_passwd",
            "proxy:lmdb:/etc/postfix/sasl_passwd",
            "hash:/etc/none, texthash:/etc/postfix/sasl_passwd",
            "unionmap:{ hash:/etc/none, static:me@gmail.com:secret }",
        ] {
            let found = login(maps, &keys, &other);
            assert_eq!(
                found.as_ref().map(|login| login.user.as_str()),
                Some("me@gmail.com"),
                "{maps}"
            );
            assert!(!format!("{found:?}").contains("cret"), "{maps}");
        }
        for maps in ["", "static:secret", "regexp:/etc/x", "inline:{a=b:secret}", "hash:secret:x"] {
            assert_eq!(login(maps, &keys, &other), None, "{maps}");
        }
    }
}
