//! The fuzz target of addresses: whatever is accepted is safe to write into an SMTP command.

use pillarbox::smtp::address::{Address, DOMAIN_LENGTH_MAX, LOCAL_PART_LENGTH_MAX};

/// Runs one input. Panics when something does not hold.
pub(crate) fn run(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let Ok(address) = text.parse::<Address>() else { return };
    assert_eq!(address.as_str(), text, "an address is kept as it was written");
    assert_eq!(address.as_str().parse(), Ok(address.clone()));
    assert_eq!(String::from(address.clone()), text);
    check_safe(&address);
}

/// What the rest of the program relies on.
pub(crate) fn check_safe(address: &Address) {
    let text = address.as_str();
    assert!(!text.is_empty() && !text.contains(char::is_control), "{text:?}");
    let whole = match address.domain() {
        Some(domain) => format!("{}@{domain}", address.local_part()),
        None => address.local_part().to_owned(),
    };
    assert_eq!(whole, text, "the parts make the whole");
    assert!(
        !address.local_part().is_empty() && address.local_part().len() <= LOCAL_PART_LENGTH_MAX
    );
    assert!(
        address
            .domain()
            .is_none_or(|domain| !domain.is_empty() && domain.len() <= DOMAIN_LENGTH_MAX)
    );
    assert!(outside_of_quotes(text).all(|character| !"<> ".contains(character)), "{text:?}");
}

/// The characters that stand in no quoted string.
fn outside_of_quotes(text: &str) -> impl Iterator<Item = char> + '_ {
    let (mut quoted, mut escaped) = (false, false);
    text.chars().filter(move |character| {
        if escaped {
            escaped = false;
            return false;
        }
        escaped = quoted && *character == '\\';
        quoted ^= *character == '"';
        !quoted && *character != '"'
    })
}
