//! The questions of `pillarbox setup`: names, words, kinds and flags.
//!
//! Rule: names, kinds and flags are an interface for scripts and programs, and stay. No answer but the password is a secret.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The answer to `serve` for programs of this host alone.
pub(super) const THIS_HOST: &str = "host";
/// The answer to `send-to` for no message.
pub(super) const NOBODY: &str = "no";

/// What the questions are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Name {
    Provider,
    Host,
    Port,
    Tls,
    Transport,
    Account,
    Login,
    ClientFile,
    KeyFile,
    ClientId,
    Tenant,
    RootTo,
    Serve,
    Listen,
    /// Late, because it is the one answer that no draft keeps.
    Password,
    SendTo,
}

/// The answers so far, each as its question's check has it. The password is never among them.
pub(super) type Answers = BTreeMap<Name, String>;

/// What an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    Address,
    /// An address, or another name that somebody logs in with.
    User,
    Host,
    Port,
    Choice,
    Secret,
    File,
    Id,
    Networks,
    Listeners,
    AddressOrNo,
}

/// One question.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    pub(super) name: Name,
    pub(super) kind: Kind,
    pub(super) prompt: &'static str,
    /// One line.
    pub(super) help: &'static str,
    /// The flag that answers it.
    pub(super) flag: &'static str,
    /// When it is asked, for programs.
    pub(super) when: &'static str,
}

/// Every question, in the order in which they are asked.
pub(super) const QUESTIONS: [Question; 16] = [
    Question {
        name: Name::Provider,
        kind: Kind::Choice,
        prompt: "Whose server relays the mail",
        help: "It decides the server, the limits of a day and how to log in (docs/providers.md).",
        flag: "--provider NAME",
        when: "always",
    },
    Question {
        name: Name::Host,
        kind: Kind::Host,
        prompt: "Name of the server",
        help: "The server that takes mail from those who log in, such as smtp.example.org.",
        flag: "--host NAME",
        when: "if provider is custom or ses",
    },
    Question {
        name: Name::Port,
        kind: Kind::Port,
        prompt: "Its port",
        help: "587 begins in plain text and turns to TLS, 465 begins with TLS.",
        flag: "--port NUMBER",
        when: "if provider is custom",
    },
    Question {
        name: Name::Tls,
        kind: Kind::Choice,
        prompt: "How TLS begins",
        help: "Nothing is sent to another host without it.",
        flag: "--tls auto|starttls|implicit|off",
        when: "if provider is custom",
    },
    Question {
        name: Name::Transport,
        kind: Kind::Choice,
        prompt: "How mail leaves",
        help: "The Gmail API is for networks that let no connection out to the ports 465 and 587; it takes no password (docs/https.md).",
        flag: "--transport smtp|gmail-api",
        when: "if provider is gmail or workspace and all is asked anew, or the ports of mail cannot be reached",
    },
    Question {
        name: Name::Account,
        kind: Kind::Address,
        prompt: "Gmail account",
        help: "Everything is relayed through this account: its full address, such as you@gmail.com.",
        flag: "--account ADDRESS",
        when: "unless login is none",
    },
    Question {
        name: Name::Login,
        kind: Kind::Choice,
        prompt: "How to log in",
        help: "Gmail does not take the account's own password from programs.",
        flag: "--login app-password|oauth|service-account|none",
        when: "if provider is Google's or custom",
    },
    Question {
        name: Name::ClientFile,
        kind: Kind::File,
        prompt: "File of your OAuth client",
        help: "The JSON that https://console.cloud.google.com/auth/clients offers for a client of the type \"Desktop app\".",
        flag: "--client-file FILE",
        when: "if login is oauth at Google",
    },
    Question {
        name: Name::KeyFile,
        kind: Kind::File,
        prompt: "File of the service account's key",
        help: "The JSON that https://console.cloud.google.com/iam-admin/serviceaccounts offers under Keys, Add key.",
        flag: "--key-file FILE",
        when: "if login is service-account",
    },
    Question {
        name: Name::ClientId,
        kind: Kind::Id,
        prompt: "Application (client) id",
        help: "Of a registration of your own at https://entra.microsoft.com that allows public client flows and has the \
               permission SMTP.Send; docs/microsoft.md has the steps.",
        flag: "--client-id ID",
        when: "if provider is Microsoft's",
    },
    Question {
        name: Name::Tenant,
        kind: Kind::Id,
        prompt: "Directory (tenant) id",
        help: "That of the registration; \"organizations\" if it is one for several organisations.",
        flag: "--tenant ID",
        when: "if provider is microsoft365",
    },
    Question {
        name: Name::RootTo,
        kind: Kind::Address,
        prompt: "Who reads root's mail",
        help: "Cron, RAID monitors and this relay itself write to root and other names of this host.",
        flag: "--root-to ADDRESS",
        when: "always",
    },
    Question {
        name: Name::Serve,
        kind: Kind::Networks,
        prompt: "Who may send",
        help: "\"host\" is programs of this host alone; or a network of printers and servers, such as 192.168.1.0/24.",
        flag: "--serve host|NETWORK",
        when: "always",
    },
    Question {
        name: Name::Listen,
        kind: Kind::Listeners,
        prompt: "Where this host takes their mail",
        help: "This host's own address in that network, with the port; 0.0.0.0:25 is every address that it has.",
        flag: "--listen ADDRESS:PORT",
        when: "if serve is a network",
    },
    Question {
        name: Name::Password,
        kind: Kind::Secret,
        prompt: "App password",
        help: "Turn on 2-step verification, open https://myaccount.google.com/apppasswords, enter a name such as \
               \"pillarbox\", and paste the sixteen letters. They are not shown.",
        flag: "--password-file FILE or --password-stdin",
        when: "if login is app-password and no password is stored yet",
    },
    Question {
        name: Name::SendTo,
        kind: Kind::AddressOrNo,
        prompt: "Send a first mail to",
        help: "It costs one recipient of the day's budget and shows that mail arrives; \"no\" sends none.",
        flag: "--send-to ADDRESS|no",
        when: "at the end",
    },
];

impl Name {
    /// Whether the answer holds for one provider alone.
    pub(super) fn is_of_provider(self) -> bool {
        !matches!(
            self,
            Self::Provider
                | Self::RootTo
                | Self::Serve
                | Self::Listen
                | Self::Password
                | Self::SendTo
        )
    }

    /// Whether it is about the server that mail leaves to, which is known before all else is asked.
    pub(super) fn is_of_server(self) -> bool {
        matches!(self, Self::Provider | Self::Host | Self::Port | Self::Tls)
    }

    /// Whether it is about the login, which costs work where the server cannot even be reached.
    pub(super) fn is_of_login(self) -> bool {
        matches!(
            self,
            Self::Login
                | Self::ClientFile
                | Self::KeyFile
                | Self::ClientId
                | Self::Tenant
                | Self::Password
        )
    }

    /// The question.
    pub(super) fn question(self) -> &'static Question {
        &QUESTIONS[self as usize]
    }

    /// As flags, JSON and the draft have it.
    pub(super) fn text(self) -> String {
        serde_json::to_value(self)
            .ok()
            .and_then(|name| Some(name.as_str()?.to_owned()))
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_question_has_its_place_its_flag_and_one_line_of_help() {
        for (index, question) in QUESTIONS.iter().enumerate() {
            assert_eq!(question.name as usize, index);
            assert!(question.flag.starts_with("--") && !question.help.contains('\n'));
            let name: Name = serde_json::from_value(question.name.text().into()).unwrap();
            assert_eq!(name, question.name);
        }
    }
}
