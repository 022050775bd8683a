//! HTML of others, written anew: the text, and of its markup what only looks like something.
//!
//! Rule: nothing comes through as it was. A tag is one of ours or none, an attribute is one that fetches nothing and names
//! nothing, and everything else is text; so it does not matter how a browser would have read what came in.

use std::fmt::Write as _;

/// Elements that are written again. None of them fetches, sends, or changes how the rest is read.
const ELEMENTS: [&str; 62] = [
    "abbr",
    "address",
    "article",
    "aside",
    "b",
    "big",
    "blockquote",
    "body",
    "br",
    "caption",
    "center",
    "cite",
    "code",
    "col",
    "colgroup",
    "dd",
    "del",
    "dfn",
    "div",
    "dl",
    "dt",
    "em",
    "figcaption",
    "figure",
    "font",
    "footer",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hr",
    "i",
    "ins",
    "kbd",
    "li",
    "main",
    "mark",
    "ol",
    "p",
    "pre",
    "q",
    "s",
    "samp",
    "section",
    "small",
    "span",
    "strike",
    "strong",
    "sub",
    "sup",
    "table",
    "tbody",
    "td",
    "tfoot",
    "th",
    "thead",
    "tr",
    "tt",
    "ul",
];
/// Elements of which nothing is shown.
const SILENT: [&str; 9] =
    ["iframe", "noembed", "noframes", "object", "script", "template", "textarea", "title", "xmp"];
/// Attributes that are written again.
const ATTRIBUTES: [&str; 20] = [
    "align",
    "bgcolor",
    "border",
    "cellpadding",
    "cellspacing",
    "class",
    "color",
    "colspan",
    "dir",
    "face",
    "height",
    "lang",
    "nowrap",
    "rowspan",
    "size",
    "span",
    "start",
    "title",
    "valign",
    "width",
];
/// What a style needs to fetch something, or to hide that it does.
const FETCHING: [&str; 6] = ["url", "import", "image", "src(", "\\", "&"];

/// The same to look at, as far as it can be without what comes from elsewhere.
pub(super) fn harmless(html: &str) -> String {
    // A browser drops a NUL in some places, and so puts a word together that was none.
    let html = &html.replace('\0', "");
    let lower = html.to_ascii_lowercase();
    let mut out = String::with_capacity(html.len());
    let mut at = 0;
    while let Some(next) = html[at..].find('<') {
        text(&html[at..at + next], &mut out);
        at += next;
        at = tag(html, &lower, at, &mut out);
    }
    text(&html[at..], &mut out);
    out
}

/// Deals with what begins with this `<`; where the rest begins.
fn tag(html: &str, lower: &str, at: usize, out: &mut String) -> usize {
    let rest = &lower[at..];
    let behind = |mark: &str| rest.find(mark).map_or(html.len(), |found| at + found + mark.len());
    if rest.starts_with("<!--") {
        return behind("-->");
    }
    let is_end = rest.starts_with("</");
    let begin = at + 1 + usize::from(is_end);
    if !lower[begin..].starts_with(|letter: char| letter.is_ascii_lowercase()) {
        if is_end || rest.starts_with("<!") || rest.starts_with("<?") {
            return behind(">");
        }
        out.push_str("&lt;");
        return at + 1;
    }
    let ends_name = |letter: char| letter.is_ascii_whitespace() || matches!(letter, '/' | '>');
    let name_end = lower[begin..].find(ends_name).map_or(html.len(), |length| begin + length);
    let name = &lower[begin..name_end];
    let (attributes, end) = attributes(html, lower, name_end);
    if is_end {
        if ELEMENTS.contains(&name) {
            let _ = write!(out, "</{name}>");
        } else if name == "a" {
            out.push_str("</u>");
        }
        return end;
    }
    if SILENT.contains(&name) || name == "style" {
        let close = format!("</{name}");
        let inside_end = lower[end..].find(&close).map_or(html.len(), |length| end + length);
        if name == "style" {
            style(&html[end..inside_end], out);
        }
        return inside_end;
    }
    element(name, &attributes, out);
    end
}

