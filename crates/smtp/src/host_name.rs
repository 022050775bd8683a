//! The rule for what a host may be called.
//!
//! Rule: pure; one answer for each question, wherever it is asked. Must not know what the name is for.

/// Octets of a name (RFC 1035 section 2.3.4).
pub const NAME_LENGTH_MAX: usize = 253;
/// Octets of a label.
const LABEL_LENGTH_MAX: usize = 63;

/// Whether it is a label as a domain of RFC 5321 section 4.1.2 has it: letters, digits, and hyphens within.
#[must_use]
pub fn is_label(label: &str) -> bool {
    (1..=LABEL_LENGTH_MAX).contains(&label.len())
        && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// Whether hosts are called so: labels of letters, digits, hyphens and, as some are, underscores. One label is enough, and
/// an IPv4 address looks the same.
#[must_use]
pub fn is_host_name(name: &str) -> bool {
    name.len() <= NAME_LENGTH_MAX
        && name.split('.').all(|label| !label.is_empty())
        && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-._".contains(&octet))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_called_in_letters_digits_hyphens_and_underscores() {
        let long = format!("{}.example", "x".repeat(NAME_LENGTH_MAX));
        for name in
            ["smtp.gmail.com", "localhost", "my_nas.lan", "xn--bcher-kva.example", "10.0.0.1"]
        {
            assert!(is_host_name(name), "{name}");
        }
        for name in ["", ".", "a..b", "a.", "b\u{fc}cher.example", "a b", "[::1]", "a:25", &long] {
            assert!(!is_host_name(name), "{name}");
        }
    }

    #[test]
    fn a_label_of_a_domain_begins_and_ends_with_a_letter_or_digit() {
        for label in ["a", "web01", "xn--bcher-kva", "1"] {
            assert!(is_label(label), "{label}");
        }
        for label in ["", "-a", "a-", "a_b", &"x".repeat(LABEL_LENGTH_MAX + 1)] {
            assert!(!is_label(label), "{label}");
        }
    }
}
