//! Names that only certain files may use: one row a rule, with its reason.

use super::source::{CodePath, Source, paths};

/// One rule: within `scope`, nothing but `allowed` may use any of `patterns`.
pub(super) struct Ban {
    /// Beginning of the paths that the rule looks at; [`EVERYWHERE`] for all of the program and the packages beside it.
    scope: &'static str,
    /// What must not be used.
    patterns: &'static [Pattern],
    /// Files that may; a trailing `*` stands for any ending.
    allowed: &'static [&'static str],
    /// Why.
    reason: &'static str,
}

enum Pattern {
    /// A path that starts so, such as `tokio` or `std::fs`.
    Root(&'static str),
    /// A path with these segments side by side, such as `Instant::now` however it was imported.
    Segments(&'static str),
    /// A piece of code, such as `.expose(`.
    Code(&'static str),
}

use Pattern::{Code, Root, Segments};

const IO: &[Pattern] = &[
    Root("tokio"),
    Root("tokio_rustls"),
    Root("async_trait"),
    Root("std::fs"),
    Root("std::env"),
    Root("std::process"),
    Root("std::thread"),
    Root("std::net::TcpStream"),
    Root("std::net::TcpListener"),
    Root("std::net::UdpSocket"),
    Segments("TcpStream"),
    Segments("fs::File"),
    Code("async fn"),
    Code(".await"),
];

const EVERYWHERE: &str = "";
const PURE: &str = "invariant 1: protocol, message and budget do no I/O and import no runtime";

pub(super) const BANS: &[Ban] = &[
    Ban { scope: "crates/smtp/src", patterns: IO, allowed: &[], reason: PURE },
    Ban { scope: "src/message", patterns: IO, allowed: &[], reason: PURE },
    Ban { scope: "src/budget", patterns: IO, allowed: &[], reason: PURE },
    Ban {
        scope: EVERYWHERE,
        patterns: &[
            Segments("SystemTime::now"),
            Segments("Instant::now"),
            Segments("Zoned::now"),
            Segments("Timestamp::now"),
            Segments("Utc::now"),
            Segments("Local::now"),
            Segments("clock_gettime"),
            Root("std::time::Instant"),
        ],
        allowed: &["src/clock.rs", "crates/sandbox/src/clock.rs"],
        reason: "invariant 9: time enters through clock.rs, so that tests can advance it",
    },
    Ban {
        scope: EVERYWHERE,
        patterns: &[Code(".expose("), Segments("Secret::expose")],
        allowed: &[
            // To the upstream.
            "src/delivery/credential.rs",
            "src/delivery/bearer.rs",
            // Those of our clients, to be hashed.
            "src/listener/users.rs",
            // To the fleet's database.
            "src/fleet/link.rs",
            // To the token endpoint, as a request or as a signature.
            "src/delivery/oauth/exchange.rs",
            "src/delivery/oauth/service_account.rs",
            // To the other hosts of a fleet: the token, sealed, with a key that is derived from the others.
            "src/delivery/oauth/seal.rs",
            // The webhook's address, to be read as an address, which prints its host alone.
            "src/settings/alert.rs",
            // To the disk, in a file of mode 0600.
            "src/delivery/oauth/token_file.rs",
            "src/cli/setup/deed.rs",
            // A visitor of the page: his link, his cookie and his forms; of what is kept, to be hashed.
            "src/admin/page.rs",
            "src/admin/sessions.rs",
            "src/page/visitor.rs",
        ],
        reason: "invariant 9: secrets leave through the files named for it",
    },
    Ban {
        scope: EVERYWHERE,
        patterns: &[Root("sled")],
        allowed: &["src/queue/sled_*"],
        reason: "invariant 7: the index is a trait; its files know what is below it",
    },
    Ban {
        scope: "src/queue",
        patterns: &[Segments("offline")],
        allowed: &[
            "src/queue/offline/*",
            // A test, of schedules that come in with a message.
            "src/queue/holding/schedules.rs",
        ],
        reason: "the running queue knows nothing of what is done with a queue that no daemon has",
    },
    Ban {
        scope: EVERYWHERE,
        patterns: &[Root("lettre")],
        allowed: &["src/message/notice.rs"],
        reason: "invariant 7: of lettre only its message builder is used, never a connection: its limits come after its buffers",
    },
    Ban {
        scope: "src/listener",
        patterns: &[
            Segments("AsyncReadExt"),
            Segments("AsyncBufReadExt"),
            Segments("AsyncWriteExt"),
            Segments("BufReader"),
            Code(".try_read("),
            Code(".try_read_buf("),
        ],
        // The player is the client of a pipe within the process; no socket is at its end.
        allowed: &["src/listener/drop_directory/replay.rs", "src/listener/stream.rs"],
        reason: "invariant 7: one file reads client sockets, with its limits and timeouts",
    },
    Ban {
        scope: EVERYWHERE,
        patterns: &[Segments("tokio::spawn"), Segments("task::spawn")],
        allowed: &[],
        reason: "a task belongs to a JoinSet whose owner waits for it",
    },
];

/// Uses that a rule does not allow.
pub(super) fn forbidden_uses(source: &Source) -> Vec<String> {
    let used = paths(&source.product_code);
    let mut found = Vec::new();
    for ban in BANS.iter().filter(|ban| ban.looks_at(&source.path)) {
        for pattern in ban.patterns {
            for (line, what) in pattern.uses(&source.product_code, &used) {
                found.push(format!(
                    "{}:{line}: `{what}` is not for this file: {}",
                    source.path, ban.reason
                ));
            }
        }
    }
    found
}

impl Ban {
    fn looks_at(&self, path: &str) -> bool {
        let within = path
            .strip_prefix(self.scope)
            .is_some_and(|rest| self.scope == EVERYWHERE || rest.starts_with('/') || rest == ".rs");
        let allowed = |name: &&str| match name.strip_suffix('*') {
            Some(beginning) => path.starts_with(beginning),
            None => path == *name,
        };
        within && !self.allowed.iter().any(allowed)
    }
}

impl Pattern {
    /// Line and text of each use.
    fn uses(&self, code: &str, paths: &[CodePath]) -> Vec<(usize, String)> {
        let wanted: Vec<&str> = match self {
            Root(text) | Segments(text) => text.split("::").collect(),
            Code(text) => {
                let lines = code.lines().enumerate().filter(|(_, line)| line.contains(text));
                return lines.map(|(number, _)| (number + 1, (*text).to_owned())).collect();
            }
        };
        let matches = |path: &&CodePath| match self {
            Root(_) => starts_with(&path.segments, &wanted),
            _ => (0..path.segments.len()).any(|at| starts_with(&path.segments[at..], &wanted)),
        };
        paths.iter().filter(matches).map(|path| (path.line, path.segments.join("::"))).collect()
    }
}

fn starts_with(segments: &[String], wanted: &[&str]) -> bool {
    segments.len() >= wanted.len() && segments.iter().zip(wanted).all(|(have, want)| have == want)
}
