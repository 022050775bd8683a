//! Broken set-ups of this machine and of the daemon. A row names the check that must find it, the words, and the remedy.

use std::{fs, net::TcpListener, os::unix::fs::symlink};

use serde_json::{Value, json};

use super::scene::{NOW, Scene, in_table, set_mode, write};

const HOUR: i64 = 3_600_000;

/// One thing that is wrong.
pub(super) struct SetUp {
    /// The check that must find it, and its verdict.
    pub(super) check: &'static str,
    pub(super) verdict: &'static str,
    /// Words of what was seen.
    pub(super) seen: &'static str,
    /// Words of the remedy.
    pub(super) remedy: &'static str,
    pub(super) spoil: fn(&mut Scene),
}

pub(super) const fn fail(
    check: &'static str,
    seen: &'static str,
    remedy: &'static str,
    spoil: fn(&mut Scene),
) -> SetUp {
    SetUp { check, verdict: "fail", seen, remedy, spoil }
}

pub(super) const fn warn(
    check: &'static str,
    seen: &'static str,
    remedy: &'static str,
    spoil: fn(&mut Scene),
) -> SetUp {
    SetUp { check, verdict: "warn", seen, remedy, spoil }
}

/// Spoils a scene, and expects that the check finds it and that nothing else does.
pub(super) fn expect(scene: &mut Scene, set_up: &SetUp) {
    assert_eq!(wrong(scene, set_up), None, "{}, {}", set_up.check, set_up.seen);
}

