//! The keys for tokens in `[upstream]`.
//!
//! Rule: no secret is read here, only where it is. A key that would have no effect is refused, because whoever wrote
//! it believes that it has one. Must not know how tokens are had.

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
};

use super::{Auth, SECTION, Upstream};
use crate::{
    delivery::{
        Transport,
        oauth::{ClientSource, Endpoint, Endpoints, Grant, Issuer, Limits, Options, SecretSource},
        provider::Provider,
    },
    settings::{report::Report, value::shown},
};

const CLIENT_REMEDY: &str = "Add oauth_client_file = \"/etc/pillarbox/client.json\", the JSON that Google's console offers \
                             for a client of the type \"Desktop app\"; docs/oauth.md has the steps.";

const MICROSOFT_CLIENT_REMEDY: &str = "Add oauth_client_id = \"...\", the application (client) id of a registration at \
                                       https://entra.microsoft.com; docs/microsoft.md has the steps.";

const APPLICATION_REMEDY: &str = "Add oauth_tenant, oauth_client_id and oauth_client_secret_file (or oauth_client_certificate_file) under [upstream]; docs/microsoft.md \
                                  has the steps.";

impl Upstream {
    /// What goes with `auth`, or `None` when tokens are not meant or not complete.
    /// Without a line for it the token is in `usual_file`.
    pub(super) fn tokens(&self, usual_file: &Path, report: &mut Report<'_>) -> Option<Options> {
        self.refuse_without_effect(report);
        let endpoints = self.endpoints(report)?;
        let grant = match self.auth() {
            Auth::Consent => {
                let token_file = self.oauth_token_file.as_deref();
                let token_file =
                    token_file.map(|path| report.path(SECTION, "oauth_token_file", path));
                Grant::Refresh {
                    client: self.client(report)?,
                    token_file: token_file.unwrap_or_else(|| usual_file.to_owned()),
                }
            }
            Auth::ServiceAccount => Grant::ServiceAccount { key_file: self.key_file(report)? },
            Auth::Application => self.application(report)?,
            Auth::Password | Auth::None => return None,
        };
        Some(Options { grant, issuer: self.issuer(), endpoints, limits: Limits::default() })
    }

    /// Who gives the tokens.
    fn issuer(&self) -> Issuer {
        let of_microsoft = match self.auth() {
            Auth::Application => true,
            Auth::ServiceAccount => false,
            Auth::Consent | Auth::Password | Auth::None => self.provider().is_microsoft(),
        };
        match (of_microsoft, self.transport) {
            (true, _) => Issuer::Microsoft,
            (false, Transport::GmailApi) => Issuer::GoogleApi,
            (false, Transport::Smtp) => Issuer::Google,
        }
    }

    /// Whether the owner of an account at Microsoft consents.
    fn consents_at_microsoft(&self) -> bool {
        self.auth() == Auth::Consent && self.issuer() == Issuer::Microsoft
    }

