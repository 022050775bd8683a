//! The parts of a message as files: what somebody asks for is handed over to be kept, and never shown.
//!
//! Rule: a browser gets octets without a type, a name without a path, and a policy under which nothing of it could be done
//! if it showed them all the same. A part passes block by block.

use axum::{
    Extension,
    body::{Body, Bytes},
    extract::{Path, State},
    http::{
        HeaderValue,
        header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE},
    },
    response::{IntoResponse as _, Response},
};

use super::{guard::Framing, layout, site::Site, visitor::Visitor};
use crate::{
    admin::{client::Octets, pieces::Pieces},
    message::parts::{Keep, Part, PartScan},
    queue::id::QueueId,
    text,
};

/// Characters of a file's name.
const NAME_LENGTH_MAX: usize = 100;
/// Octets of a part that are in memory at a time, which is more than a block of a message decodes to.
const ROOM: usize = 4 * 1024 * 1024;

/// `GET /messages/{id}/files/{part}`: the part as a file.
pub(super) async fn download(
    State(site): State<Site>,
    Visitor(visit): Visitor,
    Path((id, number)): Path<(String, String)>,
) -> Response {
    let Ok(id) = id.parse::<QueueId>() else { return layout::nothing_here().await };
    let asked = tokio::try_join!(site.client.contents(id), site.client.octets(id, false));
    let (contents, octets) = match asked {
        Ok(answers) => answers,
        Err(error) => return layout::unanswered(&visit, "", &error),
    };
    let part = contents.parts.into_iter().find(|part| part.number == number);
    let Some(part) = part.filter(|_| !contents.is_cut) else { return layout::nothing_here().await };
    let (number, size) = (part.number.clone(), part.size_bytes);
    let passing = Passing { octets, scan: Some(PartScan::new(Keep::Part(number), ROOM)) };
    let body = Body::new(Pieces::new(passing, |passing| Box::pin(next(passing))));
    let head = [
        (CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (CONTENT_LENGTH, HeaderValue::from(size)),
        (CONTENT_DISPOSITION, disposition(&file_name(&part))),
    ];
    (Extension(Framing::IsFile), head, body).into_response()
}

/// A part on its way.
struct Passing {
    octets: Octets,
    /// None when all of it has passed.
    scan: Option<PartScan>,
}

/// The next octets of the part. Where the message breaks off the browser sees that it is less than was announced.
async fn next(mut passing: Passing) -> Option<(Passing, Bytes)> {
    let mut scan = passing.scan.take()?;
    loop {
        let Some(block) = passing.octets.next().await.ok()? else {
            let last = scan.take_last();
            return (!last.is_empty()).then(|| (passing, last.into()));
        };
        scan.push(&block);
        let octets = scan.take_kept();
        if !octets.is_empty() {
            passing.scan = Some(scan);
            return Some((passing, octets.into()));
        }
    }
}

/// The name that it asks for, without what is a path, steers or hides anything.
fn file_name(part: &Part) -> String {
    let name = part.name.as_deref().unwrap_or_default();
    let safe = |one: char| {
        if text::is_deceptive(one) || "/\\:*?\"<>|%".contains(one) { '_' } else { one }
    };
    let name: String = name.chars().take(NAME_LENGTH_MAX).map(safe).collect();
    let name = name.trim_matches(|one: char| one == '.' || one.is_whitespace());
    if name.is_empty() { format!("part-{}", part.number) } else { name.to_owned() }
}

/// `attachment` with the name, once for each way in which browsers read one (RFC 6266, RFC 8187).
fn disposition(name: &str) -> HeaderValue {
    let is_plain = |one: char| one.is_ascii_graphic() || one == ' ';
    let plain: String = name.chars().map(|one| if is_plain(one) { one } else { '_' }).collect();
    let encoded: String = name
        .bytes()
        .map(|octet| match octet {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'.' | b'-' | b'_' => {
                char::from(octet).to_string()
            }
            _ => format!("%{octet:02X}"),
        })
        .collect();
    let value = format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}");
    HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static("attachment"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_name_that_it_asks_for_without_a_path_or_anything_that_deceives() {
        for (asked, named) in [
            (Some("report.pdf"), "report.pdf"),
            (Some("B\u{fc}ro \u{4f60}.pdf"), "B\u{fc}ro \u{4f60}.pdf"),
            (Some("../../etc/passwd"), "_.._etc_passwd"),
            (Some("C:\\autoexec.bat"), "C__autoexec.bat"),
            (Some(".profile"), "profile"),
            (Some("x\r\nSet-Cookie: a=b"), "x__Set-Cookie_ a=b"),
            (Some("fdp.\u{202e}exe"), "fdp._exe"),
            (Some("\"; filename=\"evil.exe"), "_; filename=_evil.exe"),
            (Some(" . "), "part-2.1"),
            (None, "part-2.1"),
        ] {
            let mut part = Part::default();
            (part.number, part.name) = ("2.1".into(), asked.map(str::to_owned));
            assert_eq!(file_name(&part), named, "{asked:?}");
        }
    }

    #[test]
    fn the_name_stands_there_for_old_and_for_new_browsers() {
        assert_eq!(
            disposition("B\u{fc}ro 1.pdf"),
            "attachment; filename=\"B_ro 1.pdf\"; filename*=UTF-8''B%C3%BCro%201.pdf"
        );
    }
}
