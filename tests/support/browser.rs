//! A browser of few words: one page, and the consent of an account's owner.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

/// How long a page may take; far more than it needs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Status line and header, and the page, of an address on this host.
pub(crate) fn browse(address: &str) -> (String, String) {
    let rest = address.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap());
    let path = if path.starts_with('?') { format!("/{path}") } else { path.to_owned() };
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (header, page) = answer.split_once("\r\n\r\n").unwrap();
    (header.to_owned(), page.to_owned())
}

/// Consents, and returns where the browser is sent.
pub(crate) fn consent(address: &str) -> String {
    let (header, page) = browse(address);
    let location = header.lines().find_map(|line| line.strip_prefix("location: "));
    location.unwrap_or_else(|| panic!("no consent: {header}\n{page}")).to_owned()
}
