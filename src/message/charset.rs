//! Charsets by the names that mail programs give them.

use encoding_rs::{Encoding, REPLACEMENT};

/// Names of charsets that the standard of the web does not list, and what it calls them.
const OTHER_NAMES: [(&str, &str); 12] = [
    ("cp932", "shift_jis"),
    ("cp936", "gbk"),
    ("ms936", "gbk"),
    ("windows-936", "gbk"),
    ("euc-cn", "gbk"),
    ("euccn", "gbk"),
    ("cp949", "euc-kr"),
    ("uhc", "euc-kr"),
    ("euckr", "euc-kr"),
    ("cp950", "big5"),
    ("eucjp", "euc-jp"),
    ("latin-1", "iso-8859-1"),
];

/// The charset of this name, when it is one that we can read.
pub(super) fn known(name: &[u8]) -> Option<&'static Encoding> {
    let name = name.trim_ascii().to_ascii_lowercase();
    let other = OTHER_NAMES.iter().find(|(known, _)| known.as_bytes() == name);
    let found = Encoding::for_label(other.map_or(&name, |(_, label)| label.as_bytes()))
        .or_else(|| Encoding::for_label(&[b"windows-", name.strip_prefix(b"cp")?].concat()))
        .or_else(|| Encoding::for_label(&[b"windows-", name.strip_prefix(b"win-")?].concat()));
    found.filter(|encoding| *encoding != REPLACEMENT)
}

/// Octets in a charset, as text.
pub(super) fn decoded(encoding: &'static Encoding, octets: &[u8]) -> String {
    encoding.decode_without_bom_handling(octets).0.into_owned()
}
