//! The weekly report in words: a subject and a text.
//!
//! Rule: pure; a week in which nothing happened is one line. Words of others are printable and of bounded length. Must not
//! know who reads it.

use super::figures::{Changes, Figures, Need, Share};
use crate::{
    admin::spending::{Share as SpentBy, Spent, with_others},
    quantities::count,
    text,
};

/// Octets of what others have had a say in, such as a check's words with a reply in them.
const WORDS_BYTES_MAX: usize = 800;
/// Columns of the text: mail programs break longer lines anywhere.
const WIDTH: usize = 78;
/// What stands before the rest of a line that is broken: farther in than anything of ours begins, so that no stranger's words
/// look like ours.
const REST: &str = "        ";

/// What whoever gets it may want to know of it.
const CLOSING: [&str; 2] = [
    "`pillarbox report` shows this at any time. [report] in relay.toml says whether",
    "it comes by mail, which costs one recipient of the budget.",
];

/// One line that says how it stands.
#[must_use]
pub(super) fn subject(figures: &Figures) -> String {
    let Figures { host, relayed, needs, .. } = figures;
    match needs.len() {
        _ if is_empty(figures) => format!("{host}: a week without mail"),
        0 => format!("{host}: {} relayed, nothing needs you", count(*relayed, "recipient")),
        1 => format!("{host}: {} relayed, one thing needs you", count(*relayed, "recipient")),
        number => {
            format!("{host}: {} relayed, {number} things need you", count(*relayed, "recipient"))
        }
    }
}

/// The text, with a line feed behind each line.
#[must_use]
pub(super) fn text(figures: &Figures) -> String {
    let Figures { host, since, now, .. } = figures;
    if is_empty(figures) {
        return format!("Nothing happened on {host} from {since} to {now}.\n");
    }
    let mut lines =
        vec![format!("The relay on {host},"), format!("from {since} to {now}."), String::new()];
    section(&mut lines, "What needs you", needs(&figures.needs));
    section(&mut lines, "Mail", mail(figures));
    section(&mut lines, "On whom the budget was spent", origins(figures));
    section(&mut lines, "What changed", changes(&figures.changes));
    lines.extend(CLOSING.map(str::to_owned));
    let printable = lines.iter().map(|line| text::printable_within(line, WORDS_BYTES_MAX));
    printable.map(|line| broken(line.trim_end())).collect()
}

/// The line, broken between words where it is too long, with its line feeds.
fn broken(line: &str) -> String {
    let margin = &line[..line.len() - line.trim_start_matches(' ').len()];
    let (mut text, mut column) = (margin.to_owned(), margin.len());
    for (position, word) in line[margin.len()..].split(' ').enumerate() {
        let width = word.chars().count();
        if position > 0 && column + 1 + width > WIDTH {
            text.push('\n');
            text.push_str(REST);
            column = REST.len();
        } else if position > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += width;
    }
    text + "\n"
}

fn is_empty(figures: &Figures) -> bool {
    let Figures { taken, relayed, died, waiting, held, dead, needs, changes, .. } = figures;
    taken + relayed + died + waiting + held + dead == 0 && needs.is_empty() && changes.is_empty()
}

/// A title and the lines below it; without lines neither.
fn section(lines: &mut Vec<String>, title: &str, of_it: Vec<String>) {
    if of_it.is_empty() {
        return;
    }
    lines.push(title.to_owned());
    lines.extend(of_it.into_iter().map(|line| format!("  {line}")));
    lines.push(String::new());
}

fn needs(needs: &[Need]) -> Vec<String> {
    if needs.is_empty() {
        return vec!["Nothing.".to_owned()];
    }
    needs
        .iter()
        .flat_map(|Need { what, remedy }| {
            let remedy = (!remedy.is_empty()).then(|| format!("  What to do: {remedy}"));
            [Some(format!("- {what}")), remedy].into_iter().flatten()
        })
        .collect()
}

fn mail(figures: &Figures) -> Vec<String> {
    let Figures { taken, relayed, died, waiting, held, dead, spent, limit, .. } = figures;
    let lanes = figures.lanes.iter().map(|lane| format!("{} {}", lane.recipients, lane.name));
    let lanes = lanes.collect::<Vec<_>>().join(", ");
    let lanes = if lanes.is_empty() { lanes } else { format!(" ({lanes})") };
    let oldest = figures.oldest.filter(|_| *waiting > 0);
    let oldest = oldest.map_or_else(String::new, |at| format!(", the oldest since {at}"));
    let day = |spent: u32, limit: Option<u32>, whose: &str| {
        let of = limit.map_or_else(String::new, |limit| format!(" of {limit}"));
        format!("budget:   {spent}{of} recipients spent in the last 24 hours{whose}")
    };
    let whose = if figures.accounts.is_empty() { "" } else { " by main" };
    let spared = Spent { recipients: *relayed, folded: figures.folded }.spared();
    let mut lines = vec![
        format!("taken:    {}", count(*taken, "message")),
        format!("relayed:  {}{lanes}", count(*relayed, "recipient")),
    ];
    lines.extend(spared.map(|words| format!("folded:   {words}")));
    lines.extend([
        format!("refused:  {} for good", count(*died, "recipient")),
        format!("now:      {waiting} waiting{oldest}, {held} held, {dead} dead"),
        day(*spent, *limit, whose),
    ]);
    let others = figures.accounts.iter();
    lines.extend(others.map(|one| day(one.spent, one.limit, &format!(" by {}", one.account))));
    if figures.partial {
        let words = "This is not all: there was more than is counted, or the history forgot some.";
        lines.push(words.to_owned());
    }
    lines
}

fn origins(figures: &Figures) -> Vec<String> {
    let all = with_others(&figures.origins, figures.other_origins);
    // Left-aligned, so that the rest of a long origin does not look like a row.
    let row = |spent: &str, folded: &str, by: &str| format!("{spent:<7} {folded:<7} {by}");
    let head = (!all.is_empty()).then(|| row("SPENT", "FOLDED", "ORIGIN"));
    let rows = all.iter().map(|SpentBy { by, spent: Spent { recipients, folded } }| {
        row(&recipients.to_string(), &folded.to_string(), by)
    });
    head.into_iter().chain(rows).collect()
}

fn changes(changes: &Changes) -> Vec<String> {
    let mut lines = Vec::new();
    let mut named = |what: &str, names: &[String]| {
        lines.extend(names.iter().map(|name| format!("{what}: {name}")));
    };
    named("fails now, and did not", &changes.failing);
    named("failed, and is well", &changes.mended);
    named("has sent nothing, and did before", &changes.silent_clients);
    named("sends mail, and did not before", &changes.new_clients);
    let refusals = changes.new_refusals.iter().map(|Share { name, recipients }| {
        format!("a new refusal, of {}: \"{name}\"", count(*recipients, "recipient"))
    });
    lines.extend(refusals);
    match (lines.is_empty(), changes.comparable) {
        (true, true) => vec!["Nothing.".to_owned()],
        (true, false) => {
            vec!["Not known: there was no mail before, or not all of it is remembered.".to_owned()]
        }
        _ => lines,
    }
}
