//! Every flag of docs/sendmail.md, and the command lines of real callers.

use super::*;

fn parse(line: &[&str]) -> Flags {
    Flags::parse(Role::Sendmail, Spelling::Name, line.iter().map(|word| (*word).to_owned()))
}

/// The recipients of a line that must be understood without a warning.
#[track_caller]
fn quiet(line: &[&str]) -> Flags {
    let flags = parse(line);
    assert_eq!(flags.warnings, Vec::<String>::new(), "{line:?}");
    flags
}

#[test]
fn the_command_lines_of_real_callers_are_understood() {
    let nobody: &[&str] = &[];
    for (line, recipients, from_header, sender, full_name) in [
        (
            &["-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root"][..],
            &["root"][..],
            false,
            None,
            Some("CronDaemon"),
        ),
        (&["-FAnacron", "-odi", "root"], &["root"], false, None, Some("Anacron")),
        (&["-FCronDaemon", "-odi", "-oem"], nobody, false, None, Some("CronDaemon")),
        (
            &["-FCronDaemon", "-i", "-odi", "-oem", "-oi", "-t", "-f", "joe"],
            nobody,
            true,
            Some("joe"),
            Some("CronDaemon"),
        ),
        (&["-i", "-t"], nobody, true, None, None),
        (&["-oi", "-f", "root@host", "-t"], nobody, true, Some("root@host"), None),
        (&["-i", "--", "root"], &["root"], false, None, None),
        (
            &["-i", "-f", "me@x.y", "--", "a@b.c", "bcc@b.c"],
            &["a@b.c", "bcc@b.c"],
            false,
            Some("me@x.y"),
            None,
        ),
        (&["-oem", "-oi", "--", "a@b.c"], &["a@b.c"], false, None, None),
        (&["-t", "-i", "-fx@y.z"], nobody, true, Some("x@y.z"), None),
        (&["-oi", "-fx@y.z", "-t"], nobody, true, Some("x@y.z"), None),
        (&["-fx@y.z"], nobody, false, Some("x@y.z"), None),
        (&["-f", "e@b.c", "-i", "a@b.c", "h@b.c"], &["a@b.c", "h@b.c"], false, Some("e@b.c"), None),
        (&["-t"], nobody, true, None, None),
        (
            &["-f", "<fail2ban>", "root@localhost"],
            &["root@localhost"],
            false,
            Some("fail2ban"),
            None,
        ),
        (&["root"], &["root"], false, None, None),
        (&["-oi"], nobody, false, None, None),
        (&["-oi", "-t", "-f", "x"], nobody, true, Some("x"), None),
    ] {
        let flags = quiet(line);
        assert_eq!(flags.mode, Mode::Send, "{line:?}");
        assert_eq!(flags.recipients, recipients, "{line:?}");
        assert_eq!(flags.from_header, from_header, "{line:?}");
        assert_eq!(flags.sender.as_deref(), sender, "{line:?}");
        assert_eq!(flags.full_name.as_deref(), full_name, "{line:?}");
    }
}

#[test]
fn each_flag_takes_its_value_and_leaves_the_recipient() {
    for (line, expected) in [
        (&["-i"][..], "ignore_dots"),
        (&["-oi"], "ignore_dots"),
        (&["-o", "i"], "ignore_dots"),
        (&["-ti"], "ignore_dots from_header"),
        (&["-it"], "ignore_dots from_header"),
        (&["-tv"], "from_header verbose"),
        (&["-v"], "verbose"),
        (&["-bm"], ""),
        (&["-b", "m"], ""),
        (&["-B", "8BITMIME"], ""),
        (&["-B7BIT"], ""),
        (&["-O", "DeliveryMode=b"], ""),
        (&["-OQueueDirectory=/tmp"], ""),
        (&["-O", "QueueDirectory=/tmp"], ""),
        (&["-oQ/tmp"], ""),
        (&["-oMrSMTP"], ""),
        (&["-odb"], ""),
        (&["-o7"], ""),
        (&["-C/etc/passwd"], ""),
        (&["-C", "/etc/passwd"], ""),
        (&["-X/tmp/log"], ""),
        (&["-X", "/tmp/log"], ""),
        (&["-em"], ""),
        (&["-e", "m"], ""),
        (&["-Am"], ""),
        (&["-Ac"], ""),
        (&["-G"], ""),
        (&["-h", "5"], ""),
        (&["-h5"], ""),
        (&["-L", "tag"], ""),
        (&["-Ltag"], ""),
        (&["-m"], ""),
        (&["-n"], ""),
        (&["-U"], ""),
        (&["-d0.4"], ""),
        (&["-d"], ""),
        (&["-p", "SMTP:host"], ""),
        (&["-pSMTP"], ""),
        (&["-x"], ""),
        (&["-q15m"], ""),
        (&["-q"], ""),
    ] {
        for (before, after) in [(line, &["a@b"][..]), (&["a@b"], line)] {
            let whole: Vec<&str> = before.iter().chain(after).copied().collect();
            // The value of a glued option at the end must not be missing.
            let flags = quiet(&whole);
            let mut set = Vec::new();
            for (name, is_set) in [
                ("ignore_dots", flags.ignore_dots),
                ("from_header", flags.from_header),
                ("verbose", flags.verbose),
            ] {
                if is_set {
                    set.push(name);
                }
            }
            assert_eq!(set.join(" "), expected, "{whole:?}");
            assert_eq!(
                (flags.recipients, flags.mode),
                (vec!["a@b".to_owned()], Mode::Send),
                "{whole:?}"
            );
        }
    }
}

