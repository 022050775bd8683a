//! The page as a browser meets it: who may see it, what it shows, and what it lets whom do.
//!
//! A daemon of its own for each test; the browser is `page/browser.rs`, which keeps cookies and obeys nothing.

#[path = "page/bad_days.rs"]
mod bad_days;
#[path = "page/browser.rs"]
mod browser;
#[path = "page/contents.rs"]
mod contents;
#[path = "page/deeds.rs"]
mod deeds;
#[path = "page/files.rs"]
mod files;
#[path = "page/hostile.rs"]
mod hostile;
#[path = "page/hosts.rs"]
mod hosts;
#[path = "page/html_mail.rs"]
mod html_mail;
#[path = "page/journeys.rs"]
mod journeys;
#[path = "page/lists.rs"]
mod lists;
#[path = "page/live.rs"]
mod live;
#[path = "page/logins.rs"]
mod logins;
#[path = "page/resends.rs"]
mod resends;
#[path = "page/scenarios.rs"]
mod scenarios;
#[path = "page/settings.rs"]
mod settings;
#[path = "page/start.rs"]
mod start;
#[path = "page/storms.rs"]
mod storms;
#[path = "page/tls.rs"]
mod tls;
#[path = "page/visitors.rs"]
mod visitors;
#[path = "page/weight.rs"]
mod weight;

use std::{net::SocketAddr, time::Duration};

use self::browser::Browser;
use crate::support::{
    client::Client,
    daemon::{Daemon, Home, Upstream, free_port},
};

const LIMIT: Duration = Duration::from_secs(30);

/// A daemon with a page, whose mail stays where it is.
#[derive(Debug)]
struct Stage {
    home: Home,
    daemon: Daemon,
    page: SocketAddr,
}

impl Stage {
    fn new() -> Self {
        Self::relaying_to(&Upstream::nobody())
    }

    /// One whose mail goes there.
    fn relaying_to(upstream: &Upstream) -> Self {
        Self::with(Home::new(upstream))
    }

    fn with(home: Home) -> Self {
        let page = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let home = home.environment("PILLARBOX__ADMIN__PAGE", &page.to_string());
        let daemon = home.start();
        Self { home, daemon, page }
    }

    /// Exit code and everything that a command said.
    fn say(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let socket = self.home.socket().display().to_string();
        let output = self.home.output(arguments.iter().copied().chain(["--socket", &socket]));
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).expect("text"))
    }

    /// What a command answers as JSON.
    fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let (code, words) = self.say(&[arguments, &["--json"]].concat());
        assert_eq!(code, Some(0), "{words}");
        serde_json::from_str(&words).expect("JSON")
    }

    /// A link's path.
    fn link(&self, arguments: &[&str]) -> String {
        let link = self.json(&[&["page"], arguments].concat());
        let url = link["url"].as_str().expect("a link").to_owned();
        let path = url.strip_prefix(&format!("http://{}", self.page)).expect("its own address");
        path.to_owned()
    }

    /// A browser without a session.
    fn browser(&self) -> Browser {
        Browser::new(self.page)
    }

    /// One with a session, whose link was made with these options.
    fn visitor(&self, arguments: &[&str]) -> Browser {
        let (mut browser, path) = (self.browser(), self.link(arguments));
        let answer = browser.get(&path);
        assert_eq!(answer.status, 200, "{}", answer.body);
        let answer = browser.press(&answer, "button.main");
        assert_eq!((answer.status, answer.head("location")), (303, Some("/")), "{}", answer.body);
        browser
    }

    fn submit(&self, sender: &str, recipient: &str, message: &str) {
        let mut client = Client::hello(self.daemon.smtp);
        let answer = client.mail(sender, &[recipient], message);
        assert!(answer.starts_with("250"), "{answer}");
    }

    /// The ids of the queue, the oldest first.
    fn ids(&self) -> Vec<String> {
        let list = self.json(&["queue", "list"]);
        let ids = list["messages"].as_array().expect("messages").iter();
        ids.map(|message| message["id"].as_str().expect("an id").to_owned()).collect()
    }
}
