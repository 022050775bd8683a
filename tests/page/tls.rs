//! The page over TLS of its own, asked by curl.

use std::{fs, io::Write as _, net::TcpStream, process::Command};

use super::Stage;
use crate::support::daemon::{Home, Upstream};

/// A daemon whose page shows the listener's certificate.
struct Encrypted {
    stage: Stage,
    directory: tempfile::TempDir,
}

impl Encrypted {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let [certificate, key] = ["cert.pem", "key.pem"].map(|name| directory.path().join(name));
        fs::write(&certificate, made.cert.pem()).expect("written");
        fs::write(&key, made.signing_key.serialize_pem()).expect("written");
        let home = Home::new(&Upstream::nobody())
            .environment("PILLARBOX__LISTENER__TLS_CERTIFICATE", &certificate.display().to_string())
            .environment("PILLARBOX__LISTENER__TLS_KEY", &key.display().to_string())
            .environment("PILLARBOX__ADMIN__PAGE_TLS", "true");
        Self { stage: Stage::with(home), directory }
    }

    /// Head and body of an answer.
    fn curl(&self, arguments: &[&str], path: &str) -> String {
        let [certificate, jar] = ["cert.pem", "jar"].map(|name| self.directory.path().join(name));
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--include", "--max-time", "20", "--noproxy", "*"])
            .arg("--cacert")
            .arg(certificate)
            .arg("--cookie")
            .arg(&jar)
            .arg("--cookie-jar")
            .arg(&jar)
            .args(arguments)
            .arg(format!("https://localhost:{}{path}", self.stage.page.port()))
            .output()
            .expect("curl");
        let words = String::from_utf8([output.stdout, output.stderr].concat()).expect("text");
        assert!(output.status.success(), "{words}");
        words
    }
}

#[test]
fn a_link_is_for_https_and_its_session_never_leaves_it() {
    let encrypted = Encrypted::new();
    let (stage, port) = (&encrypted.stage, encrypted.stage.page.port());
    assert!(encrypted.curl(&[], "/").starts_with("HTTP/1.1 401"));
    let link = stage.json(&["page"])["url"].as_str().expect("a link").to_owned();
    let path = link.strip_prefix(&format!("https://127.0.0.1:{port}")).expect("https").to_owned();
    let asked = encrypted.curl(&[], &path);
    assert!(asked.contains("Open the page"), "{asked}");
    let (origin, field) =
        (format!("Origin: https://localhost:{port}"), path.replace("/enter?", ""));
    let of_http = format!("Origin: http://localhost:{port}");
    let refused = encrypted.curl(&["--header", &of_http, "--data", &field], "/enter");
    assert!(refused.starts_with("HTTP/1.1 403"), "a form that came in the clear: {refused}");
    let entered = encrypted.curl(&["--header", &origin, "--data", &field], "/enter");
    assert!(entered.starts_with("HTTP/1.1 303"), "{entered}");
    let cookie = entered.lines().find(|line| line.starts_with("set-cookie: ")).expect("a cookie");
    assert!(cookie.starts_with("set-cookie: __Host-pillarbox="), "{cookie}");
    assert!(cookie.ends_with("; Secure"), "{cookie}");
    assert!(encrypted.curl(&[], "/queue").starts_with("HTTP/1.1 200"));
}

#[test]
fn whoever_does_not_speak_tls_hears_nothing_and_holds_nobody_up() {
    let encrypted = Encrypted::new();
    let mut silent = Vec::new();
    for words in ["", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "\x16\x03\x01"] {
        let mut stream = TcpStream::connect(encrypted.stage.page).expect("a connection");
        stream.write_all(words.as_bytes()).expect("sent");
        silent.push(stream);
    }
    assert!(encrypted.curl(&[], "/").starts_with("HTTP/1.1 401"));
}
