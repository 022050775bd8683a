//! Clients that come through a proxy.

use std::net::Ipv4Addr;

use pillarbox::listener::Options;

use super::stage::{
    Certificate, Client, Door, Log, endpoint, let_others_work, network, options, with_tls,
};

/// PROXY, TCP over IPv4, from this client.
fn header(client: [u8; 4]) -> Vec<u8> {
    let head = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c";
    [&head[..], &client, &[127, 0, 0, 1], &[0xc0, 0x00, 0, 25]].concat()
}

const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";

/// Trusts 10.0.0.0/8 and loopback, from where the proxy connects.
fn behind_a_proxy() -> Options {
    let networks = vec![network(&["10.0.0.0/8", "127.0.0.0/8"])];
    Options { addresses: vec![endpoint(false, true)], networks, ..options() }
}

#[tokio::test]
async fn policy_places_and_trace_are_those_of_the_client_that_the_proxy_names() {
    let door = Door::open(Options { max_connections_per_client: 1, ..behind_a_proxy() });
    let mut trusted = door.client().await;
    trusted.send(header([10, 1, 2, 3])).await;
    trusted.expect("220").await;
    trusted.mail().await;
    let message = door.messages().await.remove(0);
    assert!(message.contains("10.1.2.3"), "{message}");

    let mut stranger = door.client().await;
    stranger.send(header([203, 0, 113, 5])).await;
    stranger.expect("220").await;
    stranger.say("EHLO x", "250").await;
    stranger.say("MAIL FROM:<a@b.example>", "550 5.7.1").await;

    let mut again = door.client().await;
    again.send(header([10, 1, 2, 3])).await;
    again.expect("421 4.7.0").await;
    again.expect_end().await;
    let known: Vec<_> = door.clients().iter().map(|client| client.address).collect();
    assert_eq!(known, [Ipv4Addr::new(203, 0, 113, 5), Ipv4Addr::new(10, 1, 2, 3)]);
}

#[tokio::test]
async fn header_and_first_bytes_of_tls_may_come_together() {
    let (certificate, issuer) = Certificate::new();
    let door =
        Door::open(Options { addresses: vec![endpoint(true, true)], ..with_tls(&certificate) });
    let mut client = door.client().await;
    client.send(header([127, 0, 0, 9])).await;
    let mut client = client.handshake(&issuer).await.unwrap();
    client.expect("220").await;
    client.mail().await;
}

#[tokio::test]
async fn a_proxy_that_looks_whether_we_live_is_greeted_but_not_trusted() {
    let door = Door::open(behind_a_proxy());
    let mut proxy = door.client().await;
    proxy.send(LOCAL).await;
    proxy.expect("220").await;
    proxy.say("EHLO x", "250").await;
    proxy.say("MAIL FROM:<a@b.example>", "550 5.7.1").await;
}

#[tokio::test]
async fn without_a_correct_header_there_is_no_greeting() {
    let (log, _guard) = Log::capture();
    let door = Door::open(behind_a_proxy());
    for bytes in [&b"EHLO client.example.org\r\n"[..], b"PROXY TCP4 10.1.2.3 10.0.0.1 12345 25\r\n"]
    {
        let mut client = door.client().await;
        client.send(bytes).await;
        assert_eq!(said_before_the_end(&mut client).await, "");
    }
    let_others_work().await;
    assert!(log.text().contains("no PROXY header, version 2"), "{}", log.text());
    let proxy = door.summary();
    assert_eq!((proxy.connections, proxy.no_proxy_headers, proxy.failed_handshakes), (0, 2, 0));
}

#[tokio::test]
async fn a_proxy_that_says_nothing_is_given_up() {
    let door = Door::open(behind_a_proxy());
    let mut silent = door.client().await;
    silent.send(&header([10, 1, 2, 3])[..20]).await;
    let began = door.now_ms();
    door.time_passes(silent.expect_end()).await;
    assert!(door.now_ms() - began >= 5_000);
}

/// A connection that is closed with bytes unread may be reset, which is as good here.
async fn said_before_the_end(client: &mut Client<tokio::net::TcpStream>) -> String {
    use tokio::io::AsyncReadExt as _;
    let mut said = Vec::new();
    super::stage::patiently(client.0.read_to_end(&mut said)).await.ok();
    String::from_utf8(said).unwrap()
}
