//! `[admin]`: who reaches the daemon to see and to command, over which socket, port and page.
//!
//! Rule: a page that others can reach is refused at start when it could not tell its own visitors from theirs. Must not
//! know what is answered.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use super::{
    report::Report,
    storage::check_socket_path,
    value::{PageUrl, path, section, switch, text},
};
use crate::{
    admin::{self, place},
    delivery::https::is_on_this_host,
    listener,
};

/// Where a daemon answers its administrator when nothing else is configured.
pub(crate) const DEFAULT_SOCKET: &str = "/run/pillarbox/admin.sock";

section! {
    /// `[admin]`: where `pillarbox status` and the other commands reach the daemon, and browsers its page.
    pub(super) struct Admin {
        socket: Option<PathBuf> = None, "path";
        http: Option<SocketAddr> = None, "text";
        page: Option<SocketAddr> = None, "text";
        page_url: Option<PageUrl> = None, "text";
        page_tls: bool = false, "switch";
        page_users_file: Option<PathBuf> = None, "path";
    }
}

impl Admin {
    const SECTION: &str = "admin";

    pub(super) fn check(
        &self,
        listener: &listener::Options,
        report: &mut Report<'_>,
    ) -> admin::Options {
        let socket = self.socket.as_deref().unwrap_or_else(|| Path::new(DEFAULT_SOCKET));
        let socket = report.path(Self::SECTION, "socket", socket);
        check_socket_path(Self::SECTION, &socket, report);
        admin::Options { socket, http: self.http, page: self.page_options(listener, report) }
    }

    /// Who is asked for by a name that the relay cannot know must be told it: a page that answered to any name could be
    /// read by other sites.
    fn page_options(
        &self,
        listener: &listener::Options,
        report: &mut Report<'_>,
    ) -> Option<place::Options> {
        let url = self.page_url.clone().map(|PageUrl(url)| url);
        let users_file = self.users_file(listener, report);
        let address = self.page?;
        if !address.ip().is_loopback() && url.is_none() {
            let what =
                format!("{address} is not an address of this host alone, and page_url is not set");
            let remedy = "Set page_url to what your browser asks for, such as \"https://relay.example.org\".";
            report.add(Self::SECTION, "page", what, remedy);
        }
        if self.http.is_some_and(|http| http == address && address.port() != 0) {
            let what = format!("{address} is that of http as well");
            report.add(Self::SECTION, "page", what, "Choose another port for one of them.");
        }
        if self.page_tls && url.as_ref().is_some_and(|url| url.scheme() != "https") {
            let what = "with page_tls browsers find the page by https:// alone";
            report.add(Self::SECTION, "page_url", what, "Write https:// in place of http://.");
        }
        let tls = listener.tls.clone().filter(|_| self.page_tls);
        if self.page_tls && tls.is_none() {
            let what = "there is no certificate that the page could show";
            let remedy =
                "Set tls_certificate and tls_key under [listener] to the files of a certificate.";
            report.add_lack(Self::SECTION, "page_tls", what, remedy);
        }
        let is_heard = match &url {
            Some(url) => url.scheme() != "https" && !is_on_this_host(url),
            None => !address.ip().is_loopback(),
        };
        if users_file.is_some() && is_heard && !self.page_tls {
            let what = "passwords would cross the network in the clear";
            let remedy = "Set page_tls = true, or page_url to the https:// address of a proxy before the page.";
            report.add(Self::SECTION, "page_users_file", what, remedy);
        }
        Some(place::Options { address, url, may_move: false, tls, users_file })
    }

    /// What a printer logs in with opens no page on which mail is read and deleted.
    fn users_file(&self, listener: &listener::Options, report: &mut Report<'_>) -> Option<PathBuf> {
        let path = self.page_users_file.as_deref()?;
        let path = report.path(Self::SECTION, "page_users_file", path);
        if listener.users_file.as_ref() == Some(&path) {
            let what = "it is that of [listener] as well, so the password of any device would open the page";
            let remedy = "Name another file, and fill it with: pillarbox user add --admin NAME";
            report.add(Self::SECTION, "page_users_file", what, remedy);
        }
        Some(path)
    }
}
