//! A state directory, filled through the library and handled by the real binary.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Output,
    sync::Arc,
};

use pillarbox::{
    budget::AccountKey,
    clock::{Clock as _, ManualClock, Timestamp},
    message::envelope::{BodyKind, Envelope, Lane, LocalUser, Origin},
    queue::{
        Claim, ClaimLimits, Outcome, Queue, Settlement,
        id::QueueId,
        offline::{inspection::Inspection, portable::PortableMessage},
        options::Options,
        state::RecipientState,
    },
    smtp::dsn::{Content, Dsn, Notify, RecipientDsn},
};

use crate::support::daemon::pillarbox;

/// 2027-01-15T08:00:00Z.
pub(super) const NOW: Timestamp = Timestamp(1_800_000_000_000);

pub(super) struct Stage {
    directory: tempfile::TempDir,
    clock: ManualClock,
}

impl Stage {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("state")).unwrap();
        Self { directory, clock: ManualClock::new(NOW) }
    }

    pub(super) fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    pub(super) fn directory(&self) -> String {
        self.state().display().to_string()
    }

    /// A path beside the state directory.
    pub(super) fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// A file beside the state directory.
    pub(super) fn made(&self, name: &str, content: &[u8]) -> String {
        fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    pub(super) fn open(&self) -> Arc<Queue> {
        let mut options = Options::new(self.state());
        options.min_free_bytes = 0;
        Arc::new(Queue::open(options, Arc::new(self.clock.clone())).unwrap())
    }

    pub(super) async fn accept(
        &self,
        store: &Queue,
        envelope: Envelope,
        message: &[u8],
    ) -> QueueId {
        let mut draft = store.begin(envelope).unwrap();
        for block in message.chunks(1_000) {
            draft.write(block).await.unwrap();
        }
        let id = store.enqueue(draft).await.unwrap().id();
        // Asking makes sure that the record is there, too.
        assert!(store.show(id).await.unwrap().is_some());
        id
    }

    /// Claims the one message that is due and settles it.
    pub(super) async fn settle(&self, store: &Queue, id: QueueId, outcomes: Vec<(usize, Outcome)>) {
        let terms = ClaimLimits {
            account: AccountKey::MAIN,
            limit: pillarbox::budget::Limit::of(500),
            urgent_reserve: 0,
            notice_reserve: 0,
            recipients_max: 100,
        };
        let claim = store.claim_due(self.clock.now(), terms).await.unwrap();
        let Claim::Message(claimed) = claim else { panic!("{claim:?}") };
        assert_eq!(claimed.id, id);
        store
            .settle(id, Settlement { reservation: claimed.reservation, at: NOW, outcomes })
            .await
            .unwrap();
    }

    /// What is in the queue, in the order of acceptance.
    pub(super) fn carried(&self) -> Vec<PortableMessage> {
        if !self.state().join("spool").exists() {
            return Vec::new();
        }
        let inspection = Inspection::open(&self.state(), self.directory.path()).unwrap();
        assert_eq!(inspection.index_trouble(), None);
        inspection.messages().unwrap().into_iter().map(|id| inspection.take(id).unwrap()).collect()
    }

    pub(super) fn states(&self, id: QueueId) -> Vec<RecipientState> {
        let carried = self.carried();
        let found = carried.iter().find(|carried| carried.id == id).unwrap();
        found.recipients.iter().map(|recipient| recipient.state.clone()).collect()
    }

    /// `pillarbox store ARGUMENTS --directory STATE`.
    pub(super) fn run(&self, arguments: &[&str]) -> Output {
        let mut command = pillarbox();
        command.arg("store").args(arguments).arg("--directory").arg(self.state());
        command.env("PILLARBOX__QUEUE__MIN_FREE_BYTES", "0").current_dir(self.directory.path());
        command.env("TMPDIR", self.directory.path());
        command.output().unwrap()
    }

    pub(super) fn say(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", both(&output));
        words(&output.stdout)
    }

    pub(super) fn refused(&self, arguments: &[&str], code: i32) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", both(&output));
        both(&output)
    }

    /// Every file of the state directory with its content.
    pub(super) fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        collect(&self.state(), &mut found);
        found
    }

    /// The spool file of a message.
    pub(super) fn spool_file(&self, id: QueueId) -> PathBuf {
        let name = id.to_string();
        self.files().into_keys().find(|path| path.ends_with(&name)).unwrap()
    }
}

