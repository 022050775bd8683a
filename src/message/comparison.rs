//! Two header sections beside each other: as a client has handed it over, and as it leaves.
//!
//! Rule: pure, and it compares what is there; which edits there are is not known here.

use std::collections::{HashMap, VecDeque};

use super::header::{Field, Header};

/// What a renamed field is called before its old name.
const NEW_NAMES: [&str; 2] = ["X-Original-", "X-Duplicate-"];

/// What became of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Unchanged,
    Changed,
    Renamed,
    Added,
    Removed,
}

impl Change {
    /// The name, as in the API.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Changed => "changed",
            Self::Renamed => "renamed",
            Self::Added => "added",
            Self::Removed => "removed",
        }
    }
}

/// A field on both sides; its octets without the last line end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pair<'a> {
    pub(crate) change: Change,
    pub(crate) before: Option<&'a [u8]>,
    pub(crate) after: Option<&'a [u8]>,
}

/// Pairs the fields of both, in the order in which they leave; what was removed stands where it was. `None` when one of
/// them is longer than what is edited.
pub(crate) fn compare<'a>(before: &'a [u8], after: &'a [u8]) -> Option<Vec<Pair<'a>>> {
    let (before, after) = (Header::read(before, 0)?, Header::read(after, 0)?);
    let mut old = Old::new(before.fields());
    let mut found: Vec<Option<(usize, Change)>> = vec![None; after.fields().len()];
    let ways: [Way<'a>; 3] = [Old::unchanged, Old::renamed, Old::changed];
    for way in ways {
        for (place, field) in found.iter_mut().zip(after.fields()) {
            *place = place.or_else(|| way(&mut old, field));
        }
    }
    let (mut pairs, mut next) = (Vec::new(), 0);
    for (place, field) in found.into_iter().zip(after.fields()) {
        let text = Some(content(field));
        match place {
            None => pairs.push(Pair { change: Change::Added, before: None, after: text }),
            Some((number, change)) => {
                pairs.extend(old.removed(&mut next, number));
                let before = before.fields().get(number).map(content);
                pairs.push(Pair { change, before, after: text });
            }
        }
    }
    pairs.extend(old.removed(&mut next, before.fields().len()));
    Some(pairs)
}

fn content<'a>(field: &Field<'a>) -> &'a [u8] {
    let octets = field.original();
    let octets = octets.strip_suffix(b"\n").unwrap_or(octets);
    octets.strip_suffix(b"\r").unwrap_or(octets)
}

/// How a field that leaves finds the one that it was.
type Way<'a> = fn(&mut Old<'a>, &Field<'a>) -> Option<(usize, Change)>;

/// The fields before, as far as nothing has taken them.
struct Old<'a> {
    contents: Vec<&'a [u8]>,
    is_taken: Vec<bool>,
    by_content: HashMap<&'a [u8], VecDeque<usize>>,
    by_name: HashMap<String, VecDeque<usize>>,
}