    /// Whether the key is set to anything.
    fn keys(&self) -> [(&'static str, bool); 8] {
        [
            ("oauth_tenant", self.oauth_tenant.is_some()),
            ("oauth_client_file", self.oauth_client_file.is_some()),
            ("oauth_client_id", self.oauth_client_id.is_some()),
            ("oauth_client_secret_file", self.oauth_client_secret_file.is_some()),
            ("oauth_client_secret", self.oauth_client_secret.is_some()),
            ("oauth_client_certificate_file", self.oauth_client_certificate_file.is_some()),
            ("oauth_token_file", self.oauth_token_file.is_some()),
            ("service_account_file", self.service_account_file.is_some()),
        ]
    }

    fn refuse_without_effect(&self, report: &mut Report<'_>) {
        for (key, _) in self.keys().into_iter().filter(|(_, is_set)| *is_set) {
            let of_applications =
                ["oauth_client_id", "oauth_client_secret", "oauth_client_secret_file"];
            let belongs_to = match key {
                "service_account_file" => Auth::ServiceAccount,
                "oauth_tenant" | "oauth_client_certificate_file" => Auth::Application,
                _ => Auth::Consent,
            };
            let fits = match key {
                "oauth_tenant" => self.consents_at_microsoft(),
                _ => self.auth() == Auth::Application && of_applications.contains(&key),
            };
            if belongs_to == self.auth() || fits {
                continue;
            }
            let (present, wanted) = (self.auth().name(), belongs_to.name());
            let what = format!("it has no effect, because auth is \"{present}\"");
            report.add(SECTION, key, what, format!("Set auth = \"{wanted}\", or remove the line."));
        }
    }

    fn client(&self, report: &mut Report<'_>) -> Option<ClientSource> {
        let file = self.oauth_client_file.as_deref();
        let id = self.oauth_client_id.as_deref();
        let secret = self.secret(report);
        let is_microsoft = self.issuer() == Issuer::Microsoft;
        match (file, id) {
            (Some(_), None) if is_microsoft => {
                let what = "such a file comes from Google, and the account is at Microsoft";
                report.add(SECTION, "oauth_client_file", what, MICROSOFT_CLIENT_REMEDY);
                None
            }
            (Some(path), None) => {
                if secret.is_some() {
                    let key = if self.oauth_client_secret_file.is_some() {
                        "oauth_client_secret_file"
                    } else {
                        "oauth_client_secret"
                    };
                    let what = "the client file contains the secret already";
                    report.add(
                        SECTION,
                        key,
                        what,
                        "Remove the line, or write oauth_client_id instead of oauth_client_file.",
                    );
                }
                Some(ClientSource::File(report.path(SECTION, "oauth_client_file", path)))
            }
            (Some(_), Some(_)) => {
                let what = "the client is given twice, here and as oauth_client_file";
                report.add(SECTION, "oauth_client_id", what, "Keep one of the two.");
                None
            }
            (None, None) => {
                let what = "there is no OAuth client";
                let remedy = if is_microsoft { MICROSOFT_CLIENT_REMEDY } else { CLIENT_REMEDY };
                report.add_lack(SECTION, "auth", what, remedy);
                None
            }
            (None, Some(id)) => {
                // A desktop client of Google has a secret; other providers may have public clients.
                if secret.is_none() && self.oauth_token_endpoint.is_none() && !is_microsoft {
                    let what = "there is a client id but no client secret";
                    let remedy =
                        "Add oauth_client_secret_file, or write oauth_client_file instead of both.";
                    report.add(SECTION, "oauth_client_id", what, remedy);
                }
                Some(ClientSource::Named { id: id.to_owned(), secret })
            }
        }
    }

    /// An application of an organisation at Microsoft, with its secret or its certificate.
    fn application(&self, report: &mut Report<'_>) -> Option<Grant> {
        let secret = self.secret(report);
        let certificate = self.oauth_client_certificate_file.as_deref();
        let certificate =
            certificate.map(|path| report.path(SECTION, "oauth_client_certificate_file", path));
        if secret.is_some() && certificate.is_some() {
            let what = "the application has a secret already";
            report.add(SECTION, "oauth_client_certificate_file", what, "Keep one of the two.");
        }
        if self.provider() != Provider::Microsoft365 && self.oauth_token_endpoint.is_none() {
            let what = "only organisations at Microsoft let an application send as a mailbox";
            report.add(SECTION, "auth", what, "Set provider = \"microsoft365\", or another auth.");
        }
        let is_named = self.oauth_token_endpoint.is_some() || self.oauth_tenant.is_some();
        let is_proved = secret.is_some() || certificate.is_some();
        match self.oauth_client_id.clone() {
            Some(id) if is_named && is_proved => {
                Some(Grant::Application { client: ClientSource::Named { id, secret }, certificate })
            }
            _ => {
                let what = "the application is not complete";
                report.add_lack(SECTION, "auth", what, APPLICATION_REMEDY);
                None
            }
        }
    }

    /// The part of Microsoft's addresses that says whose accounts are meant.
    fn tenant(&self, report: &mut Report<'_>) -> &str {
        let is_personal = self.provider() == Provider::Outlook;
        let usual = match is_personal {
            true => Endpoints::MICROSOFT_PERSONAL,
            false => Endpoints::MICROSOFT_ORGANIZATIONS,
        };
        let Some(tenant) = self.oauth_tenant.as_deref() else { return usual };
        if is_personal && self.consents_at_microsoft() {
            let what = "a personal account belongs to no organisation";
            let remedy = "Remove the line, or set provider = \"microsoft365\".";
            report.add(SECTION, "oauth_tenant", what, remedy);
            return usual;
        }
        let is_name =
            tenant.bytes().all(|octet| octet.is_ascii_alphanumeric() || b".-".contains(&octet));
        if !is_name {
            let what = format!("{} is neither an id nor a domain", shown(tenant));
            let remedy = "Write the directory (tenant) id of the application, or a domain of the organisation.";
            report.add(SECTION, "oauth_tenant", what, remedy);
            return usual;
        }
        tenant
    }

    fn secret(&self, report: &mut Report<'_>) -> Option<SecretSource> {
        let file = self.oauth_client_secret_file.as_deref();
        let inline = self.oauth_client_secret.clone();
        if file.is_some() && inline.is_some() {
            let what = "the client's secret is given twice, here and as oauth_client_secret_file";
            report.add(SECTION, "oauth_client_secret", what, "Keep the file.");
        }
        let file = file
            .map(|path| SecretSource::File(report.path(SECTION, "oauth_client_secret_file", path)));
        file.or_else(|| inline.map(SecretSource::Inline))
    }

    fn key_file(&self, report: &mut Report<'_>) -> Option<PathBuf> {
        let path = self.service_account_file.as_deref();
        if path.is_none() {
            let remedy = "Add service_account_file = \"/etc/pillarbox/service-account.json\", the JSON key that Google's \
                          console offers; docs/oauth.md has the steps.";
            report.add_lack(SECTION, "auth", "there is no service account", remedy);
        }
        path.map(|path| report.path(SECTION, "service_account_file", path))
    }

    fn endpoints(&self, report: &mut Report<'_>) -> Option<Endpoints> {
        let issuer = self.issuer();
        let (authorization, token) = match issuer {
            Issuer::Google | Issuer::GoogleApi => (
                Cow::Borrowed(Endpoints::GOOGLE_AUTHORIZATION),
                Cow::Borrowed(Endpoints::GOOGLE_TOKEN),
            ),
            Issuer::Microsoft => {
                let tenant = self.tenant(report);
                let device = Endpoints::microsoft_device(tenant);
                (Cow::Owned(device), Cow::Owned(Endpoints::microsoft_token(tenant)))
            }
        };
        let mut read = |written: &Option<Endpoint>, key, usual: &str| {
            let read = written.clone().map_or_else(|| Endpoint::new(usual), Ok);
            let remedy = format!("Remove the line for {}'s.", issuer.name());
            read.map_err(|words| report.add(SECTION, key, words, remedy)).ok()
        };
        let (key, written) = ("oauth_revocation_endpoint", &self.oauth_revocation_endpoint);
        let revocation = match (issuer, written) {
            // Microsoft has none.
            (Issuer::Microsoft, None) => None,
            _ => Some(read(written, key, Endpoints::GOOGLE_REVOCATION)?),
        };
        let (key, written) = ("oauth_authorization_endpoint", &self.oauth_authorization_endpoint);
        Some(Endpoints {
            authorization: read(written, key, &authorization)?,
            token: read(&self.oauth_token_endpoint, "oauth_token_endpoint", &token)?,
            revocation,
        })
    }
}
