//! The lists and the other tables, cell by cell: what the page shows is what the API answers, whatever somebody has sent.

use serde_json::Value;

use super::{Stage, browser::Answer};
use crate::support::outage::seed;

/// Pieces of hostile text.
const PIECES: [&str; 12] = [
    "<b>",
    "&amp;",
    "\"",
    "'>",
    "</td><td>",
    "\u{202e}",
    "\u{1b}[2J",
    "#7",
    "\u{e9}",
    "  ",
    "%0d%0a",
    "toner",
];

/// The cells of the tables of a document, as a reader has them.
fn cells(document: &Answer) -> Vec<Vec<String>> {
    let tables = document.body.split("<tbody>").skip(1);
    let rows = tables.flat_map(|table| {
        let table = table.split("</tbody>").next().unwrap_or_default();
        table.split("<tr>").skip(1).collect::<Vec<_>>()
    });
    let cells = rows.map(|row| {
        row.split("</td>").flat_map(|part| part.split("</th>")).map(text).collect::<Vec<_>>()
    });
    cells.collect()
}

/// A piece of a document without its tags.
fn text(piece: &str) -> String {
    let parts = piece.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text));
    let text = parts.collect::<String>();
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
    text.replace("&amp;", "&").trim().to_owned()
}

fn of<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Mail from several senders, whose subjects try to break out.
fn hostile_mail(stage: &Stage, random: &mut fastrand::Rng) {
    for number in 0..12 {
        let subject: String = (0..5).map(|_| PIECES[random.usize(..PIECES.len())]).collect();
        let sender = ["a@example.org", "\"<i>\"@example.org", ""][number % 3];
        let message = format!("Subject: x{subject}y\r\n\r\nx");
        stage.submit(sender, &format!("\"<u>{number}\"@example.net"), &message);
    }
}

#[test]
fn every_cell_of_every_table_is_the_answer_of_the_api() {
    let stage = Stage::new();
    hostile_mail(&stage, &mut fastrand::Rng::with_seed(seed("the tables of the page")));
    let mut visitor = stage.visitor(&["--look"]);
    let list = stage.json(&["queue", "list"]);
    let shown = cells(&visitor.get("/queue"));
    let messages = list["messages"].as_array().expect("messages");
    assert_eq!(shown.len(), messages.len());
    for (cells, message) in shown.iter().zip(messages) {
        let from = message["from"].as_str().unwrap_or("<>");
        let to = of(&message["recipients"][0], "address");
        assert_eq!(cells[0], of(message, "id"));
        assert_eq!(cells[3], format!("{from} to {to}"));
        assert_eq!(cells[4], of(message, "subject").trim());
    }
    for by in ["from", "to", "client", "subject", "state", "reason"] {
        let counts = stage.json(&["queue", "list", "--count-by", by]);
        let shown = cells(&visitor.get(&format!("/queue?count={by}")));
        let values = counts["values"].as_array().expect("values");
        assert_eq!(shown.len(), values.len(), "{by}");
        for (cells, value) in shown.iter().zip(values) {
            assert_eq!(cells[0], of(value, "value").trim(), "{by}");
            assert_eq!(cells[1], value["messages"].to_string(), "{by}");
            assert_eq!(cells[2], value["recipients"].to_string(), "{by}");
        }
    }
    let clients = stage.json(&["clients"]);
    let shown = cells(&visitor.get("/clients"));
    for (cells, client) in shown.iter().zip(clients["clients"].as_array().expect("clients")) {
        assert_eq!(cells[0], of(client, "address"));
        for (cell, key) in [(3, "connections"), (4, "accepted"), (5, "refused")] {
            assert_eq!(cells[cell], client[key].to_string(), "{key}");
        }
    }
}

#[test]
fn each_count_beside_a_list_leads_to_the_messages_that_it_counts() {
    let stage = Stage::new();
    hostile_mail(&stage, &mut fastrand::Rng::with_seed(seed("the tables of the page")));
    let mut visitor = stage.visitor(&["--look"]);
    let list = visitor.get("/queue");
    let aside = list.body.split_once("<aside").expect("counts").1;
    let links = aside.split("<li><a href=\"").skip(1);
    let links: Vec<(String, u64)> = links
        .map(|rest| {
            let link = rest.split('"').next().expect("a link").replace("&amp;", "&");
            let number = rest.split("<span class=\"small\">").nth(1).expect("a number");
            (link, number.split('<').next().expect("a number").parse().expect("a number"))
        })
        .collect();
    assert!(links.len() > 3 + 6, "{links:?}");
    for (link, number) in links {
        let narrowed = visitor.get(&link);
        assert_eq!(narrowed.status, 200, "{link}");
        let found = cells(&narrowed).len() as u64;
        assert!(found >= number, "{found} of {number} behind {link}");
        if link.contains("from%3A") || link.contains("client%3A") || link.contains("to%3A") {
            assert_eq!(found, number, "{link}");
        }
    }
}

#[test]
fn the_head_of_a_column_orders_a_list_also_that_of_dead_letters() {
    let stage = Stage::new();
    for (sender, length) in [("b@example.org", 10), ("a@example.org", 3_000)] {
        let text = format!("Subject: x\r\n\r\n{}", "x".repeat(length));
        stage.submit(sender, "c@example.net", &text);
    }
    let ids = stage.ids();
    let mut visitor = stage.visitor(&["--look"]);
    let order =
        |list: &Answer| cells(list).into_iter().map(|mut row| row.remove(0)).collect::<Vec<_>>();
    let list = visitor.get("/queue");
    assert_eq!(order(&list), ids);
    for sort in ["age", "next", "from", "size"] {
        assert!(list.body.contains(&format!("href=\"/queue?sort={sort}\"")), "{}", list.body);
    }
    for sort in ["from", "size"] {
        let sorted = visitor.get(&format!("/queue?sort={sort}"));
        assert_eq!(order(&sorted), [ids[1].as_str(), ids[0].as_str()], "{sort}");
    }
    for path in ["/dead?sort=size", "/dead?count=from", "/history?sort=from"] {
        assert_eq!(visitor.get(path).status, 200, "{path}");
    }
}
