//! The configuration that holds, with what follows for the keys that nobody has written.
//!
//! Rule: `pillarbox check` and the page take it from here.

use std::{collections::BTreeMap, path::Path};

use ipnet::IpNet;

use super::{
    Settings,
    document::without_number,
    shown::{Value as _, without_credentials},
};
use crate::{
    admin::configured::{Configured, Origin},
    delivery::{
        PasswordSource,
        oauth::{Endpoints, Grant},
    },
};

impl Settings {
    /// The configuration that holds, with what follows for the keys that nobody has written.
    #[must_use]
    pub(crate) fn configured(&self) -> Configured {
        let follows = self.follows();
        let settings = self.written.0.iter().cloned().map(|mut setting| {
            let found = follows.get(&(without_number(&setting.section), setting.key.as_str()));
            if let Some(value) = found {
                if self.is_of_sandbox && setting.value.is_some() && setting.value != *value {
                    setting.origin = Origin::Command;
                }
                if self.is_of_sandbox || setting.value.is_none() {
                    setting.value.clone_from(value);
                }
            }
            setting
        });
        Configured { source: self.source.to_string(), settings: settings.collect() }
    }

    /// The values that depend on others, on this machine or on the command, as they came out.
    fn follows(&self) -> Follows {
        let (listener, local) = (&self.listener, &self.listener.local);
        let plain = listener.addresses.iter().filter(|one| !one.implicit_tls && !one.proxy);
        let plain: Vec<_> = plain.map(|one| one.address.to_string()).collect();
        // The sections come before what is trusted without one.
        let trusted = listener.networks.last().map(|trusted| &trusted.networks).into_iter();
        let trusted: Vec<_> = trusted.flatten().map(IpNet::to_string).collect();
        let identity = &self.delivery.identity;
        let place = |path: Option<&Path>| path.map(|path| path.display().to_string());
        let mut follows = self.follows_of_account();
        follows.extend([
            (("listener", "addresses"), Some(plain.join(", "))),
            (("listener", "trusted_networks"), Some(trusted.join(", "))),
            (("listener", "hostname"), Some(listener.session.hostname.clone())),
            (("sendmail", "socket"), place(local.socket.as_deref())),
            (("sendmail", "drop_directory"), place(local.drop_directory.as_deref())),
            (("queue", "directory"), place(Some(&self.queue.directory))),
            (("identity", "from"), identity.from.shown().text()),
            (("identity", "domain"), Some(identity.domain.clone())),
            (("identity", "admin"), self.delivery.admin.as_ref().map(ToString::to_string)),
            (("identity", "aliases_file"), place(listener.recipients.choice().path())),
            (("admin", "socket"), place(Some(&self.admin.socket))),
            (("admin", "http"), self.admin.http.map(|address| address.to_string())),
            (("admin", "page"), self.admin.page.as_ref().map(|page| page.address.to_string())),
        ]);
        follows
    }

    /// The same of the account and its budget.
    fn follows_of_account(&self) -> Follows {
        let delivery = &self.delivery;
        let login = delivery.login.as_ref();
        let mut follows = Follows::from([
            (("upstream", "host"), Some(delivery.host.clone())),
            (("upstream", "port"), Some(delivery.port.to_string())),
            (
                ("upstream", "username"),
                login.map(|login| without_credentials(&login.username).into_owned()),
            ),
            (("upstream", "ehlo_name"), Some(delivery.ehlo_name.clone())),
            (("budget", "owner_reserve"), Some(self.owner_reserve.to_string())),
            (("budget", "notice_reserve"), Some(delivery.notice_reserve.to_string())),
            (("budget", "urgent_reserve"), Some(delivery.urgent_reserve.to_string())),
        ]);
        let day = delivery.recipients_per_day.with(self.owner_reserve).recipients().unwrap_or(0);
        follows.insert(("budget", "recipients_per_day"), Some(day.to_string()));
        match login.map(|login| &login.password) {
            Some(PasswordSource::File(path) | PasswordSource::Mounted(path)) => {
                follows.insert(("upstream", "password_file"), Some(path.display().to_string()));
            }
            Some(PasswordSource::Tokens(options)) => {
                if let Grant::Refresh { token_file, .. } = &options.grant {
                    let file = token_file.display().to_string();
                    follows.insert(("upstream", "oauth_token_file"), Some(file));
                }
                let Endpoints { authorization, token, revocation } = &options.endpoints;
                follows.extend([
                    (("upstream", "oauth_authorization_endpoint"), authorization.shown().text()),
                    (("upstream", "oauth_token_endpoint"), token.shown().text()),
                    (("upstream", "oauth_revocation_endpoint"), revocation.shown().text()),
                ]);
            }
            _ => {}
        }
        follows
    }
}

/// What came out for a key of a section.
type Follows = BTreeMap<(&'static str, &'static str), Option<String>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_there_once_in_the_order_of_the_file_also_by_its_name_in_it() {
        let text = "[[identity.sender]]\nmatch = \"@example.org\"\nfrom = \"a@example.org\"\n\n\
                    [[alert.target]]\nname = \"one\"\ncommand = [\"true\"]\n\n\
                    [[listener.network]]\nnetworks = [\"192.168.1.9\"]\n\n\
                    [[account]]\nname = \"second\"\nauth = \"none\"\n\n\
                    [[route]]\nname = \"all\"\naccounts = [\"main\"]\n\n\
                    [[rule]]\nname = \"night\"\nmatch = { hour = [\"22-6\"] }\nhold = true\n";
        let settings = crate::settings::judge(Path::new("/x/relay.toml"), text.into()).unwrap();
        let configured = settings.configured().settings;
        let shown: Vec<_> =
            configured.iter().map(|one| (without_number(&one.section), one.key.as_str())).collect();
        for (section, key) in crate::settings::keys() {
            let number = shown.iter().filter(|one| **one == (section, key)).count();
            assert_eq!(number, 1, "{section}.{key}");
        }
        assert_eq!(shown.len(), crate::settings::keys().len());
        let named = |section: &str| {
            configured.iter().find(|one| one.key == "match" && one.section == section).unwrap()
        };
        assert_eq!(named("rule[0]").value.as_deref(), Some("{ hour = \"22-6\" }"));
        let written = named("identity.sender[0]");
        let origin = Origin::File { file: "/x/relay.toml".into(), line: 2 };
        assert_eq!((written.value.as_deref(), &written.origin), (Some("@example.org"), &origin));
    }
}
