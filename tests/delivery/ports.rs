//! The way to the upstream: the other port, the wrong kind of port, families of addresses.

use pillarbox::{
    delivery::{IpFamily, Tls, Way},
    queue::state::AccountCondition,
    shutdown::Phase,
};
use std::time::Duration;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::scene::{HOUR, MINUTE, Scene, eventually};

/// A port on which nobody listens.
async fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

/// Opens the port and leads its connections to `target`.
async fn lead(port: u16, target: std::net::SocketAddr) -> JoinSet<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut client, _)) = listener.accept().await {
            connections.spawn(async move {
                let mut server = TcpStream::connect(target).await.unwrap();
                drop(tokio::io::copy_bidirectional(&mut client, &mut server).await);
            });
        }
    });
    tasks
}

#[tokio::test]
async fn the_third_connection_that_cannot_be_made_takes_the_other_port_and_later_returns() {
    let mut scene = Scene::new().await;
    scene.options.connections = 1;
    scene.options.port = closed_port().await;
    let other = Way { port: scene.sandbox.implicit_address().port(), tls: Tls::Implicit };
    scene.options.other_way = Some(other);
    scene.start();
    let id = scene.submit(&["ok@example.net"]).await;
    for strikes in [1, 2] {
        eventually(
            "a strike",
            async || scene.handle().status().account.strikes == strikes,
            async || format!("{:?}", scene.handle().status()),
        )
        .await;
        let state = scene.until_account(AccountCondition::BackingOff).await;
        assert!(state.reason.contains(&format!("port {}", scene.options.port)), "{state:?}");
        scene.until_names(id, &["queued"]).await;
        scene.advance(strikes * MINUTE / 2).await;
    }
    scene.until_names(id, &["relayed"]).await;
    assert_eq!(scene.sandbox.mailbox().counters().connections, 1);

    // Within the hour the other port is used at once; after it the configured one, when it works again.
    scene.until_quiet().await;
    scene.advance(2 * MINUTE).await;
    let again = scene.submit(&["ok@example.net"]).await;
    scene.until_names(again, &["relayed"]).await;
    let _way = lead(scene.options.port, scene.sandbox.starttls_address()).await;
    let starttls = || {
        let commands = scene.sandbox.mailbox().last_commands();
        commands.iter().filter(|line| line.ends_with("STARTTLS")).count()
    };
    assert_eq!(starttls(), 0);
    scene.until_quiet().await;
    scene.advance(HOUR + MINUTE).await;
    let back = scene.submit(&["ok@example.net"]).await;
    scene.until_names(back, &["relayed"]).await;
    assert_eq!(starttls(), 1, "the configured way again");
}

#[tokio::test]
async fn without_leave_for_the_other_port_only_the_configured_one_is_tried() {
    let mut scene = Scene::new().await;
    scene.options.port = closed_port().await;
    scene.start();
    let id = scene.submit(&["ok@example.net"]).await;
    for strikes in 1..=4 {
        eventually(
            "a strike",
            async || scene.handle().status().account.strikes == strikes,
            async || format!("{:?}", scene.handle().status()),
        )
        .await;
        scene.advance(20 * MINUTE).await;
    }
    scene.until_names(id, &["queued"]).await;
    assert_eq!(scene.sandbox.mailbox().counters().connections, 0);
    scene.stop(Phase::Immediate).await;
}

#[tokio::test]
async fn a_greeting_in_plain_text_where_tls_begins_is_named_with_the_setting_to_change() {
    let mut scene = Scene::new().await;
    scene.options.tls = Tls::Implicit;
    scene.start();
    scene.submit(&["ok@example.net"]).await;
    let state = scene.until_account(AccountCondition::PausedConfiguration).await;
    assert!(state.reason.contains("plain text"), "{state:?}");
    assert!(state.remedy.contains("upstream.tls = \"starttls\""), "{state:?}");
}

#[tokio::test]
async fn tls_where_a_greeting_was_expected_is_named_with_the_setting_to_change() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut server = JoinSet::new();
    server.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        // A TLS server that is tired of waiting: alert, fatal, handshake failure.
        stream.write_all(&[0x15, 3, 1, 0, 2, 2, 40]).await.unwrap();
    });
    let scene = Scene::running(|options| options.port = port).await;
    scene.submit(&["ok@example.net"]).await;
    let state = scene.until_account(AccountCondition::PausedConfiguration).await;
    assert!(state.reason.contains("TLS from the first byte"), "{state:?}");
    assert!(state.remedy.contains("upstream.tls = \"implicit\""), "{state:?}");
}

#[tokio::test]
async fn silence_where_a_greeting_was_expected_backs_off_with_the_same_hint() {
    let mut scene = Scene::new().await;
    scene.options.port = scene.sandbox.implicit_address().port();
    scene.options.limits.command = Duration::from_millis(200);
    scene.start();
    scene.submit(&["ok@example.net"]).await;
    let state = scene.until_account(AccountCondition::BackingOff).await;
    assert!(state.remedy.contains("upstream.tls = \"implicit\""), "{state:?}");
}

#[tokio::test]
async fn an_upstream_without_an_address_of_the_wanted_family_is_temporary_trouble() {
    let scene = Scene::running(|options| {
        options.host = "127.0.0.1".into();
        options.ip_family = IpFamily::V6;
    })
    .await;
    scene.submit(&["ok@example.net"]).await;
    let state = scene.until_account(AccountCondition::BackingOff).await;
    assert!(state.reason.contains("IPv6") && state.reason.contains("ip_family"), "{state:?}");
    let scene = Scene::running(|options| options.ip_family = IpFamily::V4).await;
    let id = scene.submit(&["ok@example.net"]).await;
    scene.until_names(id, &["relayed"]).await;
}

#[tokio::test]
async fn a_name_that_cannot_be_resolved_is_temporary_trouble() {
    // A label of 64 letters fits in no question, so no name server is asked.
    let scene =
        Scene::running(|options| options.host = format!("{}.example", "x".repeat(64))).await;
    let id = scene.submit(&["ok@example.net"]).await;
    let state = scene.until_account(AccountCondition::BackingOff).await;
    assert!(state.reason.contains("resolved") || state.reason.contains("name server"), "{state:?}");
    assert!(state.remedy.contains("name server"), "{state:?}");
    scene.until_names(id, &["queued"]).await;
}

#[tokio::test]
async fn a_certificate_for_a_client_without_a_server_name_is_explained() {
    let mut scene = Scene::new().await;
    scene.options.host = "127.0.0.1".into();
    scene.start();
    scene.submit(&["ok@example.net"]).await;
    let state = scene.until_account(AccountCondition::PausedConfiguration).await;
    assert!(
        state.reason.contains("invalid2.invalid") && state.reason.contains("upstream.host"),
        "{state:?}"
    );
}
