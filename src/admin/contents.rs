//! The contents of a message for a person who looks at it: its header section before and after all edits, its parts, and
//! the text of one of them.
//!
//! Rule: the edits are made by whoever makes them for the upstream, never told from a list; the message passes block by
//! block, and what is given out of it has a limit. Must not know how it is shown.

use axum::{
    Router,
    extract::{Path, State},
    routing::get,
};
use serde::{Deserialize, Serialize};

use super::{
    api::Kind,
    context::{Json, Refusal, Sources, parse},
    octets::{rewritten, stored},
};
use crate::{
    message::{
        comparison::{self, Change, Pair},
        parts::{Found, Keep, Part, PartScan, PartText},
    },
    queue::{id::QueueId, spool_file::MessageReader},
};

/// Octets of a message that are looked at: more than Gmail takes.
const READ_MAX: u64 = 64 * 1024 * 1024;
/// Octets of the text that comes with the rest.
const TEXT_MAX: usize = 16 * 1024;
/// Octets of a part that was asked for.
const PART_MAX: usize = 512 * 1024;
/// Octets of a field that are given out, and of all fields.
const FIELD_MAX: usize = 1_024;
const FIELDS_MAX: usize = 24 * 1024;
/// Characters of the number of a part.
const NUMBER_MAX: usize = 64;

/// `GET /v1/queue/{id}/contents`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Contents {
    /// The fields of both header sections, in the order in which they leave; null when there are more of them than are
    /// edited.
    pub(crate) fields: Option<Vec<HeaderField>>,
    /// Fields that are not given out, changed ones last.
    pub(crate) more_fields: u64,
    /// What was edited, as the log says it.
    pub(crate) edits: String,
    /// The parts that hold something.
    pub(crate) parts: Vec<Part>,
    /// How many more there are.
    pub(crate) more_parts: u64,
    /// The beginning of the first part that is plain text.
    pub(crate) text: Option<PartText>,
    /// Whether only the beginning of the message was looked at.
    pub(crate) is_cut: bool,
}

/// A field before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HeaderField {
    /// `unchanged`, `changed`, `renamed`, `added` or `removed`.
    pub(crate) change: String,
    /// As the client has handed it over.
    pub(crate) before: Option<String>,
    /// As it leaves; of an unchanged one null.
    pub(crate) after: Option<String>,
}

pub(super) fn router() -> Router<Sources> {
    Router::new()
        .route("/v1/queue/{id}/contents", get(contents))
        .route("/v1/queue/{id}/contents/{part}", get(part))
}

async fn contents(
    State(sources): State<Sources>,
    Path(id): Path<String>,
) -> Result<Json<Contents>, Refusal> {
    let id = parse(&id)?;
    let (_, mut reader) = stored(&sources, id).await?;
    let before = header(&mut reader)?;
    let (mut sent, edits) = rewritten(&sources, id).await?;
    let after = header(&mut sent)?;
    let pairs = match (&before, &after) {
        (Some((before, added)), Some((after, _))) => {
            comparison::compare(before.get(*added..).unwrap_or_default(), after)
        }
        _ => None,
    };
    let (fields, more_fields) = match &pairs {
        Some(pairs) => {
            let (fields, more) = given_out(pairs);
            (Some(fields), more)
        }
        None => (None, 0),
    };
    let before = before.map(|(octets, _)| octets).unwrap_or_default();
    let (found, is_cut) = scan(before, reader, PartScan::new(Keep::FirstText, TEXT_MAX)).await?;
    let Found { parts, more, kept } = found;
    Ok(Json(Contents { fields, more_fields, edits, parts, more_parts: more, text: kept, is_cut }))
}

/// `GET /v1/queue/{id}/contents/{part}`: the beginning of one part, as text.
async fn part(
    State(sources): State<Sources>,
    Path((id, number)): Path<(String, String)>,
) -> Result<Json<PartText>, Refusal> {
    let id: QueueId = parse(&id)?;
    let (_, mut reader) = stored(&sources, id).await?;
    let before = header(&mut reader)?.map(|(octets, _)| octets).unwrap_or_default();
    let number: String = number.chars().take(NUMBER_MAX).collect();
    let keep = PartScan::new(Keep::Part(number), PART_MAX);
    let (found, _) = scan(before, reader, keep).await?;
    let missing = || Refusal::new(Kind::NotFound, format!("message {id} has no such part"));
    found.kept.map(Json).ok_or_else(missing)
}

/// The header section, and how many octets of it were added at acceptance; nothing, and nothing is taken, of one that is
/// longer than what is edited.
fn header(reader: &mut MessageReader) -> Result<Option<(Vec<u8>, usize)>, Refusal> {
    Ok(reader.take_header()?.map(|section| (section.bytes, section.added_bytes)))
}

/// Reads a message whose header section was taken; whether it was longer than what is read.
async fn scan(
    header: Vec<u8>,
    mut reader: MessageReader,
    mut scan: PartScan,
) -> Result<(Found, bool), Refusal> {
    scan.push(&header);
    let mut read = header.len() as u64;
    while let Some(block) = reader.next_block()? {
        read += block.len() as u64;
        if read > READ_MAX {
            return Ok((scan.finish(), true));
        }
        scan.push(&block);
        // A long message lets others have their turn.
        tokio::task::yield_now().await;
    }
    Ok((scan.finish(), false))
}

/// The fields that are given out, and how many are not: changed ones first, as far as their room goes.
fn given_out(pairs: &[Pair<'_>]) -> (Vec<HeaderField>, u64) {
    let length = |side: Option<&[u8]>| side.map_or(0, |octets| octets.len().min(FIELD_MAX));
    let (mut room, mut is_in) = (FIELDS_MAX, vec![false; pairs.len()]);
    for wants_change in [true, false] {
        for (pair, is_in) in pairs.iter().zip(&mut is_in) {
            let needs = length(pair.before) + length(pair.after) + 16;
            if (pair.change != Change::Unchanged) == wants_change && needs <= room {
                room -= needs;
                *is_in = true;
            }
        }
    }
    let field = |pair: &Pair<'_>| HeaderField {
        change: pair.change.name().to_owned(),
        before: pair.before.map(text),
        after: pair.after.filter(|_| pair.change != Change::Unchanged).map(text),
    };
    let fields: Vec<HeaderField> = pairs
        .iter()
        .zip(&is_in)
        .filter(|(_, is_in)| **is_in)
        .map(|(pair, _)| field(pair))
        .collect();
    let more = (pairs.len() - fields.len()) as u64;
    (fields, more)
}

/// The octets of a field. What is not UTF-8 is replaced, and dots say that there is more.
fn text(octets: &[u8]) -> String {
    let shown = &octets[..octets.len().min(FIELD_MAX)];
    let dots = if shown.len() < octets.len() { "..." } else { "" };
    format!("{}{dots}", String::from_utf8_lossy(shown).replace("\r\n", "\n"))
}
