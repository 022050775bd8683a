//! Broken ways to the upstream: each ends at one link, and what lies behind it is not blamed.

use std::{io::Write as _, net::TcpListener};

use pillarbox::sandbox::Certificate;
use serde_json::{Value, json};

use super::{
    scene::Scene,
    setups::{expect, expect_all, fail, warn},
};
use crate::support::daemon::free_port;

#[test]
fn a_name_or_a_port_that_leads_nowhere_is_found_by_one_check_with_its_remedy() {
    expect_all(&[
        fail("dns", "nowhere.invalid cannot be resolved", "/etc/resolv.conf", |scene| {
            scene.upstream(|upstream| upstream.host = "nowhere.invalid".into());
        }),
        fail("dns", "leaves none", "ip_family = \"any\"", |scene| {
            scene.upstream(|upstream| upstream.host = "127.0.0.1".into());
            scene.add("upstream", "ip_family = \"6\"");
        }),
        fail("upstream-ports", "cannot be connected to", "firewall", |scene| {
            scene.upstream(|upstream| upstream.port = free_port());
        }),
    ]);
}

#[test]
fn a_certificate_that_proves_nothing_is_found_by_one_check_with_its_remedy() {
    for (certificate, seen) in [
        (Certificate::OtherName, "certificate was refused"),
        (Certificate::OtherAuthority, "certificate was refused"),
        (Certificate::Expired, "certificate was refused"),
    ] {
        let mut scene = Scene::against(|options| options.certificate = certificate);
        expect(&mut scene, &fail("upstream-tls", seen, "upstream.ca_file", |_| ()));
    }
}

/// A server that says this and no more to each client.
fn says(scene: &Scene, words: &'static str) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // It ends with the process of the tests.
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            drop(client.write_all(words.as_bytes()));
            drop(std::io::copy(&mut client, &mut std::io::sink()));
        }
    });
    scene.upstream(|upstream| {
        upstream.host = "127.0.0.1".into();
        upstream.port = port;
    });
}

#[test]
fn a_server_that_is_not_what_was_expected_is_found_by_one_check_with_its_remedy() {
    expect_all(&[
        fail(
            "upstream-greeting",
            "554 5.7.1 \\u{1b}[2Jno \\u{202e}service",
            "upstream.host",
            |scene| {
                says(scene, "554 5.7.1 \u{1b}[2Jno \u{202e}service\r\n");
            },
        ),
        fail("upstream-greeting", "not an SMTP reply", "", |scene| {
            says(scene, "HTTP/1.1 400 Bad Request\r\n\r\n");
        }),
        fail("upstream-tls", "does not offer STARTTLS", "upstream.port = 465", |scene| {
            says(scene, "220 plain.example\r\n250 plain.example\r\n");
        }),
        warn("upstream-greeting", "and this relay takes up to", "max_message_bytes", |scene| {
            scene.add("listener", "max_message_bytes = \"50MiB\"");
        }),
    ]);
}

#[test]
fn a_refused_login_is_told_in_the_upstreams_words_and_tried_once() {
    let refused = |scene: &mut Scene| {
        scene.configure("abcd efgh ijkl mnop", "hunter2hunter2hu");
        scene.configure("[upstream]\n", "[upstream]\nprovider = \"gmail\"\n");
    };
    let mut scene = Scene::new();
    scene.has_daemon = false;
    expect(&mut scene, &fail("login", "535", "app password", refused));
    // A daemon is asked, for it counts its logins.
    let mut scene = Scene::new();
    expect(
        &mut scene,
        &fail("login", "535 5.7.8 no", "Make a new one", |scene| {
            scene.login =
                json!({ "login": "failed", "reason": "535 5.7.8 no", "remedy": "Make a new one" });
        }),
    );
}

#[test]
fn a_server_that_says_nothing_ends_within_the_limit_of_all() {
    let mut scene = Scene::new();
    expect(&mut scene, &fail("upstream-greeting", "", "", |scene| says(scene, "")));
    let report: Value = serde_json::from_slice(&scene.output(&["--json"]).stdout).unwrap();
    assert!(report["took_ms"].as_u64().unwrap() < 30_000, "{report:#}");
}

#[test]
fn behind_a_broken_link_nothing_is_judged() {
    let scene = Scene::new();
    scene.upstream(|upstream| upstream.port = free_port());
    let output = scene.output(&["--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    for name in ["upstream-tls", "upstream-greeting", "login"] {
        let findings = report["findings"].as_array().unwrap();
        let found = findings.iter().find(|finding| finding["name"] == name).unwrap();
        assert_eq!(found["verdict"], "skipped", "{found:#}");
        assert_eq!(found["seen"], "not reached; see upstream-ports", "{found:#}");
    }
}
