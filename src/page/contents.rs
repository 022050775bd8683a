//! The contents of a message in its document: header before and after, text, parts by name.

use maud::{Markup, html};

use super::{
    html_mail::HTML,
    layout::{said, worded},
};
use crate::{
    admin::{
        client::ClientError,
        contents::{Contents, HeaderField},
    },
    message::parts::Part,
    quantities::{count, size},
    queue::id::QueueId,
};

/// Both sections, or why they cannot be had.
pub(super) fn sections(id: QueueId, contents: &Result<Contents, ClientError>) -> Markup {
    let contents = match contents {
        Ok(contents) => contents,
        Err(error) => return html! { p.small { (worded(&error.to_string())) } },
    };
    html! {
        section aria-labelledby="header" { h2 #header { "Header" } (header(contents)) }
        section aria-labelledby="contents" {
            h2 #contents { "Contents" }
            @if let Some(text) = &contents.text {
                pre tabindex="0" aria-label="Text" { (whole(&text.text)) }
                @if text.is_cut { p.small { "That is its beginning; all of it: " code { "pillarbox queue cat " (id) } } }
            } @else {
                p { "It has no part of plain text." }
            }
            (parts(id, contents))
        }
    }
}

fn header(contents: &Contents) -> Markup {
    let Some(fields) = &contents.fields else {
        return html! { p { "It is longer than what is edited, and leaves as it was handed over." } };
    };
    let edits = match contents.edits.as_str() {
        "" => "Nothing but what was added at acceptance is edited.".to_owned(),
        edits => format!("Edited: {edits}."),
    };
    html! {
        p { (worded(&edits)) }
        table.fields {
            caption.hidden { "Its fields, before and after" }
            thead { tr {
                th scope="col" { "Change" }
                th scope="col" { "As it was handed over" }
                th scope="col" { "As it leaves" }
            } }
            tbody { @for field in fields { (row(field)) } }
        }
        @if contents.more_fields > 0 { p.small { (count(contents.more_fields, "more field")) "." } }
    }
}

fn row(field: &HeaderField) -> Markup {
    let side = |side: &Option<String>| html! { @if let Some(text) = side { (whole(text)) } };
    html! {
        tr {
            @if field.change == "unchanged" {
                th scope="row" { "the same" }
                td colspan="2" data-label="On both sides" { (side(&field.before)) }
            } @else {
                th scope="row" { strong { (field.change) } }
                td data-label="As it was handed over" { (side(&field.before)) }
                td data-label="As it leaves" { (side(&field.after)) }
            }
        }
    }
}

fn parts(id: QueueId, contents: &Contents) -> Markup {
    html! {
        table {
            caption.hidden { "Its parts" }
            thead { tr {
                th scope="col" { "Part" }
                th scope="col" { "Name" }
                th scope="col" { "Type" }
                th.number scope="col" { "Size" }
                th scope="col" { "As a file" }
            } }
            tbody { @for part in &contents.parts { (listed(id, part)) } }
        }
        @if contents.more_parts > 0 { p.small { (count(contents.more_parts, "more part")) "." } }
        @if contents.is_cut { p.small { "It is so long that only its beginning was looked at." } }
    }
}

fn listed(id: QueueId, part: &Part) -> Markup {
    html! {
        tr {
            th scope="row" { (part.number) }
            td data-label="Name" {
                @if let Some(name) = &part.name { (said(name)) }
                @if part.is_attachment { " (attachment)" }
                @if part.media_type == HTML {
                    " " a href={ "/messages/" (id) "/html/" (part.number) } { "Show the HTML" }
                }
            }
            td data-label="Type" { (said(&part.media_type)) }
            td.number data-label="Size" { (size(part.size_bytes)) }
            td { a href={ "/messages/" (id) "/files/" (part.number) } aria-label={ "Download part " (part.number) } { "Download" } }
        }
    }
}

/// A text of several lines. A tab would be written out as what could deceive.
fn whole(text: &str) -> Markup {
    html! {
        @for (number, line) in text.lines().enumerate() {
            @if number > 0 { "\n" }
            (said(&line.replace('\t', "    ")))
        }
    }
}
