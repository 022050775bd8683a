//! A session that follows the script.
//!
//! Rule: what a test ordered for a stage comes before everything that the stage would do by itself.
//! Must not know who ordered it.

use super::{
    script::{Failure, Stage},
    session::{Flow, Session},
    shared::Weight,
};

/// What a scripted failure makes of a stage.
pub(super) enum Ordered {
    /// Nothing, but perhaps the replies wait.
    Proceed(Flow),
    /// This happens instead of the usual.
    Instead(Flow),
    /// The message is stored first.
    StoreAndDrop(Flow),
}

impl Session {
    /// Follows what was ordered for this stage.
    pub(super) fn ordered(&mut self, stage: Stage) -> Ordered {
        // At RCPT only the one who is named counts.
        let said = match stage {
            Stage::Rcpt => self.said.lines().last().unwrap_or_default(),
            _ => self.said.as_str(),
        };
        let Some(failure) = self.shared.script.take(stage, said) else {
            return Ordered::Proceed(Flow::Continue);
        };
        match failure {
            Failure::Reply(text) => {
                self.raw_reply(stage, &text);
                Ordered::Instead(Flow::Continue)
            }
            Failure::ReplyAndClose(text) => {
                self.raw_reply(stage, &text);
                Ordered::Instead(Flow::Close)
            }
            Failure::Malformed(malformed) => {
                malformed.write(&mut self.output);
                self.tell(stage, Weight::Result, || format!("malformed reply {malformed:?}"));
                Ordered::Instead(Flow::Continue)
            }
            Failure::Drop => Ordered::Instead(self.drop_connection(stage)),
            Failure::StoreAndDrop => Ordered::StoreAndDrop(self.drop_connection(stage)),
            Failure::Hang => {
                self.tell(stage, Weight::Result, || "silent".to_owned());
                Ordered::Instead(Flow::Hang)
            }
            Failure::Delay(duration) => Ordered::Proceed(Flow::Pause(duration)),
        }
    }

    fn raw_reply(&mut self, stage: Stage, text: &str) {
        let text = text.replace("{id}", &self.id);
        for line in text.lines() {
            self.output.extend_from_slice(line.as_bytes());
            self.output.extend_from_slice(b"\r\n");
        }
        self.tell(stage, Weight::Result, || format!("scripted reply={text:?}"));
    }
}
