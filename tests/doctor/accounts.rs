//! Broken set-ups of a second account: its password, its token, its trust root, its provider, its sender. Each is told by its name, with what
//! mends that account and not the main one.

use std::fs;

use super::{
    scene::{Scene, write},
    setups::{expect_all, fail, warn},
    tokens::{HOUR, client_file, store_token},
};

/// The look-alike has a second account with these lines, which say how it logs in.
fn with_second(scene: &Scene, lines: &str) {
    let upstream = scene.gmail.upstream();
    let (host, port, ca_file) = (upstream.host, upstream.port, upstream.ca_file.unwrap());
    let trust = match lines.contains("ca_file") {
        true => String::new(),
        false => format!("ca_file = {:?}\n", ca_file.display().to_string()),
    };
    let text = fs::read_to_string(scene.home.config()).unwrap();
    let second = format!(
        "\n[[account]]\nname = \"second\"\nhost = {host:?}\nport = {port}\nehlo_name = \"relay.example.org\"\n\
         username = \"second@gmail.com\"\n{trust}{lines}\n[[route]]\nname = \"all\"\naccounts = [\"main\", \"second\"]\n"
    );
    fs::write(scene.home.config(), text + &second).unwrap();
}

const PASSWORD: &str = "password = \"abcd efgh ijkl mnop\"";

/// It logs in with a token that was changed so.
fn with_token(
    scene: &Scene,
    change: impl FnOnce(
        &mut pillarbox::delivery::oauth::token_file::Stored,
        pillarbox::clock::Timestamp,
    ),
) {
    client_file(scene);
    with_second(scene, "auth = \"oauth\"\noauth_client_file = \"client.json\"");
    store_token(scene, "oauth-token-second.json", |stored, now| {
        stored.username = "second@gmail.com".into();
        change(stored, now);
    });
}

#[test]
fn a_second_account_that_is_well_passes_every_check() {
    let scene = Scene::new();
    with_token(&scene, |_, _| ());
    let output = scene.output(&["--json", "--strict"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("second: given 1 h ago, no end is known"), "{text}");
}

#[test]
fn what_is_wrong_with_the_secrets_of_a_second_account_is_found_by_its_name() {
    expect_all(&[
        fail(
            "secret-files",
            "account second: there is no password file ",
            "install -m 0600 ",
            |scene| {
                with_second(scene, "password_file = \"second\"");
            },
        ),
        fail("secret-files", "account second: ", "chmod g-w,o-rw ", |scene| {
            with_second(scene, "password_file = \"second\"");
            write(&scene.home.path("second"), "abcdefghijklmnop\n", 0o644);
        }),
        fail("secret-files", "account second: second's ca_file ", "", |scene| {
            write(&scene.home.path("empty.pem"), "\n", 0o644);
            with_second(scene, &format!("{PASSWORD}\nca_file = \"empty.pem\""));
        }),
        fail(
            "secret-files",
            "account second: there is no token file ",
            "pillarbox auth google --account second",
            |scene| {
                client_file(scene);
                with_second(scene, "auth = \"oauth\"\noauth_client_file = \"client.json\"");
            },
        ),
    ]);
}

#[test]
fn what_is_wrong_with_the_token_of_a_second_account_is_found_by_its_name() {
    expect_all(&[
        fail(
            "tokens",
            "second: the token has ended",
            "pillarbox auth google --account second",
            |scene| {
                with_token(scene, |stored, now| {
                    stored.refresh_token_expires_at = Some(now.before(HOUR));
                });
            },
        ),
        warn(
            "tokens",
            "second: the token ends in ",
            "pillarbox auth google --account second",
            |scene| {
                with_token(scene, |stored, now| {
                    stored.refresh_token_expires_at = Some(now.after(20 * HOUR));
                });
            },
        ),
        fail("tokens", "second: the token does not allow mail", "--account second", |scene| {
            with_token(scene, |stored, _| stored.scope = Some("openid".into()));
        }),
        fail(
            "tokens",
            "second: the token is other@gmail.com's",
            "correct second's username",
            |scene| {
                with_token(scene, |stored, _| stored.username = "other@gmail.com".into());
            },
        ),
    ]);
}

#[test]
fn a_second_account_is_held_to_the_limits_of_its_own_provider() {
    let seen = "second: 5000 recipients a day may leave, and ";
    let remedy = "Lower recipients_per_day under the [[account]] second";
    expect_all(&[warn("provider", seen, remedy, |scene| {
        let lines = "provider = \"icloud\"\nrecipients_per_day = 5000\nowner_reserve = 0";
        with_second(scene, &format!("{PASSWORD}\n{lines}"));
    })]);
}

#[test]
fn a_second_account_that_keeps_the_sender_of_programs_is_found_by_its_name() {
    let seen = "second: mail is from whoever its program says";
    let remedy = "Write from = \"account\" under the [[account]] second";
    expect_all(&[warn("sender", seen, remedy, |scene| {
        with_second(scene, &format!("{PASSWORD}\nfrom = \"keep\""));
    })]);
    let scene = Scene::new();
    with_second(&scene, PASSWORD);
    let output = scene.output(&["--json", "--check", "sender"]);
    let text = String::from_utf8(output.stdout).unwrap();
    for words in ["main: all mail is from ", "second: all mail is from second@gmail.com"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}