fn element(name: &str, attributes: &[(&str, &str)], out: &mut String) {
    let value =
        |wanted: &str| attributes.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
    match name {
        "a" => {
            out.push_str("<u");
            attribute("title", value("href").unwrap_or_default(), out);
            out.push('>');
        }
        "img" => {
            if let Some(alt) = value("alt").filter(|alt| !alt.trim().is_empty()) {
                out.push_str("<i>[");
                text(alt, out);
                out.push_str("]</i>");
            }
        }
        _ if ELEMENTS.contains(&name) => {
            let _ = write!(out, "<{name}");
            for (name, value) in attributes {
                let style = value.replace("&quot;", "'").replace("&#39;", "'");
                match *name {
                    "style" if !fetches(&style) => attribute(name, &style, out),
                    name if ATTRIBUTES.contains(&name) => attribute(name, value, out),
                    _ => {}
                }
            }
            out.push('>');
        }
        _ => {}
    }
}

/// A style sheet that fetches nothing; without what could end it before its end.
fn style(sheet: &str, out: &mut String) {
    let sheet = sheet.replace('<', "");
    if !fetches(&sheet) {
        out.push_str("<style>");
        out.push_str(&sheet);
        out.push_str("</style>");
    }
}

fn fetches(style: &str) -> bool {
    let style = style.to_ascii_lowercase();
    FETCHING.iter().any(|word| style.contains(word))
}

/// The attributes of a tag whose name ends here, each once with its first value, and where the tag ends.
fn attributes<'a>(html: &'a str, lower: &'a str, from: usize) -> (Vec<(&'a str, &'a str)>, usize) {
    let mut all: Vec<(&str, &str)> = Vec::new();
    let mut at = from;
    let blank = |letter: char| letter.is_ascii_whitespace();
    loop {
        at = skip(html, at, |letter| blank(letter) || letter == '/');
        let Some(first) = html[at..].chars().next() else { return (all, html.len()) };
        if first == '>' {
            return (all, at + 1);
        }
        // A name may begin with an equals sign, as browsers read it.
        let inside = at + first.len_utf8();
        let end = skip(html, inside, |letter| !blank(letter) && !matches!(letter, '/' | '>' | '='));
        let name = &lower[at..end];
        at = skip(html, end, blank);
        let mut value = "";
        if html[at..].starts_with('=') {
            (value, at) = self::value(html, skip(html, at + 1, blank));
        }
        if all.len() < ATTRIBUTES_MAX && all.iter().all(|(known, _)| *known != name) {
            all.push((name, value));
        }
    }
}

/// Attributes of one tag that are looked at.
const ATTRIBUTES_MAX: usize = 40;

/// The value that begins here, and where it ends.
fn value(html: &str, at: usize) -> (&str, usize) {
    match html[at..].chars().next() {
        Some(quote @ ('"' | '\'')) => match html[at + 1..].find(quote) {
            Some(length) => (&html[at + 1..at + 1 + length], at + length + 2),
            None => ("", html.len()),
        },
        _ => {
            let end = skip(html, at, |letter| !letter.is_ascii_whitespace() && letter != '>');
            (&html[at..end], end)
        }
    }
}

/// Behind the characters for which this is so.
fn skip(html: &str, at: usize, is_one: impl Fn(char) -> bool) -> usize {
    html[at..].find(|letter| !is_one(letter)).map_or(html.len(), |length| at + length)
}

fn attribute(name: &str, value: &str, out: &mut String) {
    let _ = write!(out, " {name}=\"");
    text(value, out);
    out.push('"');
}

