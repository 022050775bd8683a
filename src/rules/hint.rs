//! The priority that a client gives its mail, as a hint for the lane.
//!
//! Rule: a hint is heard only from who is trusted and where the configuration says so, and a rule that names a lane goes
//! before it. Must not know who is trusted.

use crate::message::{
    envelope::Lane,
    excerpt::{Excerpt, Wanted},
};

/// From which MT-PRIORITY on mail is urgent: the level of that name in the profile of MIXER (RFC 6710 appendix).
const URGENT_FROM: i8 = 4;

/// Fields that say how important a message is, in the order in which they are asked: RFC 2156 (MIXER), and what mail programs
/// write.
const FIELDS: [&str; 3] = ["priority", "importance", "x-priority"];

/// Adds the fields that are looked at.
pub(crate) fn want(wanted: &mut Wanted) {
    FIELDS.iter().for_each(|name| wanted.add(name));
}

/// The lane of a message with this MT-PRIORITY; `None` for what is neither urgent nor less than normal.
pub(crate) fn of_priority(priority: i8) -> Option<Lane> {
    match priority {
        URGENT_FROM.. => Some(Lane::Urgent),
        ..0 => Some(Lane::Bulk),
        0..URGENT_FROM => None,
    }
}

/// The lane that the header hints at: the first of the fields that says something else than "normal".
pub(crate) fn of_header(excerpt: &Excerpt) -> Option<Lane> {
    let of_field = |name: &&str| {
        let value = excerpt.values(name).next()?;
        let word = value.split([' ', '(', ';']).next().unwrap_or_default().to_ascii_lowercase();
        match (*name, word.as_str()) {
            ("priority", "urgent") | ("importance", "high") | ("x-priority", "1" | "2") => {
                Some(Lane::Urgent)
            }
            ("priority", "non-urgent") | ("importance", "low") | ("x-priority", "4" | "5") => {
                Some(Lane::Bulk)
            }
            _ => None,
        }
    };
    FIELDS.iter().find_map(of_field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_priority_of_four_and_more_is_urgent_and_a_negative_one_bulk() {
        for priority in -9..0 {
            assert_eq!(of_priority(priority), Some(Lane::Bulk), "{priority}");
        }
        for priority in 0..4 {
            assert_eq!(of_priority(priority), None, "{priority}");
        }
        for priority in 4..=9 {
            assert_eq!(of_priority(priority), Some(Lane::Urgent), "{priority}");
        }
    }

    #[test]
    fn what_mail_programs_write_of_importance_is_understood_and_normal_says_nothing() {
        let mut wanted = Wanted::default();
        want(&mut wanted);
        for (header, lane) in [
            ("X-Priority: 1 (Highest)\r\n", Some(Lane::Urgent)),
            ("X-Priority: 2\r\n", Some(Lane::Urgent)),
            ("X-Priority: 3 (Normal)\r\n", None),
            ("X-Priority: 5(lowest)\r\n", Some(Lane::Bulk)),
            ("X-Priority: 11\r\n", None),
            ("Importance: High\r\n", Some(Lane::Urgent)),
            ("importance: low\r\n", Some(Lane::Bulk)),
            ("Importance: normal\r\nX-Priority: 1\r\n", Some(Lane::Urgent)),
            ("Priority: urgent\r\n", Some(Lane::Urgent)),
            ("Priority: Non-Urgent\r\nImportance: high\r\n", Some(Lane::Bulk)),
            ("Priority: normal\r\n", None),
            ("Subject: urgent\r\n", None),
        ] {
            let excerpt = Excerpt::of(format!("{header}\r\n").as_bytes(), true, &wanted);
            assert_eq!(of_header(&excerpt), lane, "{header}");
        }
    }
}
