//! Whom a header section names: To, Cc, Bcc and, as the worst that a server might do, the Resent fields as well.
//!
//! Rule: each mailbox counts as often as it is named, so that whoever would get mail twice is seen to. It shares no code with
//! the relay that writes these fields. Must not know what becomes of them.

use pillarbox_smtp::address::Address;

/// Fields with recipients, in lower case.
const FIELDS: [&str; 6] = ["to", "cc", "bcc", "resent-to", "resent-cc", "resent-bcc"];

/// The recipients in their order, or the field that cannot be read.
pub(super) fn recipients(message: &[u8]) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    for line in unfolded(message) {
        let Some((name, value)) = line.split_once(':') else { continue };
        if FIELDS.contains(&name.trim().to_ascii_lowercase().as_str()) {
            let listed = listed(value).ok_or_else(|| name.trim().to_owned())?;
            found.extend(listed.into_iter().map(String::from));
        }
    }
    Ok(found)
}

/// The fields of the header section, each in one line.
fn unfolded(message: &[u8]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in String::from_utf8_lossy(message).split('\n') {
        let line = line.trim_end_matches('\r');
        if line.is_empty() {
            break;
        }
        match lines.last_mut().filter(|_| line.starts_with([' ', '\t'])) {
            Some(last) => last.push_str(line),
            None => lines.push(line.to_owned()),
        }
    }
    lines
}

/// The mailboxes of one field; `None` when one of them is none.
fn listed(value: &str) -> Option<Vec<Address>> {
    let (mut found, mut element, mut depth) = (Vec::new(), String::new(), 0_u32);
    let (mut quoted, mut escaped, mut angle) = (false, false, false);
    for character in value.chars().chain([',']) {
        let is_escaped = std::mem::take(&mut escaped);
        match character {
            _ if is_escaped => {}
            '\\' if quoted || depth > 0 => escaped = true,
            '"' if depth == 0 => quoted = !quoted,
            _ if quoted => {}
            '(' => depth += 1,
            ')' => {
                depth = depth.checked_sub(1)?;
                continue;
            }
            _ if depth > 0 => {}
            '<' => angle = true,
            '>' => angle = false,
            // The name of a group.
            ':' if !angle && !element.contains('[') => {
                element.clear();
                continue;
            }
            ',' | ';' if !angle => {
                found.extend(mailbox(element.trim())?);
                element.clear();
                continue;
            }
            _ => {}
        }
        if depth == 0 {
            element.push(character);
        }
    }
    (!quoted && !angle && depth == 0).then_some(found)
}

/// The address of one element, none when that is empty; `None` when it is no address.
fn mailbox(element: &str) -> Option<Option<Address>> {
    if element.is_empty() {
        return Some(None);
    }
    let address = match element.rsplit_once('<') {
        Some((_, inside)) => inside.strip_suffix('>')?,
        None => element,
    };
    let address: Address = address.parse().ok()?;
    address.domain().is_some().then_some(Some(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_found_as_often_as_he_is_named() {
        let header = "From: x@y.example\r\nTo: a@x.example, \"B, b\" <b@x.example>,\r\n\t(c) c@x.example\r\n\
                      Cc: Group: a@x.example;, \"d e\"@x.example\r\nbcc : f@[IPv6:::1]\r\nReply-To: g@x.example\r\n\
                      Resent-To: h@x.example\r\n\r\nTo: i@x.example\r\n";
        let expected = [
            "a@x.example",
            "b@x.example",
            "c@x.example",
            "a@x.example",
            "\"d e\"@x.example",
            "f@[IPv6:::1]",
            "h@x.example",
        ];
        assert_eq!(recipients(header.as_bytes()).unwrap(), expected);
    }

    #[test]
    fn what_is_no_list_of_mailboxes_is_refused() {
        for wrong in ["nobody", "a@x.example b@x.example", "<a@x.example", "\"a@x.example"] {
            assert_eq!(
                recipients(format!("Cc: {wrong}\r\n").as_bytes()),
                Err("Cc".to_owned()),
                "{wrong}"
            );
        }
        assert_eq!(recipients(b"To: undisclosed-recipients:;\r\nCc:\r\n"), Ok(Vec::new()));
    }
}