/// Text in the form of HTML already, whose references stay.
fn text(html: &str, out: &mut String) {
    for letter in html.chars() {
        match letter {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            _ => out.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_something_stays_and_what_does_something_goes() {
        for (html, expected) in [
            ("<P Style='color: red'>a &amp; b</P>", "<p style=\"color: red\">a &amp; b</p>"),
            ("<td width=10 onclick=x()>1</td>", "<td width=\"10\">1</td>"),
            (
                "<a href=\"https://evil.example/?a=1\">x</a>",
                "<u title=\"https://evil.example/?a=1\">x</u>",
            ),
            ("<img src=https://evil.example/x alt='the \"cat\"'>", "<i>[the &quot;cat&quot;]</i>"),
            ("<img src=https://evil.example/x>", ""),
            ("<script>alert('<p>')</script>x", "x"),
            ("<SCRIPT>alert(1)", ""),
            ("<!-- <p> --><?php p ?><!doctype html><b>x</b>", "<b>x</b>"),
            (
                "<meta http-equiv=refresh content=0><base href=//evil><link rel=preconnect href=//evil>x",
                "x",
            ),
            ("<form action=//evil><input name=a><button>x</button></form>", "x"),
            ("<svg><a xlink:href=//evil><text>x</text></a></svg>", "<u title=\"\">x</u>"),
            ("<iframe srcdoc='<script>'></iframe><object data=x>y</object>z", "z"),
            ("<style>p{color:red}</style>", "<style>p{color:red}</style>"),
            ("<style>p{color:red}</sty</style>", "<style>p{color:red}/sty</style>"),
            ("<style>@import '//evil'</style><p style='background:URL(//evil)'>", "<p>"),
            ("<style>p{background:u\\72l(//evil)}</style>", ""),
            (
                "<style>p{background:u<rl(//evil)}</style><p style='background:u\0rl(//evil)'>",
                "<p>",
            ),
            ("<p style='background:u&#114;l(//evil)' style='color:red'>", "<p>"),
            ("<p style=\"font-family:&quot;Arial&quot;\">", "<p style=\"font-family:'Arial'\">"),
            ("1 < 2 <> </> <3", "1 &lt; 2 &lt;&gt;  &lt;3"),
            (
                "<p title=\"><script>alert(1)</script>\">",
                "<p title=\"&gt;&lt;script&gt;alert(1)&lt;/script&gt;\">",
            ),
            ("<p title='\"onload=x'>", "<p title=\"&quot;onload=x\">"),
            ("<p/onload/title=y>", "<p title=\"y\">"),
            ("<p =title=x><p title = y>", "<p><p title=\"y\">"),
            ("<p", "<p>"),
            ("<p title=\"x", "<p title=\"\">"),
            ("</p x='>'>", "</p>"),
        ] {
            assert_eq!(harmless(html), expected, "{html}");
        }
    }

    #[test]
    fn whatever_comes_in_only_tags_and_attributes_of_ours_come_out() {
        const WORDS: [&str; 31] = [
            "<",
            ">",
            "</",
            "p",
            "script",
            "style",
            "svg",
            "a",
            "img",
            "iframe",
            " ",
            "/",
            "=",
            "\"",
            "'",
            "title",
            "src",
            "style=",
            "href=",
            "onload=",
            "<!--",
            "-->",
            "<![CDATA[",
            "]]>",
            "&lt;",
            "&#60;",
            "\0",
            "\n",
            "\u{f6}",
            "x",
            "`",
        ];
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..20_000 {
            let words = random.usize(0..30);
            let html: String = (0..words).map(|_| WORDS[random.usize(..WORDS.len())]).collect();
            let out = harmless(&html);
            let mut rest = out.as_str();
            while let Some((_, tag)) = rest.split_once('<') {
                let (tag, behind) =
                    tag.split_once('>').unwrap_or_else(|| panic!("{html:?}: {out}"));
                let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
                let name = name.strip_prefix('/').unwrap_or(name);
                assert!(
                    ELEMENTS.contains(&name) || matches!(name, "u" | "i" | "style"),
                    "{html:?}: {out}"
                );
                let mut left = attributes;
                while !left.is_empty() {
                    let (name, value) =
                        left.split_once("=\"").unwrap_or_else(|| panic!("{html:?}: {out}"));
                    assert!(
                        name.trim() == "style" || ATTRIBUTES.contains(&name.trim()),
                        "{html:?}: {out}"
                    );
                    left = value.split_once('"').unwrap_or_else(|| panic!("{html:?}: {out}")).1;
                }
                rest = behind;
                if tag == "style" {
                    rest = behind
                        .split_once("</style>")
                        .unwrap_or_else(|| panic!("{html:?}: {out}"))
                        .1;
                }
            }
            assert!(!rest.contains('>') && !out.contains('\0'), "{html:?}: {out}");
        }
    }
}
