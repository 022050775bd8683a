//! HTML mail in its frame: it is seen, and nothing comes out of it.

use crate::{
    relay::{PATIENCE, Relay},
    window::{visit, within},
};

/// What tries to fetch, to run and to leave.
const HOSTILE: &str = "Subject: offer\nContent-Type: text/html; charset=utf-8\n\n<html><head><base href=\"http://evil.example/\">\n\
    <meta http-equiv=\"refresh\" content=\"0;url=http://evil.example/\"><link rel=\"preconnect\" href=\"http://evil.example\">\n\
    <style>@import 'http://evil.example/i'; body { background: url(http://evil.example/b) }</style>\n\
    <script>parent.document.title = 'broken out'; fetch('http://evil.example/f')</script></head>\n\
    <body onload=\"parent.document.title = 'broken out'\"><h2>An offer</h2>\n\
    <p style=\"color: red; background: url('http://evil.example/u')\">Only today.</p>\n\
    <img src=\"http://evil.example/p\" onerror=\"parent.document.title = 'broken out'\" alt=\"a car\">\n\
    <svg onload=\"parent.document.title = 'broken out'\"></svg>\n\
    <iframe srcdoc=\"&lt;script&gt;top.document.title = 'broken out'&lt;/script&gt;\"></iframe>\n\
    <form action=\"http://evil.example/\" target=\"_top\"><button>Buy</button></form>\n\
    <a href=\"http://evil.example/\" target=\"_top\">More</a></body></html>\n";

#[tokio::test]
async fn html_mail_is_shown_on_request_and_no_request_leaves_and_no_script_runs() {
    let relay = Relay::start(&[]).await;
    relay.tell(&["pause", "to look at it"]);
    relay.send("shop@example.org", &["you@example.com"], HOSTILE);
    let list = relay.ask(&["queue", "list"]);
    let id = list["messages"][0]["id"].as_str().unwrap().to_owned();
    visit(&relay, async |window| {
        window.at(&format!("/messages/{id}")).await;
        let frames = "return document.querySelectorAll('iframe').length";
        assert_eq!(window.measure(frames).await, 0, "only on request");
        window.press("link", "Show the HTML").await;
        assert_eq!(window.heading().await, format!("HTML of message {id}"));
        assert_eq!(window.measure(frames).await, 1);
        let loaded = "return performance.getEntriesByType('resource').some(one => one.initiatorType === 'iframe')";
        assert!(within(PATIENCE, async || window.measure(loaded).await == true).await);
        let closed = "return document.querySelector('iframe').contentDocument === null";
        assert_eq!(window.measure(closed).await, true, "it has an origin of its own");
        let title = "return document.title";
        let title = window.measure(title).await;
        assert!(title.as_str().unwrap().contains("HTML of message"), "{title}");
        assert!(window.path().await.starts_with("/messages/"), "it has not led anywhere");
        window.keep_picture("html-mail").await;
    })
    .await;
}
