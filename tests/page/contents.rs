//! The contents of a message on its document: header before and after, text, parts.

use super::{Browser, Stage, browser::Answer};

const LETTER: &str = "From: <script>alert(1)</script> <printer@lan>\nBcc: secret@example.net\nX-Same: stays\n\
    Subject: Gr\u{f6}\u{df}e\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\
    Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n\
    Toner=20<b>low</b> =C3=A4\u{202e}\n--b\nContent-Type: application/pdf\n\
    Content-Disposition: attachment; filename=\"\\\"><img src=x>.pdf\"\nContent-Transfer-Encoding: base64\n\n\
    aGVsbG8=\n--b\nContent-Type: text/html\n\n<b>low</b>\n--b--\n";

/// The rows of the table of fields, as text.
fn fields(document: &Answer) -> Vec<String> {
    let table = document.body.split_once("<table class=\"fields\">").expect("fields").1;
    let table = table.split("</table>").next().unwrap_or_default();
    let rows = table.split("<tr>").skip(2);
    rows.map(|row| Answer { body: format!("<h1>{row}"), ..document.clone() }.text()).collect()
}

fn shown(stage: &Stage, visitor: &mut Browser, message: &str) -> (String, Answer) {
    stage.submit("printer@lan.example", "b@example.net", message);
    let id = stage.ids().pop().expect("an id");
    let document = visitor.get(&format!("/messages/{id}"));
    assert_eq!(document.status, 200, "{}", document.body);
    (id, document)
}

#[test]
fn the_header_is_shown_before_and_after_and_each_change_has_its_word() {
    let stage = Stage::new();
    let mut visitor = stage.visitor(&["--look"]);
    let (id, document) = shown(&stage, &mut visitor, LETTER);
    let rows = fields(&document);
    let row = |word: &str, field: &str| {
        let found = rows.iter().find(|row| row.starts_with(word) && row.contains(field));
        found.unwrap_or_else(|| panic!("{word} {field} is not in {rows:#?}"))
    };
    row("added", "Received: from");
    row("added", "Message-ID: <");
    row("added", "Date: ");
    row("removed", "Bcc: secret@example.net");
    row("the same", "X-Same: stays");
    row("added", "From: \"printer on lan\" <");
    let from = row("renamed", "From: <script>alert(1)</script> <printer@lan>");
    assert!(from.contains(" X-Original-From: <script>"), "{from}");
    row("changed", "Subject: =?utf-8?");

    // The right side is what the upstream gets, field by field and in this order.
    let (code, sent) = stage.say(&["queue", "cat", "--as-sent", &id]);
    assert_eq!(code, Some(0), "{sent}");
    let header = sent.split("\r\n\r\n").next().expect("a header section").replace("\r\n\t", " ");
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let kept = rows.iter().filter(|row| !row.starts_with("removed")).collect::<Vec<_>>();
    let lines: Vec<&str> = header.split("\r\n").filter(|line| !line.starts_with(' ')).collect();
    assert_eq!(kept.len(), lines.len(), "{rows:#?}\n{header}");
    for (row, line) in kept.iter().zip(lines) {
        assert!(row.ends_with(&words(line)), "{row} does not end with {line}");
    }
    let edits = stage.json(&["queue", "explain", &id])["edits"].as_str().expect("edits").to_owned();
    assert!(document.text().contains(&format!("Edited: {edits}.")), "{edits}");
}

#[test]
fn the_text_is_text_and_every_part_has_its_name_its_type_and_its_size() {
    let stage = Stage::new();
    let mut visitor = stage.visitor(&["--look"]);
    let (id, document) = shown(&stage, &mut visitor, LETTER);
    let text = document.text();
    assert!(text.contains("Toner <b>low</b> \u{e4}"), "{text}");
    for row in [
        "1 text/plain 22 B",
        "2 \"><img src=x>.pdf (attachment) application/pdf 5 B",
        "3 Show the HTML text/html 10 B",
    ] {
        assert!(text.contains(row), "{row} is not in {text}");
    }
    for tag in ["<script", "<img", "<b>", "\u{202e}"] {
        assert!(!document.body.contains(tag), "{tag} is in {}", document.body);
    }
    assert!(document.body.contains(&format!("href=\"/messages/{id}/html/3\"")));
    let (_, bare) = shown(&stage, &mut visitor, "Content-Type: image/png\n\nx\n");
    assert!(bare.text().contains("It has no part of plain text."), "{}", bare.text());

    let long = format!("Subject: x\n\n{}", "line <i>\n".repeat(20_000));
    let (id, document) = shown(&stage, &mut visitor, &long);
    assert!(document.body.len() < 100 * 1024, "{} octets", document.body.len());
    assert!(document.text().contains(&format!("all of it: pillarbox queue cat {id}")));
}

#[test]
fn hostile_structures_are_answered_with_a_small_document() {
    let stage = Stage::new();
    let mut visitor = stage.visitor(&["--look"]);
    let deep: String = (0..300)
        .map(|level| format!("Content-Type: multipart/mixed; boundary=b{level}\n\n--b{level}\n"))
        .collect();
    let many = format!(
        "Content-Type: multipart/mixed; boundary=b\n\n{}",
        "--b\nContent-Type: text/html\n\n<p>\n".repeat(3_000)
    );
    let fields: String =
        (0..1_000).map(|number| format!("X-{number}: {}\n", "y".repeat(60))).collect();
    let parameters = format!("Content-Type: text/plain{}\n\nx\n", ";\n a=b".repeat(20_000));
    let comments = format!("Content-Type: text/plain; {}\n\nx\n", "(\n ".repeat(20_000));
    for message in [deep, many, format!("{fields}\nx\n"), parameters, comments] {
        let (_, document) = shown(&stage, &mut visitor, &message);
        assert!(document.body.len() < 200 * 1024, "{} octets", document.body.len());
    }
    let (_, document) = shown(&stage, &mut visitor, "Subject: x\n\nwell\n");
    assert!(document.text().contains("well"));
}

#[test]
fn of_a_message_that_has_left_with_its_octets_the_rest_is_shown() {
    let stage = Stage::new();
    let mut visitor = stage.visitor(&["--look"]);
    let (id, _) = shown(&stage, &mut visitor, "Subject: gone\n\nprivate words\n");
    stage.json(&["queue", "delete", &id]);
    let document = visitor.get(&format!("/messages/{id}"));
    assert_eq!(document.status, 200, "{}", document.body);
    assert!(document.text().contains("its octets went with it"), "{}", document.text());
    assert!(document.text().contains("Left the queue: deleted by"), "{}", document.text());
    assert_eq!(visitor.get(&format!("/messages/{id}/html/1")).status, 400);
}