/// The same for all of them; what is wrong with one hides no other.
pub(super) fn expect_all(set_ups: &[SetUp]) {
    let wrong = set_ups.iter().filter_map(|set_up| {
        let what = wrong(&mut Scene::new(), set_up)?;
        Some(format!("{}, {}: {what}", set_up.check, set_up.seen))
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

fn wrong(scene: &mut Scene, set_up: &SetUp) -> Option<String> {
    let SetUp { check, verdict, seen, remedy, spoil } = set_up;
    spoil(scene);
    let output = scene.output(&["--json"]);
    let everything = [&output.stdout[..], &output.stderr[..]].concat();
    let everything = String::from_utf8_lossy(&everything);
    let Ok(report) = serde_json::from_slice::<Value>(&output.stdout) else {
        return Some(format!("no JSON: {everything}"));
    };
    let findings = report["findings"].as_array()?;
    let found = findings.iter().find(|finding| finding["name"] == *check)?;
    let has = |key: &str, words: &str| found[key].as_str().is_some_and(|text| text.contains(words));
    if found["verdict"] != *verdict || !has("seen", seen) || !has("remedy", remedy) {
        return Some(format!("it says {found}"));
    }
    if found["remedy"] == "" {
        return Some(format!("it has no remedy: {found:#}"));
    }
    let is_trouble = |finding: &&Value| {
        let name = &finding["name"];
        let is_known = name == check || name == "daemon" && !scene.has_daemon;
        !is_known && (finding["verdict"] == "fail" || finding["verdict"] == "warn")
    };
    if let Some(other) = findings.iter().find(is_trouble) {
        return Some(format!("more than that is found: {other}"));
    }
    let expected = match (scene.has_daemon, *verdict) {
        (false, _) => 69,
        (true, "fail") => 1,
        (true, _) => 0,
    };
    let code = output.status.code();
    if code != Some(expected) {
        return Some(format!("the exit code is {code:?}"));
    }
    let secrets = ["abcd efgh", "abcdefgh", "hunter2"];
    let shown = secrets.iter().find(|secret| everything.contains(**secret));
    shown.map(|secret| format!("{secret} is shown"))
}

#[test]
fn a_relay_that_is_well_passes_every_check() {
    let scene = Scene::new();
    let output = scene.output(&["--json", "--strict"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{report:#}");
    assert_eq!((&report["failed"], &report["warned"]), (&json!(0), &json!(0)), "{report:#}");
    let table = scene.output(&[]);
    let text = String::from_utf8(table.stdout).unwrap();
    assert!(text.contains("pass  login ") && !text.contains('\u{1b}'), "{text}");
}

#[test]
fn what_is_wrong_with_configuration_and_secrets_is_found_by_one_check_with_its_remedy() {
    expect_all(&[
        fail("configuration", "relay.toml, line 2: ", "Did you mean `host`?", |scene| {
            scene.configure("host = ", "hots = ");
            scene.arguments = vec!["--socket".into(), scene.home.socket().display().to_string()];
        }),
        fail("configuration", "cannot be read: ", "", |scene| {
            fs::remove_file(scene.home.config()).unwrap();
            fs::create_dir(scene.home.config()).unwrap();
            scene.arguments = vec!["--socket".into(), scene.home.socket().display().to_string()];
        }),
        fail("secret-files", "there is no password file ", "install -m 0600 ", |scene| {
            fs::remove_file(scene.password_file("", 0o600)).unwrap();
        }),
        fail("secret-files", "(mode 0644) is open to others", "chmod g-w,o-rw ", |scene| {
            scene.password_file("abcdefghijklmnop\n", 0o644);
        }),
        fail("secret-files", "its first line is empty", "app password", |scene| {
            scene.password_file("\n", 0o600);
        }),
        fail("secret-files", "is not a file", "app password", |scene| {
            let path = scene.password_file("", 0o600);
            fs::remove_file(&path).unwrap();
            fs::create_dir(&path).unwrap();
        }),
        fail(
            "secret-files",
            "there is no program no-such-program",
            "Write its whole path",
            |scene| {
                scene.configure(
                    "password = \"abcd efgh ijkl mnop\"",
                    "password_command = [\"no-such-program\"]",
                );
            },
        ),
        fail("secret-files", "upstream.ca_file ", "", |scene| {
            scene.upstream(|upstream| upstream.ca_file = Some("/nowhere/authority.pem".into()));
        }),
        fail("secret-files", "contains no certificate", "", |scene| {
            let file = scene.home.path("empty.pem");
            write(&file, "no certificate\n", 0o644);
            scene.upstream(|upstream| upstream.ca_file = Some(file));
        }),
        warn(
            "sender",
            "refuse a sender that does not belong to relay@gmail.com",
            "from = \"account\"",
            |scene| {
                scene.add("identity", "from = \"keep\"");
            },
        ),
        warn("provider", "iCloud Mail allows 1000", "recipients_per_day under [budget]", |scene| {
            scene.add("upstream", "provider = \"icloud\"");
            scene.add("budget", "recipients_per_day = 1001");
        }),
    ]);
}

/// A door with everything, its files in order.
fn door(scene: &Scene, until: i32) {
    let mut parameters = rcgen::CertificateParams::new(vec!["relay.example.org".into()]).unwrap();
    parameters.not_after = rcgen::date_time_ymd(until, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    write(&scene.home.path("relay.crt"), &certificate.pem(), 0o644);
    write(&scene.home.path("relay.key"), &key.serialize_pem(), 0o600);
    let hash = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$Ai6mmDI8mo+1ax9DX1rJWOIGiXVfYyT3aqFLnGK4Jqo";
    write(&scene.home.path("users"), &format!("printer:{hash}\n"), 0o600);
    scene.add(
        "listener",
        "tls_certificate = \"relay.crt\"\ntls_key = \"relay.key\"\nauthentication = \"optional\"\nusers_file = \"users\"",
    );
}

#[test]
fn what_is_wrong_with_the_door_is_found_by_one_check_with_its_remedy() {
    expect_all(&[
        warn("listener-certificate", "relay.crt ended at ", "Renew it", |scene| door(scene, 2001)),
        fail("listener-certificate", "does not belong to", "", |scene| {
            door(scene, 2199);
            let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
            write(&scene.home.path("relay.key"), &other, 0o600);
        }),
        fail(
            "listener-certificate",
            "everybody can read the private key",
            "chmod o-rwx ",
            |scene| {
                door(scene, 2199);
                set_mode(&scene.home.path("relay.key"), 0o644);
            },
        ),
        fail("users", "(mode 0644) is open to others", "chmod g-w,o-rw ", |scene| {
            door(scene, 2199);
            set_mode(&scene.home.path("users"), 0o644);
        }),
        warn("users", "nobody can log in", "pillarbox user add LOGIN", |scene| {
            door(scene, 2199);
            write(&scene.home.path("users"), "", 0o600);
        }),
    ]);
}

#[test]
fn what_is_wrong_with_the_addresses_is_found_by_one_check_with_its_remedy() {
    expect_all(&[
        fail(
            "listening-addresses",
            " is in use by exim4 (process 812)",
            "Stop that program",
            |scene| {
                let taken = TcpListener::bind("127.0.0.1:0").unwrap();
                let address = taken.local_addr().unwrap();
                // Held until the process of the test ends.
                std::mem::forget(taken);
                scene.has_daemon = false;
                scene.configure(&scene.home.smtp.to_string(), &address.to_string());
                let line = format!("0: {} 0:0 0A 0:0 0:0 0 0 0 4242 1 0\n", in_table(address));
                scene.on_machine("proc/net/tcp", &line);
                scene.on_machine("proc/812/comm", "exim4\n");
                scene.link("proc/812/fd/3", "socket:[4242]");
            },
        ),
        warn(
            "listening-addresses",
            "the daemon does not listen on 127.0.0.1:",
            "Restart it",
            |scene| {
                scene.listens_on(&[]);
            },
        ),
        warn(
            "listening-addresses",
            "nobody can log in",
            "authentication = \"required\"",
            |scene| {
                let everywhere = format!("0.0.0.0:{}", scene.home.smtp.port());
                scene.configure(&scene.home.smtp.to_string(), &everywhere);
                scene.listens_on(&[&everywhere]);
            },
        ),
        warn(
            "gateway-trust",
            "this host's gateway 192.168.1.1 is in a trusted network",
            "networks = [\"192.168.1.1\"]",
            |scene| {
                let inside = "192.168.1.5:2525";
                scene.configure(&scene.home.smtp.to_string(), inside);
                scene.add("listener", "trusted_networks = [\"192.168.1.0/24\"]");
                scene.listens_on(&[inside]);
                let gateway = u32::from_ne_bytes([192, 168, 1, 1]);
                let route =
                    format!("Iface\teth0\neth0 00000000 {gateway:08X} 0003 0 0 0 00000000 0 0 0\n");
                scene.on_machine("proc/net/route", &route);
            },
        ),
    ]);
}

#[test]
fn what_is_wrong_with_the_store_is_found_by_one_check_with_its_remedy() {
    expect_all(&[
        fail("store-directory", "is not a directory", "queue.directory", |scene| {
            fs::remove_dir_all(scene.home.state()).unwrap();
            write(scene.home.state(), "", 0o600);
        }),
        warn(
            "store-volume",
            "is on tmpfs, which is empty after a restart",
            "Mount a volume",
            |scene| {
                scene.mounted("/", "tmpfs");
            },
        ),
        warn(
            "store-volume",
            "which goes when its container is removed",
            "Mount a volume",
            |scene| {
                scene.mounted("/", "overlay");
            },
        ),
        warn("store-volume", "is on a volume without a name", "--volume pillarbox:", |scene| {
            let name = "0123456789abcdef".repeat(4);
            scene.mounted(&format!("/var/lib/docker/volumes/{name}/_data"), "ext4");
        }),
        warn("store-volume", "that goes with its pod", "persistentVolumeClaim", |scene| {
            scene.mounted("/var/lib/kubelet/pods/1/volumes/kubernetes.io~empty-dir/spool", "xfs");
        }),
        warn("store-volume", "a network file system", "local disk", |scene| {
            scene.mounted("/export", "nfs4");
        }),
        fail("store-space", "no mail is taken", "queue.min_free_bytes", |scene| {
            scene.add("queue", "min_free_bytes = \"1PiB\"");
        }),
        warn("set-aside-files", "2 files in ", "docs/operating.md", |scene| {
            scene.status["queue"]["set_aside"] = json!(2);
        }),
        warn("set-aside-files", "bad.*", "docs/operating.md", |scene| {
            scene.status["dropped"]["set_aside"] = json!(1);
        }),
        warn("set-aside-files", "1 file in ", "docs/operating.md", |scene| {
            scene.has_daemon = false;
            write(&scene.home.state().join("damaged/0a"), "", 0o600);
        }),
    ]);
}

#[test]
fn what_is_wrong_with_local_mail_is_found_by_one_check_with_its_remedy() {
    expect_all(&[
        fail("local-socket", "the daemon takes no mail on ", "systemctl restart", |scene| {
            scene.status["listening"] = json!([scene.home.smtp.to_string()]);
        }),
        fail(
            "local-socket",
            "is no socket: it takes no mail",
            "systemctl restart pillarbox",
            |scene| {
                write(&scene.home.submit_socket(), "", 0o666);
            },
        ),
        warn("drop-directory", "has mode 0755 and needs 3733", "chmod 3733 ", |scene| {
            set_mode(&scene.home.drop_directory(), 0o755);
        }),
        warn(
            "drop-directory",
            "is not there, so local mail has nowhere to go",
            "Restart",
            |scene| {
                fs::remove_dir(scene.home.drop_directory()).unwrap();
            },
        ),
        warn("drop-directory", "is on overlay, which goes", "sendmail.drop_directory", |scene| {
            scene.mounted_at(&scene.home.drop_directory(), "/", "overlay");
        }),
        warn("drop-directory", "7 messages in ", "log", |scene| {
            scene.status["dropped"]["waiting"] = json!(7);
        }),
        warn(
            "sendmail-program",
            "is /usr/sbin/exim4, so mail of this host's programs goes past",
            "Remove that",
            |scene| {
                scene.on_machine("usr/sbin/exim4", "");
                scene.link("usr/sbin/sendmail", "exim4");
            },
        ),
        warn(
            "sendmail-program",
            "/usr/lib/sendmail is /etc/ssmtp, so",
            "lead to this one",
            |scene| {
                scene.on_machine("etc/ssmtp", "");
                scene.link("etc/alternatives/mta", "/etc/ssmtp");
                scene.link("usr/lib/sendmail", "/etc/alternatives/mta");
            },
        ),
        warn(
            "sendmail-program",
            "leads to /usr/bin/gone, which is not there",
            "ln -sf ",
            |scene| {
                scene.link("usr/sbin/sendmail", "../bin/gone");
            },
        ),
        warn("sendmail-program", "leads to ", "ln -sf ", |scene| {
            scene.link("usr/sbin/sendmail", "sendmail");
        }),
    ]);
}

#[test]
fn what_is_wrong_with_those_who_are_told_is_found_by_one_check_with_its_remedy() {
    expect_all(&[
        warn("aliases", "has 1 problem: line 1: ", "", |scene| {
            write(&scene.home.path("aliases"), "root you@example.org\n", 0o644);
            scene.home_aliases("aliases");
        }),
        fail("aliases", "nobody reads mail for root", "set identity.admin", |scene| {
            scene.upstream(|upstream| upstream.login = None);
        }),
        fail("aliases", "cannot be read: ", "aliases_file = \"off\"", |scene| {
            scene.home_aliases("nowhere");
        }),
        warn(
            "aliases",
            "all mail, whoever it is for, goes to test@example.org",
            "Remove redirect_all",
            |scene| {
                scene.add("identity", "redirect_all = \"test@example.org\"");
            },
        ),
        fail("alert-path", "alert.command cannot be run: ", "chmod +x", |scene| {
            write(&scene.home.path("tell"), "#!/bin/sh\n", 0o644);
            let program = scene.home.path("tell").display().to_string();
            scene.configure("/bin/true", &program);
        }),
        warn("alert-path", "nobody hears of it", "under [alert]", |scene| {
            scene.configure("command = [\"/bin/true\"]", "");
        }),
        fail("alert-path", "is without an address", "[alert]", |scene| {
            write(&scene.home.path("webhook"), "hunter2\n", 0o600);
            scene.add("alert", "webhook_file = \"webhook\"");
        }),
    ]);
}

#[test]
fn what_is_wrong_with_clock_and_unit_is_found_by_one_check_with_its_remedy() {
    expect_all(&[
        warn("clock", "the clock is not synchronised", "timedatectl set-ntp true", |scene| {
            scene.without("run/systemd/timesync/synchronized");
            scene.program("timedatectl", "NTP=no\nNTPSynchronized=no\n");
        }),
        fail("unit", "is failed (failed): exit-code", "journalctl -u pillarbox.service", |scene| {
            unit(
                scene,
                "ActiveState=active\nSubState=running",
                "ActiveState=failed\nSubState=failed",
            );
        }),
        warn("unit", "its files have changed", "systemctl daemon-reload", |scene| {
            unit(scene, "NeedDaemonReload=no", "NeedDaemonReload=yes");
        }),
        warn("unit", "does not start with the machine", "systemctl enable", |scene| {
            unit(scene, "UnitFileState=enabled", "UnitFileState=disabled");
        }),
        warn("unit", "is masked", "systemctl unmask", |scene| {
            unit(scene, "LoadState=loaded", "LoadState=masked");
        }),
    ]);
}

fn unit(scene: &Scene, from: &str, to: &str) {
    let well = "LoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=enabled\n\
                DropInPaths=/etc/systemd/system/pillarbox.service.d/a.conf\nNeedDaemonReload=no\nNRestarts=0\n\
                Result=exit-code\n";
    assert!(well.contains(from));
    scene.program("systemctl", &well.replace(from, to));
}

#[test]
fn a_day_that_was_full_early_is_told_and_three_of_them_propose_a_limit() {
    expect_all(&[
        warn("budget", "after 430 recipients of 475; until", "what else uses", |scene| {
            scene.status["budget"]["early"] =
                json!({ "since": NOW - HOUR, "counted": 430, "allowed": 430, "until": NOW + HOUR });
        }),
        warn("budget", "on 3 of the last 30 days", "Set recipients_per_day = 455 in", |scene| {
            scene.status["budget"]["full_since"] = json!(NOW - HOUR);
            scene.status["budget"]["proposed"] =
                json!({ "days": 3, "counted": 433, "recipients_per_day": 455 });
        }),
    ]);
}

#[test]
fn what_the_daemon_says_of_itself_is_found_by_one_check_with_its_remedy() {
    expect_all(&[
        fail("daemon", "no daemon answers on ", "pillarbox run", |scene| scene.has_daemon = false),
        fail("daemon", "no mail is taken: the disk is full", "make room", |scene| {
            scene.status["refusing"] = json!({
                "everything": true, "failed": false, "what": "no mail is taken: the disk is full",
                "remedy": "make room",
            });
        }),
        warn("versions", "the daemon is version 0.0.9", "systemctl restart pillarbox", |scene| {
            scene.status["version"] = json!("0.0.9");
        }),
        fail("account", "paused-credentials since ", "Store a new app password", |scene| {
            account(
                scene,
                "paused-credentials",
                "535 5.7.8 \u{1b}[2JBadCredentials",
                "Store a new app password",
            );
            scene.login =
                json!({ "login": "left-out", "why": "the account is paused-credentials" });
        }),
        warn("account", "backing-off since ", "Check the network", |scene| {
            account(scene, "backing-off", "no route to host", "Check the network");
        }),
        warn("budget", "475 of 475 recipients spent", "pillarbox clients", |scene| {
            budget(scene, json!(475), json!(475), json!(NOW + HOUR));
        }),
        fail("budget", "leaves no room, ever", "budget.recipients_per_day", |scene| {
            budget(scene, json!(0), json!(0), Value::Null);
        }),
        warn("budget", "that the day is full", "what else uses the account", |scene| {
            scene.status["budget"]["full_since"] = json!(NOW - HOUR);
        }),
        warn(
            "oldest-message",
            "was accepted 3 d ago and waits: ",
            "pillarbox queue show ",
            |scene| {
                scene.status["queue"]["oldest"] =
                    json!({ "id": "0123456789ab0123456789ab00", "accepted_at": NOW - 72 * HOUR });
            },
        ),
        warn(
            "dead-letters",
            "2 recipients refused for good; the last: a@example.org: 550 5.1.1 no",
            "pillarbox dead list",
            |scene| {
                scene.status["queue"]["recipients"]["dead"] = json!(2);
                scene.status["refused"] = json!([{
                    "id": "0123456789ab0123456789ab00", "recipient": "a@example.org", "state": "dead",
                    "reply": "550 5.1.1 no",
                }]);
            },
        ),
        warn("dead-letters", "1 recipient held for a person", "queue list --state held", |scene| {
            scene.status["queue"]["recipients"]["held"] = json!(1);
        }),
        warn("unknown-replies", "3 refusals of the upstream", "docs/gmail.md", |scene| {
            scene.status["unknown_replies"] = json!(3);
        }),
    ]);
}

fn account(scene: &mut Scene, condition: &str, reason: &str, remedy: &str) {
    let account = &mut scene.status["account"];
    account["condition"] = json!(condition);
    account["reason"] = json!(reason);
    account["remedy"] = json!(remedy);
}

fn budget(scene: &mut Scene, limit: Value, spent: Value, frees_at: Value) {
    let budget = &mut scene.status["budget"];
    budget["limit"] = limit;
    budget["spent"] = spent;
    budget["room"] = json!(0);
    budget["frees_at"] = frees_at;
}

#[test]
fn one_check_is_run_alone_and_a_name_that_is_none_is_told_with_the_nearest() {
    let scene = Scene::new();
    let output = scene.output(&["--json", "--check", "clock", "--check", "aliases"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let names: Vec<&str> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["aliases", "clock"]);
    let output = scene.output(&["--check", "logins"]);
    let words = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{words}");
    assert!(words.contains("'login'"), "{words}");
}

#[test]
fn a_warning_fails_only_when_it_is_asked_to_and_a_missing_daemon_has_its_own_code() {
    let mut scene = Scene::new();
    scene.mounted("/", "tmpfs");
    assert_eq!(scene.output(&[]).status.code(), Some(0));
    assert_eq!(scene.output(&["--strict"]).status.code(), Some(1));
    scene.has_daemon = false;
    assert_eq!(scene.output(&[]).status.code(), Some(69));
    assert_eq!(scene.output(&["--check", "budget"]).status.code(), Some(69));
    assert_eq!(scene.output(&["--check", "clock"]).status.code(), Some(0), "nobody was needed");
}

#[test]
fn a_link_to_itself_in_the_queues_place_ends_the_check_all_the_same() {
    let scene = Scene::new();
    fs::remove_dir_all(scene.home.state()).unwrap();
    symlink(scene.home.state(), scene.home.state()).unwrap();
    let output = scene.output(&["--json", "--check", "store-directory"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_ne!(report["findings"][0]["verdict"], "pass", "{report:#}");
}
