//! The place of the documents on this machine, for texts that send a reader there.

use std::path::Path;

/// Where the Debian package puts them; elsewhere they are beside the source.
const INSTALLED: &str = "/usr/share/doc/pillarbox/docs/";
/// How texts name them.
const NAMED: &str = "docs/";

/// The text with each `docs/NAME.md` as the place where this machine has it.
#[must_use]
pub(crate) fn located(text: &str) -> String {
    if text.contains(NAMED) && Path::new(INSTALLED).is_dir() {
        located_below(INSTALLED, text)
    } else {
        text.to_owned()
    }
}

fn located_below(directory: &str, text: &str) -> String {
    let mut placed = String::with_capacity(text.len() + directory.len());
    let mut rest = text;
    while let Some(at) = rest.find(NAMED) {
        let (before, from) = rest.split_at(at);
        placed += before;
        // Part of a longer path is somebody else's directory.
        let within_path = before.ends_with(|c: char| c == '/' || c.is_alphanumeric());
        placed += if within_path { NAMED } else { directory };
        rest = &from[NAMED.len()..];
    }
    placed + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_is_sent_to_where_the_documents_are() {
        let place = |text| located_below("/usr/doc/", text);
        assert_eq!(place("see docs/a.md; docs/b.md, too"), "see /usr/doc/a.md; /usr/doc/b.md, too");
        assert_eq!(place("(docs/a.md)"), "(/usr/doc/a.md)");
        for other in ["/srv/docs/a.md", "mydocs/a.md", "no document"] {
            assert_eq!(place(other), other);
        }
    }
}