#[test]
fn the_sender_may_be_empty() {
    for line in [&["-f", ""][..], &["-f", "<>"], &["-f<>"], &["-r", "<>"]] {
        let flags = quiet(&[line, &["a@b"]].concat());
        assert_eq!((flags.sender.as_deref(), flags.recipients.len()), (Some(""), 1), "{line:?}");
    }
    assert_eq!(quiet(&["-rx@y", "a@b"]).sender.as_deref(), Some("x@y"));
}

#[test]
fn what_is_asked_of_notices_is_kept() {
    let delay = Notify { failure: true, delay: true, ..Notify::default() };
    for (line, notify) in [
        (&["-N", "never"][..], Notify::default()),
        (&["-Nnever"], Notify::default()),
        (&["-N", "failure,delay"], delay),
        (&["-Nsuccess,delay,failure"], Notify { success: true, ..delay }),
    ] {
        let flags = quiet(&[line, &["a@b"]].concat());
        assert_eq!((flags.notify, flags.recipients.len()), (Some(notify), 1), "{line:?}");
    }
    for line in [&["-R", "hdrs", "-V", "id 1", "a@b"][..], &["-Rhdrs", "-Vid 1", "a@b"]] {
        let flags = quiet(line);
        assert_eq!(
            (flags.content, flags.envelope_id.as_deref()),
            (Some(Content::Headers), Some("id 1"))
        );
    }
    let flags = parse(&["-N", "sometimes", "-R", "half", "-V", "\u{e9}", "a@b"]);
    assert_eq!((flags.notify, flags.content, flags.envelope_id), (None, None, None));
    assert_eq!((flags.warnings.len(), flags.recipients.len()), (3, 1));
}

#[test]
fn every_mode_has_its_flag_and_its_name() {
    for (line, mode) in [
        (&["-bs"][..], Mode::Dialogue),
        (&["-bs", "-odb", "-oem"], Mode::Dialogue),
        (&["-bp"], Mode::Queue),
        (&["-bi"], Mode::Aliases),
        (&["-I"], Mode::Aliases),
        (&["-bv"], Mode::Explain),
        (&["-bt"], Mode::Explain),
        (&["-bd"], Mode::Daemon("-bd".into())),
        (&["-bD"], Mode::Daemon("-bD".into())),
        (&["-bl"], Mode::Daemon("-bl".into())),
        (&["-D"], Mode::Daemon("-D".into())),
        (&["-bd", "-q15m"], Mode::Daemon("-bd".into())),
        (&["-q"], Mode::Retry(None)),
        (&["-qf"], Mode::Retry(None)),
        (&["-qR", "example.org"], Mode::Retry(None)),
        (&["-qI", "0abc"], Mode::Retry(Some("0abc".into()))),
        (&["-qI0abc"], Mode::Retry(Some("0abc".into()))),
        (&["--help"], Mode::Help),
        // A message beats a run of the queue.
        (&["-q", "-t"], Mode::Send),
    ] {
        assert_eq!(quiet(line).mode, mode, "{line:?}");
    }
    let named = |role| Flags::parse(role, Spelling::Name, ["-v".to_owned()]).mode;
    assert_eq!((named(Role::Mailq), named(Role::Newaliases)), (Mode::Queue, Mode::Aliases));
}

#[test]
fn what_nobody_knows_is_told_and_loses_nothing() {
    for line in [&["-Zbd", "a@b"][..], &["a@b", "--frobnicate"], &["-by", "a@b"], &["a@b", "-f"]] {
        let flags = parse(line);
        assert_eq!(
            (flags.mode, flags.recipients),
            (Mode::Send, vec!["a@b".to_owned()]),
            "{line:?}"
        );
        assert_eq!(flags.warnings.len(), 1, "{line:?}");
    }
    assert_eq!(quiet(&["--", "-t", "-x"]).recipients, ["-t", "-x"]);
    assert_eq!(quiet(&["-", "a@b"]).recipients, ["-", "a@b"]);
}

#[test]
fn our_own_words_count_only_for_whoever_means_us() {
    for line in [
        ["--config", "c", "--host", "h:25", "a@b"],
        ["--config=c", "--host=h:25", "a@b", "-v", "-i"],
    ] {
        let words = || line.iter().map(|word| (*word).to_owned());
        let flags = Flags::parse(Role::Sendmail, Spelling::Subcommand, words());
        assert_eq!((flags.config, flags.destination), (Some("c".into()), Some("h:25".into())));
        let flags = Flags::parse(Role::Sendmail, Spelling::Name, words());
        assert_eq!((flags.config, flags.destination, flags.warnings.len()), (None, None, 2));
        assert_eq!(flags.recipients, ["a@b"]);
    }
    let twice = ["--host", "mine:25", "--host", "theirs:25"].map(str::to_owned);
    let flags = Flags::parse(Role::Sendmail, Spelling::Subcommand, twice);
    assert_eq!(flags.destination.as_deref(), Some("mine:25"));
}
