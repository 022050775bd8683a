//! The characters that raw octets in a header stand for.
//!
//! Rule: UTF-8 where they are that, else the charset that the message declares, else windows-1252, which is Latin-1 with
//! what people put into it. No octet is ever lost. Must not know what becomes of the text.

use std::borrow::Cow;

use encoding_rs::{
    BIG5, EUC_JP, EUC_KR, Encoding, GB18030, GBK, ISO_2022_JP, SHIFT_JIS, UTF_8, WINDOWS_1252,
};

use super::{charset::known, encoded_word, header::Header};

/// How text of ISO-2022-JP leaves ASCII; all its octets are 7-bit.
const ESCAPES: [&[u8]; 4] = [b"\x1b$B", b"\x1b$@", b"\x1b(J", b"\x1b(I"];

/// What a message says of its charset.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Charset(Option<&'static Encoding>);

impl Charset {
    /// The charset of Content-Type, else that of the first encoded word that has another one than UTF-8.
    pub(super) fn declared(header: &Header<'_>) -> Self {
        let types = header.fields().iter().filter(|field| field.is("Content-Type"));
        let of_body = types.filter_map(|field| parameter(field.value())).find_map(known);
        let of_words = || {
            let values = header.fields().iter().map(|field| field.value());
            values.flat_map(encoded_word::charsets).filter_map(known).find(|found| *found != UTF_8)
        };
        Self(of_body.filter(|found| *found != UTF_8).or_else(of_words))
    }

    /// The text; `None` when the octets are ASCII already.
    pub(super) fn text(self, octets: &[u8]) -> Option<String> {
        let escaped = ESCAPES.iter().any(|escape| octets.windows(3).any(|three| three == *escape));
        if escaped && let Some(text) = strictly(ISO_2022_JP, octets) {
            return Some(text.into_owned());
        }
        if octets.is_ascii() {
            return None;
        }
        let declared = self.0.and_then(|encoding| strictly(encoding, octets));
        let utf_8 = std::str::from_utf8(octets).ok();
        let text = match (utf_8, declared) {
            (Some(text), Some(declared)) if self.is_east_asian() && is_doubtful(text) => declared,
            (Some(text), _) => Cow::Borrowed(text),
            (None, Some(declared)) => declared,
            (None, None) => WINDOWS_1252.decode_without_bom_handling(octets).0,
        };
        Some(text.into_owned())
    }

    /// Two octets a character in charsets, that may be two octets a character in UTF-8.
    fn is_east_asian(self) -> bool {
        let all = [GBK, GB18030, BIG5, EUC_KR, EUC_JP, SHIFT_JIS];
        self.0.is_some_and(|encoding| all.contains(&encoding))
    }
}

/// UTF-8 without a single character of three octets, as every text in an East Asian language has: that it is valid is
/// chance.
fn is_doubtful(text: &str) -> bool {
    text.chars().all(|character| character < '\u{800}')
}

fn strictly<'a>(encoding: &'static Encoding, octets: &'a [u8]) -> Option<Cow<'a, str>> {
    encoding.decode_without_bom_handling_and_without_replacement(octets)
}

/// The charset parameter of a Content-Type, without its quotes.
fn parameter(value: &[u8]) -> Option<&[u8]> {
    const NAME: &[u8] = b"charset";
    let lower = value.to_ascii_lowercase();
    let mut rest = 0;
    loop {
        let at = rest + lower[rest..].windows(NAME.len()).position(|word| word == NAME)?;
        rest = at + NAME.len();
        let behind = value[rest..].trim_ascii_start();
        let Some(written) = behind.strip_prefix(b"=") else { continue };
        let written = written.trim_ascii_start();
        let written =
            written.strip_prefix(b"\"").or_else(|| written.strip_prefix(b"'")).unwrap_or(written);
        let ends = |octet: &u8| octet.is_ascii_whitespace() || b"\"';()".contains(octet);
        return written.split(ends).next().filter(|name| !name.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: &[u8], octets: &[u8]) -> String {
        let header = Header::read(header, 0).unwrap();
        Charset::declared(&header).text(octets).unwrap()
    }

    #[test]
    fn the_declared_charset_counts_where_the_octets_are_not_utf_8() {
        for (charset, octets, text) in [
            ("gb2312", &b"\xd6\xd0\xce\xc4"[..], "\u{4e2d}\u{6587}"),
            ("\"GBK\"", b"\xd6\xd0\xce\xc4", "\u{4e2d}\u{6587}"),
            ("gb18030; format=flowed", b"\xd6\xd0\xce\xc4", "\u{4e2d}\u{6587}"),
            ("windows-1251", b"\xcd\xee\xe2\xe0\xff", "\u{41d}\u{43e}\u{432}\u{430}\u{44f}"),
            ("CP1251", b"\xcd\xee\xe2\xe0\xff", "\u{41d}\u{43e}\u{432}\u{430}\u{44f}"),
            ("koi8-r", b"\xee\xcf\xd7\xc1\xd1", "\u{41d}\u{43e}\u{432}\u{430}\u{44f}"),
            ("shift_jis", b"\x93\xfa\x96{\x8c\xea\x95\\", "\u{65e5}\u{672c}\u{8a9e}\u{8868}"),
            ("big5", b"\xa4\xa4\xa4\xe5", "\u{4e2d}\u{6587}"),
            ("iso-8859-2", b"\xb3\xf3d\xbc", "\u{142}\u{f3}d\u{17a}"),
            ("euc-kr", b"\xc7\xd1\xb1\xdb", "\u{d55c}\u{ae00}"),
            ("ks_c_5601-1987", b"\xc7\xd1\xb1\xdb", "\u{d55c}\u{ae00}"),
            // Valid UTF-8 by chance.
            ("gb2312", b"\xc4\xa3\xca\xbd", "\u{6a21}\u{5f0f}"),
            // UTF-8 in spite of what is declared.
            ("gb2312", "\u{4e2d}\u{6587}".as_bytes(), "\u{4e2d}\u{6587}"),
            ("windows-1251", "\u{41d}\u{43e}".as_bytes(), "\u{41d}\u{43e}"),
            // Not even what is declared, unknown, or none: windows-1252.
            ("utf-8", b"B\xfcro \x80", "B\u{fc}ro \u{20ac}"),
            ("us-ascii", b"\x84B\xfcro\x93", "\u{201e}B\u{fc}ro\u{201c}"),
            ("x-unknown", b"B\xfcro", "B\u{fc}ro"),
            ("gb2312", b"B\xfc", "B\u{fc}"),
        ] {
            let header = format!("Content-Type: text/plain; x=y; charset={charset}\r\n");
            assert_eq!(read(header.as_bytes(), octets), text, "{charset}");
        }
        assert_eq!(read(b"From: =?koi8-r?q?=EE?= <a@b>\r\n", b"\xee\xcf"), "\u{41d}\u{43e}");
        assert_eq!(read(b"", b"\xfc"), "\u{fc}");
    }

    #[test]
    fn text_of_seven_bits_that_switches_charsets_is_read_as_well() {
        let text =
            read(b"Content-Type: text/plain; charset=ISO-2022-JP\r\n", b" \x1b$BF|K\\8l\x1b(B x");
        assert_eq!(text, " \u{65e5}\u{672c}\u{8a9e} x");
        assert_eq!(Charset::default().text(b"\x1b[31m"), None);
    }
}
