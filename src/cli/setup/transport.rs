//! The transport in relay.toml: by the ports of mail or by the Gmail API, and the lines that lead to the one and not to the other.
//!
//! Rule: a line that leads elsewhere than to Google, such as to a proxy, is the administrator's and stays. Pure.

use super::{
    answers::login,
    edit::Change,
    found::Found,
    providers::{GMAIL_API, Login, place},
    questions::Answers,
};
use crate::{delivery::API_HOST, settings::is_gmail};

const SECTION: &str = "upstream";
const KEY: &str = "transport";
/// Ports of mail, which lead to no API, and that of HTTPS, which leads to no server of mail.
const MAIL_PORTS: [&str; 3] = ["25", "465", "587"];
const HTTPS_PORT: &str = "443";
/// Ways of TLS that HTTPS does not have.
const OTHER_TLS: [&str; 2] = ["starttls", "off"];

/// What changes; nothing when the file has that transport. Where the mail `moves` to another provider, that takes care of the
/// lines that lead to the one before.
pub(super) fn changes(answers: &Answers, found: &Found, moves: bool) -> Vec<Change> {
    let is_api = place(answers).is_api;
    if is_api == has_api(found) {
        return Vec::new();
    }
    let written = |key| found.written.text(SECTION, key);
    let port = found.written.number(SECTION, "port");
    let leads_elsewhere = |key: &&str| match (*key, is_api) {
        ("host", true) => written("host").is_some_and(|host| is_gmail(&host)),
        ("host", false) => written("host").is_some_and(|host| host == API_HOST),
        ("port", true) => port.as_deref().is_some_and(|port| MAIL_PORTS.contains(&port)),
        ("port", false) => port.as_deref() == Some(HTTPS_PORT),
        _ => is_api && written("tls").is_some_and(|tls| OTHER_TLS.contains(&tls.as_str())),
    };
    let lines = ["host", "port", "tls"].into_iter().filter(|_| !moves).filter(leads_elsewhere);
    let lines = lines.map(|key| Change::Remove { section: SECTION, key });
    let transport = match is_api {
        true => Change::text(SECTION, KEY, GMAIL_API),
        false => Change::Remove { section: SECTION, key: KEY },
    };
    lines.chain([transport]).collect()
}

/// What has to be done at Google before the Gmail API takes mail, in the project of the client or of the key.
pub(super) fn note(answers: &Answers, found: &Found) -> Option<String> {
    let is_new = place(answers).is_api && !has_api(found);
    let scope = match login(answers) {
        Some(Login::ServiceAccount) => "its domain-wide delegation",
        _ => "its consent screen",
    };
    is_new.then(|| {
        format!(
            "at Google, switch the Gmail API on in the project \
             (https://console.cloud.google.com/apis/library/gmail.googleapis.com), and add the scope \
             https://www.googleapis.com/auth/gmail.send to {scope} (docs/https.md)"
        )
    })
}

fn has_api(found: &Found) -> bool {
    found.written.text(SECTION, KEY).as_deref() == Some(GMAIL_API)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::setup::{
        edit::{Written, apply},
        questions::Name,
    };

    /// The file after a change to this transport.
    fn after(text: &str, transport: &str) -> String {
        let mut found = Found::of_nothing("/etc/pillarbox/relay.toml");
        found.written = Written::read(text).unwrap();
        let answers = [(Name::Provider, "gmail"), (Name::Transport, transport)];
        let answers = answers.map(|(name, text)| (name, text.to_owned())).into();
        let note = note(&answers, &found);
        assert_eq!(note.is_some(), transport == GMAIL_API && !text.contains(GMAIL_API));
        apply(text, &changes(&answers, &found, false)).unwrap()
    }

    #[test]
    fn lines_that_lead_to_the_other_transport_become_comments_and_come_back_by_hand_alone() {
        let by_mail = "# Mine.\n[upstream]\nhost = \"smtp.gmail.com\" # Google\nport = 465\ntls = \"starttls\"\n# The end.\n";
        let by_api = after(by_mail, "gmail-api");
        assert_eq!(
            by_api,
            "# Mine.\n[upstream]\ntransport = \"gmail-api\"\n#host = \"smtp.gmail.com\" # Google\n#port = 465\n#tls = \"starttls\"\n# The end.\n"
        );
        assert_eq!(after(&by_api, "gmail-api"), by_api);
        let back = after(&by_api, "smtp");
        assert!(back.contains("\n#transport = \"gmail-api\"\n"), "{back}");
        let https =
            "[upstream]\nhost = \"gmail.googleapis.com\"\nport = 443\ntransport = \"gmail-api\"\n";
        let lines = "#host = \"gmail.googleapis.com\"\n#port = 443\n#transport = \"gmail-api\"\n";
        assert_eq!(after(https, "smtp"), format!("[upstream]\n{lines}"));
    }

    #[test]
    fn a_proxy_and_its_port_stay() {
        let text = "[upstream]\nhost = \"proxy.example.org\"\nport = 8443\n";
        assert_eq!(after(text, "gmail-api"), format!("{text}transport = \"gmail-api\"\n"));
        assert_eq!(after(text, "smtp"), text);
    }
}
