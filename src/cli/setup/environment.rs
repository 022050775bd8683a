//! Variables and the name of a secret file: a container is given these instead of files that are edited.
//!
//! Rule: no secret is asked for or shown; the password goes from its owner's hands into a file on the host. Pure.

use super::{
    answers::{account, listeners, login, mailbox, networks},
    providers::{self, ANY_TENANT, GMAIL_API, Login, asks_host, place, provider},
    questions::{Answers, Name},
};
use crate::delivery::provider::Provider;

/// The server that knows a host by its address.
const RELAY_SERVICE: &str = "smtp-relay.gmail.com";
/// Where engines mount secrets.
const SECRETS: &str = "/run/secrets";

/// What is handed to the container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Handed {
    /// Names and values.
    pub(super) variables: Vec<(String, String)>,
    /// The file on the host, where it is mounted, and what is in it.
    pub(super) secret: Option<Secret>,
    /// Whether Google runs the upstream.
    is_google: bool,
}

/// A file that is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Secret {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) content: String,
}

/// What the answers come to.
pub(super) fn handed(answers: &Answers) -> Handed {
    let mut variables = Vec::new();
    let mut set = |section: &str, key: &str, value: Option<String>| {
        let name = format!("PILLARBOX__{section}__{key}");
        variables.extend(value.map(|value| (name, value)));
    };
    let provider = provider(answers);
    let is_usual = provider == Provider::Gmail;
    set("UPSTREAM", "PROVIDER", (!is_usual).then(|| provider.word().to_owned()));
    let asked = |name, wanted: bool| answers.get(&name).filter(|_| wanted).cloned();
    let is_custom = provider == Provider::Custom;
    set("UPSTREAM", "HOST", asked(Name::Host, asks_host(provider)));
    set("UPSTREAM", "PORT", asked(Name::Port, is_custom));
    set("UPSTREAM", "TLS", asked(Name::Tls, is_custom));
    let file = |name| answers.get(&name).cloned().unwrap_or_default();
    let mounted = |from: String, name: &str, content: &str| {
        let (to, content) = (format!("{SECRETS}/{name}"), format!("the {content}"));
        Some(Secret { from, to, content })
    };
    let is_api = place(answers).is_api;
    set("UPSTREAM", "TRANSPORT", is_api.then(|| GMAIL_API.to_owned()));
    set("UPSTREAM", "USERNAME", account(answers).cloned());
    let own = || Some("/var/lib/pillarbox/queue/oauth-token.json".to_owned());
    let secret = match login(answers) {
        Some(Login::AppPassword) => mounted(
            "pillarbox-password".to_owned(),
            "pillarbox-password",
            providers::secret(provider),
        ),
        Some(Login::Consent) if provider.is_microsoft() => {
            set("UPSTREAM", "AUTH", Some("oauth".to_owned()));
            set("UPSTREAM", "OAUTH_CLIENT_ID", answers.get(&Name::ClientId).cloned());
            let tenant = asked(Name::Tenant, provider == Provider::Microsoft365);
            set("UPSTREAM", "OAUTH_TENANT", tenant.filter(|tenant| tenant != ANY_TENANT));
            set("UPSTREAM", "OAUTH_TOKEN_FILE", own());
            None
        }
        Some(Login::Consent) => {
            set("UPSTREAM", "AUTH", Some("oauth".to_owned()));
            set("UPSTREAM", "OAUTH_CLIENT_FILE", Some(format!("{SECRETS}/client.json")));
            set("UPSTREAM", "OAUTH_TOKEN_FILE", own());
            mounted(file(Name::ClientFile), "client.json", "OAuth client")
        }
        Some(Login::ServiceAccount) => {
            set("UPSTREAM", "AUTH", Some("service-account".to_owned()));
            set(
                "UPSTREAM",
                "SERVICE_ACCOUNT_FILE",
                Some(format!("{SECRETS}/service-account.json")),
            );
            mounted(file(Name::KeyFile), "service-account.json", "key of the service account")
        }
        Some(Login::None) => {
            let by_address = matches!(provider, Provider::Gmail | Provider::Workspace);
            set("UPSTREAM", "HOST", by_address.then(|| RELAY_SERVICE.to_owned()));
            set("UPSTREAM", "AUTH", Some("none".to_owned()));
            None
        }
        None => None,
    };
    let reader = answers.get(&Name::RootTo).filter(|reader| Some(*reader) != mailbox(answers));
    set("IDENTITY", "ADMIN", reader.cloned());
    for (key, list) in of_listener(answers) {
        set("LISTENER", key, Some(list.join(",")));
    }
    Handed { variables, secret, is_google: provider.is_google() }
}

/// Where the mail of networks is taken, and which these are; nothing where there are none.
fn of_listener(answers: &Answers) -> Vec<(&'static str, Vec<String>)> {
    let networks = networks(answers);
    if networks.is_empty() {
        return Vec::new();
    }
    let listeners = listeners(answers).iter().map(ToString::to_string).collect();
    // A list of one's own takes the place of the default, which is this host.
    let own = ["127.0.0.0/8", "::1/128"].map(str::to_owned);
    let networks = own.into_iter().chain(networks.iter().map(ToString::to_string)).collect();
    vec![("ADDRESSES", listeners), ("TRUSTED_NETWORKS", networks)]
}

/// The same for a person, as flags of `docker run`.
pub(super) fn words(handed: &Handed) -> String {
    let mut words = String::from(
        "This is a container: give it these variables and files, and start it anew.\n\n",
    );
    for (name, value) in &handed.variables {
        words += &format!("  -e {name}={value}\n");
    }
    if let Some(Secret { from, to, content }) = &handed.secret {
        words += &format!("  -v \"$PWD/{}\":{to}:ro\n\n", from.rsplit('/').next().unwrap_or(from));
        words += &format!(
            "That file on the host has {content}, and only the container's user may read it:\n\n"
        );
        let stdin = "/dev/stdin";
        let source = if from == "pillarbox-password" { stdin } else { from };
        let name = from.rsplit('/').next().unwrap_or(from);
        words += &format!("  install -m 0400 -o 65532 {source} {name}\n");
        if source == stdin {
            let of_google = "the sixteen letters from https://myaccount.google.com/apppasswords";
            let what = if handed.is_google { of_google } else { content };
            words += &format!("\nPaste {what} there, Enter, Ctrl-D.\n");
        }
    }
    words + "\n" + "docs/containers.md has the same for Compose and Kubernetes.\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_gets_variables_and_a_secret_file_and_no_secret_is_shown() {
        let answers: Answers = [
            (Name::Account, "me@gmail.com"),
            (Name::Login, "app-password"),
            (Name::RootTo, "me@gmail.com"),
            (Name::Serve, "172.18.0.128/25"),
            (Name::Listen, "0.0.0.0:25"),
        ]
        .map(|(name, text)| (name, text.to_owned()))
        .into();
        let words = words(&handed(&answers));
        for line in [
            "-e PILLARBOX__UPSTREAM__USERNAME=me@gmail.com",
            "-e PILLARBOX__LISTENER__ADDRESSES=0.0.0.0:25",
            "-e PILLARBOX__LISTENER__TRUSTED_NETWORKS=127.0.0.0/8,::1/128,172.18.0.128/25",
            "-v \"$PWD/pillarbox-password\":/run/secrets/pillarbox-password:ro",
            "install -m 0400 -o 65532 /dev/stdin pillarbox-password",
        ] {
            assert!(words.contains(line), "{line}: {words}");
        }
        assert!(!words.contains("ADMIN"), "the account is the default: {words}");
    }
}
