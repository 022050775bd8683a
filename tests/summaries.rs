//! The summary of a storm as mail programs read it: by the parser of Python, which knows nothing of ours.
//!
//! A mail program shows the first part of `multipart/mixed` in its window: mutt its plain text, Thunderbird its HTML. What
//! asks to be an attachment is a file, named by its disposition.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

/// What is seen of the message in a file: the text that each kind of program shows, and the files beside it.
const READ: &str = r#"
import email, email.policy, json, sys
message = email.message_from_binary_file(open(sys.argv[1], "rb"), policy=email.policy.SMTP)
plain, html = (message.get_body(preferencelist=(kind,)) for kind in ("plain", "html"))
children = list(message.iter_parts())
print(json.dumps({
    "type": message.get_content_type(),
    "children": [part.get_content_type() for part in children],
    "alternatives": [part.get_content_type() for part in children[0].iter_parts()],
    "shown": [part.get_content_disposition() for part in (plain, html)],
    "plain": plain.get_content(),
    "html": html.get_content(),
    "files": [{
        "name": part.get_filename(), "name_of_type": part.get_param("name"),
        "disposition": part.get_content_disposition(), "type": part.get_content_type(),
        "encoding": part.get("Content-Transfer-Encoding"), "subject": part.get_content()["Subject"],
    } for part in message.iter_attachments()],
    "defects": [str(defect) for part in message.walk() for defect in part.defects],
    "thread": [message["References"], message["In-Reply-To"]],
    "subject": message["Subject"],
}))
"#;

fn golden(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

#[test]
fn a_summary_is_read_whole_in_the_window_and_its_originals_are_named_files() {
    let file = golden("storm_summary.eml");
    let output = Command::new("python3").args(["-c", READ]).arg(&file).output().expect("python3");
    assert!(output.status.success(), "{}", output.stderr.escape_ascii());
    let read: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(read["defects"], Value::Array(Vec::new()));
    assert_eq!(read["type"], "multipart/mixed", "a digest is shown as an empty mail");
    let children = ["multipart/alternative", "message/rfc822", "message/rfc822"];
    assert_eq!(read["children"], serde_json::json!(children));
    // The last alternative that a program can show is the one that it shows (RFC 2046 section 5.1.4).
    assert_eq!(read["alternatives"], serde_json::json!(["text/plain", "text/html"]));
    assert_eq!(read["shown"], serde_json::json!([null, null]), "in the window and no file");

    let (plain, html) = (read["plain"].as_str().unwrap(), read["html"].as_str().unwrap());
    for said in ["514 messages that are alike", "More may come", "From nobody", "--pillarbox-0--"] {
        let in_html = said.trim_start_matches("514");
        assert!(plain.contains(said) && html.contains(in_html), "{said}");
    }
    assert!(plain.contains("\n.\n") && plain.contains(&"0123456789".repeat(20)), "line by line");
    for said in ["pillarbox storm show id5", "pillarbox storm release id5"] {
        assert!(plain.lines().any(|line| line.trim() == said), "it can be copied: {said}");
    }
    assert!(!plain.chars().any(|one| one.is_control() && one != '\n' && one != '\t'));
    let written = fs::read_to_string(golden("storm_summary.html")).expect("the document");
    assert_eq!(html.trim_end(), written.trim_end());

    let files = read["files"].as_array().expect("files");
    for (file, (name, subject)) in files.iter().zip([("first.eml", "5"), ("last.eml", "7")]) {
        assert_eq!((&file["name"], &file["name_of_type"]), (&name.into(), &name.into()));
        assert_eq!(
            (&file["disposition"], &file["subject"]),
            (&"attachment".into(), &subject.into())
        );
        // RFC 2046 section 5.2.1: no other encoding is allowed, and some programs show nothing of one that is.
        let encoding = file["encoding"].as_str().expect("an encoding");
        assert!(["7bit", "8bit"].contains(&encoding), "{encoding}");
    }
    assert_eq!((files.len(), &read["thread"]), (2, &serde_json::json!(["<5@nas>", "<5@nas>"])));

    // RFC 5322 section 2.1.1: longer lines are broken on the way; those of the originals stay as they came.
    let octets = fs::read(&file).expect("the message");
    assert!(octets.split(|octet| *octet == b'\n').all(|line| line.len() <= 999));
}