impl<'a> Old<'a> {
    fn new(fields: &[Field<'a>]) -> Self {
        let contents: Vec<&[u8]> = fields.iter().map(content).collect();
        let mut old = Self {
            is_taken: vec![false; contents.len()],
            contents,
            by_content: HashMap::new(),
            by_name: HashMap::new(),
        };
        for (number, field) in fields.iter().enumerate() {
            old.by_content.entry(content(field)).or_default().push_back(number);
            let name = field.name().to_ascii_lowercase();
            old.by_name.entry(name).or_default().push_back(number);
        }
        old
    }

    fn unchanged(&mut self, field: &Field<'a>) -> Option<(usize, Change)> {
        let number = self.by_content.get_mut(content(field))?.pop_front()?;
        self.is_taken[number] = true;
        Some((number, Change::Unchanged))
    }

    fn renamed(&mut self, field: &Field<'a>) -> Option<(usize, Change)> {
        let name = field.name();
        let old_name = NEW_NAMES.iter().find_map(|new| name.strip_prefix(new))?;
        Some((self.take(old_name)?, Change::Renamed))
    }

    fn changed(&mut self, field: &Field<'a>) -> Option<(usize, Change)> {
        Some((self.take(&field.name())?, Change::Changed))
    }

    /// The first of this name that is left; of a renamed one the last is as good: only their texts tell them apart.
    fn take(&mut self, name: &str) -> Option<usize> {
        let all = self.by_name.get_mut(&name.to_ascii_lowercase())?;
        while let Some(number) = all.pop_front() {
            if !std::mem::replace(&mut self.is_taken[number], true) {
                return Some(number);
            }
        }
        None
    }

    /// Those that nothing has taken, up to this one.
    fn removed(&self, next: &mut usize, until: usize) -> Vec<Pair<'a>> {
        let range = *next..until.max(*next);
        *next = until.saturating_add(1).max(*next);
        let left = range.filter(|number| self.is_taken.get(*number) == Some(&false));
        let pair = |number: usize| Pair {
            change: Change::Removed,
            before: Some(self.contents[number]),
            after: None,
        };
        left.map(pair).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(before: &str, after: &str) -> Vec<String> {
        let pairs = compare(before.as_bytes(), after.as_bytes()).expect("short");
        let text = |side: Option<&[u8]>| {
            side.map_or_else(|| "-".to_owned(), |octets| String::from_utf8_lossy(octets).into())
        };
        let line = |pair: &Pair<'_>| {
            format!("{} {} | {}", pair.change.name(), text(pair.before), text(pair.after))
        };
        pairs.iter().map(line).collect()
    }

    #[test]
    fn every_field_of_both_sides_is_there_once_with_what_became_of_it() {
        let before =
            "Bcc: secret\r\nDate: soon\r\nFrom: a\r\nSubject: x\r\nSubject: y\r\nX: 1\nBcc: z";
        let after = "Received: r\r\nDate: now\r\nX-Original-Date: soon\r\nFrom: b\r\nSubject: x\r\n\
                     X-Duplicate-Subject: y\r\nX: 1\r\n";
        assert_eq!(
            told(before, after),
            [
                "added - | Received: r",
                "added - | Date: now",
                "removed Bcc: secret | -",
                "renamed Date: soon | X-Original-Date: soon",
                "changed From: a | From: b",
                "unchanged Subject: x | Subject: x",
                "renamed Subject: y | X-Duplicate-Subject: y",
                "unchanged X: 1 | X: 1",
                "removed Bcc: z | -",
            ]
        );
        assert!(told("", "").is_empty());
        assert_eq!(told("A: 1\r\n", ""), ["removed A: 1 | -"]);
    }

    #[test]
    fn nothing_is_lost_or_doubled_whatever_stands_in_the_sections() {
        let mut random = fastrand::Rng::with_seed(11);
        let words =
            ["A: 1", "a: 2", "X-Original-A: 1", "B:", "no field", " fold", "X-Duplicate-B: "];
        for _ in 0..5_000 {
            let mut side = || -> String {
                let number = random.usize(0..8);
                (0..number).map(|_| format!("{}\r\n", words[random.usize(..words.len())])).collect()
            };
            let (before, after) = (side(), side());
            let pairs = compare(before.as_bytes(), after.as_bytes()).expect("short");
            for (text, is_before) in [(&before, true), (&after, false)] {
                let header = Header::read(text.as_bytes(), 0).expect("short");
                let mut wanted: Vec<&[u8]> = header.fields().iter().map(content).collect();
                let sides =
                    pairs.iter().map(|pair| if is_before { pair.before } else { pair.after });
                let mut found: Vec<&[u8]> = sides.flatten().collect();
                if !is_before {
                    assert_eq!(found, wanted, "in the order in which they leave");
                }
                wanted.sort();
                found.sort();
                assert_eq!(found, wanted, "{before:?} {after:?}");
            }
        }
    }
}
