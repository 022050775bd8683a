//! Parts of a message as files: octet by octet, with a harmless name, and nothing that a browser would show or run.

use super::Stage;

/// A part that would be a document of the page, were it shown as what it says it is.
const SCRIPT: &str = "<script>alert(document.cookie)</script>";

/// A message with that, a long one and one without a name.
fn message(long: &str) -> String {
    format!(
        "Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nwords\n--b\n\
         Content-Type: text/html; charset=utf-8\n\
         Content-Disposition: attachment; filename=\"../..\\\\x\\\"; filename=\\\"evil.html\"\n\n{SCRIPT}\n--b\n\
         Content-Type: application/octet-stream; name=\"=?utf-8?Q?B=C3=BCro=E2=80=AEfdp.exe?=\"\n\n{long}\n--b--\n"
    )
}

#[test]
fn a_part_is_handed_over_whole_as_a_file_that_no_browser_shows() {
    let stage = Stage::new();
    let long = "0123456789 abcdefghijklmnopqrstuvwxyz\n".repeat(60_000);
    stage.submit("a@example.org", "b@example.net", &message(&long));
    let id = stage.ids().remove(0);
    let mut visitor = stage.visitor(&["--look"]);
    let document = visitor.get(&format!("/messages/{id}"));
    for part in 1..=3 {
        let link = format!("href=\"/messages/{id}/files/{part}\"");
        assert!(document.body.contains(&link), "{link} in {}", document.body);
    }
    let file = |number: &str| format!("/messages/{id}/files/{number}");
    let long = long.replace('\n', "\r\n");
    for (number, content, named) in [
        ("1", "words", "attachment; filename=\"part-1\"; filename*=UTF-8''part-1"),
        ("2", SCRIPT, ""),
        ("3", &long, "attachment; filename=\"B_ro_fdp.exe\"; filename*=UTF-8''B%C3%BCro_fdp.exe"),
    ] {
        let answer = visitor.get(&file(number));
        assert_eq!(answer.status, 200, "{number}");
        assert!(
            answer.body == content,
            "{number}: {} octets of {}",
            answer.body.len(),
            content.len()
        );
        let disposition = answer.head("content-disposition").expect("a name");
        assert!(disposition.starts_with("attachment; filename="), "{disposition}");
        assert!(!disposition.contains(['/', '\\']) && disposition.matches('"').count() == 2);
        assert!(named.is_empty() || disposition == named, "{disposition}");
        let length = content.len().to_string();
        for (name, value) in [
            ("content-type", "application/octet-stream"),
            ("content-length", length.as_str()),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("cache-control", "no-store"),
            (
                "content-security-policy",
                "default-src 'none'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'; sandbox",
            ),
        ] {
            assert_eq!(answer.head(name), Some(value), "{number}: {name}");
        }
    }
    assert_eq!(stage.browser().get(&file("1")).status, 401);
    for wrong in ["4", "2.1", "x", "..%2f..", "%00"] {
        let answer = visitor.get(&file(wrong));
        assert!(matches!(answer.status, 400 | 404), "{wrong}: {}", answer.status);
        assert_eq!(answer.head("content-disposition"), None, "{wrong}");
    }
    stage.json(&["queue", "delete", &id]);
    assert_eq!(visitor.get(&file("1")).status, 400, "its octets went with it");
}
