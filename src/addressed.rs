//! The name of the main account, and the texts that are about another one: its commands and its keys in the place of the main one's.
//!
//! Rule: pure. Texts are written as of the main account, and nowhere else made those of another one; one that is already is left
//! as it is. Must not know which accounts there are.

/// The account's name where there is only one, and of the one that `[upstream]` describes.
pub(crate) const MAIN: &str = "main";

/// Commands that are about the main account, or about all of them, without `--account`.
const COMMANDS: [&str; 7] = [
    "pillarbox resume",
    "pillarbox pause",
    "pillarbox budget",
    "pillarbox auth google",
    "pillarbox auth microsoft",
    "pillarbox auth status",
    "pillarbox auth revoke",
];
/// The sections of the main account, whose keys another one has in its own.
const SECTIONS: [&str; 3] = ["upstream", "budget", "identity"];
/// What helps the main account alone, and what stands in its place.
const OF_MAIN_ALONE: [(&str, &str); 3] = [
    ("run pillarbox setup, or: ", ""),
    ("run pillarbox setup --transport gmail-api, or write", "write"),
    ("Run: pillarbox setup --again --login oauth\n\nOr write", "Write"),
];

/// The text as it is about this account.
#[must_use]
pub(crate) fn addressed(text: &str, account: &str) -> String {
    if account == MAIN {
        return text.to_owned();
    }
    let replaced = |text: String, (of_main, other): &(&str, &str)| text.replace(of_main, other);
    let text = OF_MAIN_ALONE.iter().fold(text.to_owned(), replaced);
    let sections = SECTIONS.iter().fold(text, |text, section| {
        let text = text.replace(&format!("[{section}]"), &format!("the [[account]] {account}"));
        with_keys_of(&text, section, account)
    });
    with_account(&sections, account)
}

/// The same of its commands alone, also where the main account is named.
#[must_use]
pub(crate) fn with_account(text: &str, account: &str) -> String {
    let option = format!(" --account {account}");
    COMMANDS.iter().fold(text.to_owned(), |text, command| {
        let mut changed = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some(at) = rest.find(command) {
            let (before, after) = rest.split_at(at + command.len());
            changed += before;
            // Of a longer word, or of a command within that one, it is not.
            let is_other =
                after.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '-');
            if !is_other && !after.starts_with(" --account") {
                changed += &option;
            }
            rest = after;
        }
        changed + rest
    })
}

/// `upstream.host` becomes `second's host`; the name of a host that begins so stays.
fn with_keys_of(text: &str, section: &str, account: &str) -> String {
    let beginning = format!("{section}.");
    let mut changed = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(&beginning) {
        let (before, after) = (&rest[..at], &rest[at + beginning.len()..]);
        let length = after.find(|next: char| !is_of_key(next)).unwrap_or(after.len());
        let (key, behind) = after.split_at(length);
        let is_within = before.ends_with(|last: char| is_of_key(last) || "-.@/".contains(last));
        let mut next = behind.chars();
        let goes_on = match next.next() {
            Some('.') => next.next().is_some_and(char::is_alphanumeric),
            Some(next) => next.is_alphanumeric() || "-@/".contains(next),
            None => false,
        };
        changed += before;
        if key.is_empty() || is_within || goes_on {
            changed += &beginning;
        } else {
            changed += &format!("{account}'s ");
        }
        changed += key;
        rest = behind;
    }
    changed + rest
}

fn is_of_key(character: char) -> bool {
    character.is_ascii_lowercase() || matches!(character, '_' | '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_the_main_account_stays_and_one_of_another_has_its_commands_and_keys() {
        for (text, of_second) in [
            (
                "Run `pillarbox auth google` and log in as upstream.username. Then run `pillarbox resume`.",
                "Run `pillarbox auth google --account second` and log in as second's username. Then run `pillarbox resume \
                 --account second`.",
            ),
            (
                "Write port = 465 under [upstream]; see pillarbox budget",
                "Write port = 465 under the [[account]] second; see pillarbox budget --account second",
            ),
            (
                "raise budget.recipients_per_day, or compare upstream.oauth_client_* (upstream.host).",
                "raise second's recipients_per_day, or compare second's oauth_client_* (second's host).",
            ),
            (
                "on the first line of /x: run pillarbox setup, or: install -m 0600 /dev/stdin /x",
                "on the first line of /x: install -m 0600 /dev/stdin /x",
            ),
            (
                "HTTPS is open here: run pillarbox setup --transport gmail-api, or write transport under [upstream]",
                "HTTPS is open here: write transport under the [[account]] second",
            ),
            (
                "Run: pillarbox setup --again --login oauth\n\nOr write these lines under [upstream]",
                "Write these lines under the [[account]] second",
            ),
        ] {
            assert_eq!(addressed(text, MAIN), text);
            assert_eq!(addressed(text, "second"), of_second);
            assert_eq!(addressed(of_second, "second"), of_second, "twice is once");
        }
    }

    #[test]
    fn names_of_hosts_longer_commands_and_other_sections_stay() {
        for text in [
            "upstream.example.org does not answer; mail.upstream.org neither",
            "the upstream. Then look, at the upstream.",
            "pillarbox resumed; pillarbox status; [listener]; queue.max_bytes",
        ] {
            assert_eq!(addressed(text, "second"), text);
        }
    }
}