fn collect(directory: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
}

pub(super) fn words(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn both(output: &Output) -> String {
    words(&output.stdout) + &words(&output.stderr)
}

pub(super) fn envelope(recipients: &[&str]) -> Envelope {
    Envelope {
        reverse_path: "sender@x.example".parse().ok(),
        forward_paths: recipients.iter().map(|address| address.parse().unwrap()).collect(),
        body: BodyKind::SevenBit,
        internationalized: false,
        dsn: Dsn::default(),
        lane: Lane::Normal,
        origin: Origin {
            address: [192, 0, 2, 7].into(),
            helo: "printer cellar".into(),
            protocol: "ESMTP".into(),
            login: None,
            local: None,
        },
        accepted_at: NOW,
    }
}

/// Messages that formats of files are known to lose something of.
pub(super) fn awkward_messages() -> Vec<(Envelope, Vec<u8>)> {
    let plain = || envelope(&["a@x.example"]);
    let hundred: Vec<String> = (0..100).map(|number| format!("r{number}@x.example")).collect();
    let hundred: Vec<&str> = hundred.iter().map(String::as_str).collect();
    let notify = |success, failure, delay| Some(Notify { success, failure, delay });
    let asked = [
        (0, RecipientDsn { notify: notify(false, false, false), original_recipient: None }),
        (
            2,
            RecipientDsn {
                notify: notify(true, true, true),
                original_recipient: Some("rfc822;c d+e@x.example".into()),
            },
        ),
    ];
    let dsn = Dsn {
        content: Some(Content::Headers),
        envelope_id: Some("id with = and +".into()),
        recipients: asked.into(),
    };
    let mut with_dsn = envelope(&["a@x.example", "b@x.example", "c@x.example"]);
    with_dsn.dsn = dsn;
    let mut logged_in = envelope(&["\"q q\"@x.example", "bücher@bücher.example"]);
    (logged_in.internationalized, logged_in.body, logged_in.lane) =
        (true, BodyKind::EightBitMime, Lane::Urgent);
    logged_in.origin.login = Some("küche\r\nBcc: x@y.example".into());
    let mut local = plain();
    local.origin.local = Some(LocalUser { uid: 1_000, name: Some("alice".into()), claimed: true });
    let long = b"0123456789 abcdefghijklmnopqrstuvwxyz\r\n".repeat(20_000);
    vec![
        (plain(), b"Subject: plain\r\n\r\nHello.\r\n".to_vec()),
        (plain(), "Subject: ü\r\n\r\n\u{fe}\r\n".as_bytes().to_vec()),
        (plain(), b"Subject: octets\r\n\r\n\xff\x00\xfe\x80\r\n".to_vec()),
        (plain(), b"A: b\r\n\r\nFrom me\r\n>From you\r\n>>From x\r\n\r\nFrom y\r\n\r\n".to_vec()),
        (plain(), b"From the very beginning\r\n".to_vec()),
        (plain(), b"A: b\r\n\r\nno line end".to_vec()),
        (plain(), b"A: b\r\n\r\n".to_vec()),
        (plain(), b"A: b\r\n".to_vec()),
        (plain(), b"".to_vec()),
        (plain(), b"\r\n\r\n\r\n".to_vec()),
        (plain(), b"bare\nline\rends\r\r\n\nand more\r".to_vec()),
        (
            plain(),
            b"X-Envelope-Version: 1\r\nX-Envelope-To: <x@y.example>\r\nA: b\r\n\r\nexported once\r\n"
                .to_vec(),
        ),
        (Envelope { reverse_path: None, ..plain() }, b"Subject: a bounce\r\n\r\n".to_vec()),
        (envelope(&hundred), b"To: many\r\n\r\n".to_vec()),
        (with_dsn, b"A: b\r\n\r\n".to_vec()),
        (logged_in, b"A: b\r\n\r\n".to_vec()),
        (local, b"A: b\r\n\r\n".to_vec()),
        (plain(), long),
    ]
}
