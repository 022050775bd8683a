//! The queue in the form of Postfix's mailq, which people and monitors know.
//!
//! Rule: printed page by page. A message has its line, the reason it waits in parentheses, and a line for each recipient
//! who has not got it; the last line counts. Must not know where the messages come from.

use std::io::{self, Write};

use crate::{
    admin::api::Message,
    cli::screen::{clean, local_as_mailq},
    clock::Timestamp,
    wording::in_words,
};

/// Where the recipients stand, below the sender.
const INDENT: usize = 60;

/// The list, while it is printed.
#[derive(Debug, Default)]
pub(super) struct Mailq {
    requests: u64,
    octets: u64,
    is_own: bool,
}

impl Mailq {
    /// Of one user's messages. That he has none says nothing of the queue.
    pub(super) fn own() -> Self {
        Self { is_own: true, ..Self::default() }
    }

    /// Some messages.
    pub(super) fn page(
        &mut self,
        out: &mut dyn Write,
        messages: &[Message],
        now: Timestamp,
    ) -> io::Result<()> {
        for message in messages {
            if self.requests == 0 {
                writeln!(
                    out,
                    "{:<27} {:>10} {:<20} -Sender/Recipient-------",
                    "-Queue ID-", "--Size--", "----Arrival Time----"
                )?;
            } else {
                writeln!(out)?;
            }
            self.requests += 1;
            self.octets = self.octets.saturating_add(message.size_bytes);
            print(out, message, now)?;
        }
        Ok(())
    }

    /// What there was in all.
    pub(super) fn end(self, out: &mut dyn Write) -> io::Result<()> {
        if self.requests == 0 && self.is_own {
            return writeln!(out, "No message of yours is in the queue");
        }
        if self.requests == 0 {
            // The words that monitoring looks for since there is a mailq.
            return writeln!(out, "Mail queue is empty");
        }
        let (kilobytes, requests) = (self.octets.div_ceil(1024), self.requests);
        let plural = if requests == 1 { "" } else { "s" };
        writeln!(out, "\n-- {kilobytes} Kbytes in {requests} Request{plural}.")
    }
}

fn print(out: &mut dyn Write, message: &Message, now: Timestamp) -> io::Result<()> {
    let has = |state: &str| message.recipients.iter().any(|one| one.state == state);
    let mark = match (has("reserved"), has("held")) {
        (true, _) => "*",
        (false, true) => "!",
        (false, false) => "",
    };
    writeln!(
        out,
        "{:<27} {:>10} {:<20} {}",
        format!("{}{mark}", message.id),
        message.size_bytes,
        local_as_mailq(message.accepted_at),
        clean(message.from.as_deref().unwrap_or("MAILER-DAEMON"))
    )?;
    writeln!(out, "({})", clean(&in_words(message, now)))?;
    let waiting = message.recipients.iter().filter(|one| one.state != "relayed");
    waiting.into_iter().try_for_each(|one| writeln!(out, "{:INDENT$}{}", "", clean(&one.address)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp(1_800_014_400_000);

    fn message(state: &str, size: u64, from: Option<&str>) -> Message {
        let recipient = |address: &str, state: &str| {
            json!({
                "address": address, "state": state, "since": null, "next_attempt": null, "reason": "asked \u{1b}[2J",
                "attempts": 0, "last_reply": null,
            })
        };
        let document = json!({
            "id": "06hhgq2g000000005jfavybr78", "accepted_at": NOW.0, "from": from, "size_bytes": size, "lane": "normal",
            "eight_bit": false, "internationalized": false, "subject": "x", "departure": {
                "at": null, "because": if state == "held" { "held" } else { "turn" }, "why": "so it is", "account": null
            },
            "recipients": [recipient("boss@example.net", state), recipient("has@example.net", "relayed")],
        });
        serde_json::from_value(document).expect("a message of the API")
    }

    #[test]
    fn the_list_has_the_form_of_postfix_and_counts_at_its_end() {
        let mut out = Vec::new();
        let mut list = Mailq::default();
        let messages = [message("held", 1_025, Some("a@b.example")), message("queued", 1, None)];
        list.page(&mut out, &messages, NOW).expect("written");
        list.end(&mut out).expect("written");
        let text = String::from_utf8(out).expect("text");
        let text = text.replace(&local_as_mailq(NOW), "Fri Jan 15 12:00:00");
        let expected = "\
-Queue ID-                    --Size-- ----Arrival Time---- -Sender/Recipient-------
06hhgq2g000000005jfavybr78!       1025 Fri Jan 15 12:00:00  a@b.example
(held: asked \\u{1b}[2J; of 2: 1 relayed, 1 held)
                                                            boss@example.net

06hhgq2g000000005jfavybr78           1 Fri Jan 15 12:00:00  MAILER-DAEMON
(waits for its turn; of 2: 1 relayed)
                                                            boss@example.net

-- 2 Kbytes in 2 Requests.
";
        assert_eq!(text, expected);
        let mut nothing = Vec::new();
        Mailq::default().end(&mut nothing).expect("written");
        assert_eq!(nothing, b"Mail queue is empty\n");
        let mut nothing = Vec::new();
        Mailq::own().end(&mut nothing).expect("written");
        assert_eq!(
            nothing, b"No message of yours is in the queue\n",
            "a monitor must not take it for all"
        );
    }
}
