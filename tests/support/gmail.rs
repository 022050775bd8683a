//! The sandbox as a child process sees it: it lives in the test, survives every kill and forgets nothing.
//!
//! Rule: no limit of the account is ever the reason of a result, unless a test sets one.
//! Must not know what a test proves.

use std::{collections::HashMap, fs, sync::Arc};

use pillarbox::sandbox::{Accepted, Counters, Failure, Options, Sandbox, Stage};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{daemon::Upstream, submitter::Acknowledged};

/// More than any test sends.
const PLENTY: u32 = 1_000_000;

/// A running look-alike.
pub(crate) struct Gmail {
    runtime: Runtime,
    sandbox: Option<Sandbox>,
    directory: TempDir,
}

impl Gmail {
    /// Starts one without limits of its own.
    pub(crate) fn start() -> Self {
        Self::with(|_| ())
    }

    /// Starts one; `adjust` may change what it is told.
    pub(crate) fn with(adjust: impl FnOnce(&mut Options)) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let mut options = Options {
            recipients_per_day: PLENTY,
            logins_per_minute: PLENTY,
            connections_max: PLENTY,
            ..Options::default()
        };
        adjust(&mut options);
        let sandbox = runtime.block_on(Sandbox::start(options)).expect("the sandbox starts");
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::write(directory.path().join("authority.pem"), sandbox.certificate_authority_pem())
            .expect("a file");
        Self { runtime, sandbox: Some(sandbox), directory }
    }

    fn sandbox(&self) -> &Sandbox {
        self.sandbox.as_ref().expect("it runs until it is dropped")
    }

    /// What a configuration says about it.
    pub(crate) fn upstream(&self) -> Upstream {
        Upstream {
            host: "localhost".into(),
            port: self.sandbox().starttls_address().port(),
            tls: "starttls".into(),
            ca_file: Some(self.directory.path().join("authority.pem")),
            login: Some(("relay@gmail.com".into(), "abcd efgh ijkl mnop".into())),
        }
    }

    /// The same for its API, which takes tokens alone: who logs in is not said here.
    pub(crate) fn api(&self) -> Upstream {
        let port = self.sandbox().api_address().port();
        Upstream { port, tls: "auto".into(), login: None, ..self.upstream() }
    }

    /// Where its tokens come from.
    pub(crate) fn oauth_url(&self) -> String {
        self.sandbox().oauth_url()
    }

    /// Every token that was given is refused from now on.
    pub(crate) fn revoke_tokens(&self) {
        self.sandbox().revoke_all_tokens();
    }

    /// What always happens to the mail from or to somebody.
    pub(crate) fn strike(&self, whom: &str, stage: Stage, failure: Failure) {
        self.sandbox().strike(whom, stage, failure);
    }

    /// Takes that back.
    pub(crate) fn relent(&self, whom: &str) {
        self.sandbox().relent(whom);
    }

    /// What always happens at this stage.
    pub(crate) fn fail_always(&self, stage: Stage, failure: Failure) {
        self.sandbox().fail_always(stage, failure);
    }

    /// Nothing fails any more.
    pub(crate) fn forget_failures(&self) {
        self.sandbox().forget_failures();
    }

    /// Ends every connection.
    pub(crate) fn disconnect_all(&self) {
        self.sandbox().disconnect_all();
    }

    /// How often what happened there.
    pub(crate) fn counters(&self) -> Counters {
        self.sandbox().mailbox().counters()
    }

    /// Every message it took, in the order of their final dots.
    pub(crate) fn accepted(&self) -> Vec<Arc<Accepted>> {
        self.sandbox().mailbox().accepted()
    }

    /// Recipients that it took, all messages together.
    pub(crate) fn recipients(&self) -> usize {
        self.accepted().iter().map(|message| message.rcpt_to.len()).sum()
    }

    /// How often it said that the day is full.
    pub(crate) fn quota_refusals(&self) -> u64 {
        self.sandbox().mailbox().counters().quota_refusals
    }

    /// Copies of each message for each recipient.
    pub(crate) fn copies(&self) -> HashMap<(String, String), Vec<Arc<Accepted>>> {
        let mut copies: HashMap<_, Vec<Arc<Accepted>>> = HashMap::new();
        for message in self.accepted() {
            for recipient in &message.rcpt_to {
                let key = (message.message_id.clone().unwrap_or_default(), recipient.clone());
                copies.entry(key).or_default().push(Arc::clone(&message));
            }
        }
        copies
    }

    /// Which promises are still open: `message id to recipient`.
    pub(crate) fn missing<'a>(
        &self,
        promised: impl IntoIterator<Item = &'a Acknowledged>,
    ) -> Vec<String> {
        let copies = self.copies();
        let mut missing = Vec::new();
        for message in promised {
            for recipient in &message.recipients {
                if !copies.contains_key(&(message.message_id.clone(), recipient.clone())) {
                    missing
                        .push(format!("{} to {recipient} ({})", message.message_id, message.reply));
                }
            }
        }
        missing
    }

    /// Messages that arrived otherwise than they were sent: all octets must be there, unchanged, behind
    /// the fields added in front.
    pub(crate) fn altered(&self, sent: &[Acknowledged]) -> Vec<String> {
        let sent: HashMap<&str, &Acknowledged> =
            sent.iter().map(|message| (message.message_id.as_str(), message)).collect();
        let accepted = self.accepted();
        let differs = |arrived: &&Arc<Accepted>| {
            let original = sent.get(arrived.message_id.as_deref().unwrap_or_default());
            original.is_some_and(|original| !arrived.body.ends_with(&original.text))
        };
        accepted.iter().filter(differs).filter_map(|message| message.message_id.clone()).collect()
    }

    /// Copies beyond the first that no lost connection explains. A second copy is legitimate only when
    /// the one before was the last message of its connection: otherwise its reply had been read and its
    /// outcome been stored before the next message went out.
    pub(crate) fn unexplained_duplicates(&self) -> Vec<String> {
        let mut last_of_connection = HashMap::new();
        for (position, message) in self.accepted().iter().enumerate() {
            last_of_connection.insert(message.connection_number, position);
        }
        let position_of = |wanted: &Arc<Accepted>| {
            self.accepted().iter().position(|message| Arc::ptr_eq(message, wanted))
        };
        let mut unexplained = Vec::new();
        for ((message_id, recipient), copies) in
            self.copies().iter().filter(|(_, copies)| copies.len() > 1)
        {
            for copy in &copies[..copies.len() - 1] {
                if position_of(copy) != last_of_connection.get(&copy.connection_number).copied() {
                    unexplained
                        .push(format!("{message_id} to {recipient}: {} copies", copies.len()));
                }
            }
        }
        unexplained
    }

    /// Copies beyond the first, of all messages.
    pub(crate) fn duplicates(&self) -> usize {
        self.copies().values().map(|copies| copies.len() - 1).sum()
    }
}

impl Drop for Gmail {
    fn drop(&mut self) {
        if let Some(sandbox) = self.sandbox.take() {
            // Its tasks belong to the runtime.
            let _entered = self.runtime.enter();
            drop(sandbox);
        }
    }
}
