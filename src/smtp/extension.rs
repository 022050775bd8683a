//! The service extensions: what EHLO advertises, and the parameters of MAIL and RCPT they bring.
//!
//! Rule: only what is advertised here is understood there. STARTTLS, AUTH and CHUNKING are not offered.
//! Must not know which client may use what.

use super::{command::CommandError, session::Options};

/// The lines after the first one of EHLO's reply.
pub fn advertised(options: &Options) -> Vec<String> {
    [
        "PIPELINING",
        &format!("SIZE {}", options.max_message_bytes),
        "8BITMIME",
        "SMTPUTF8",
        "ENHANCEDSTATUSCODES",
    ]
    .map(str::to_owned)
    .into()
}

/// The parameters behind the path of MAIL or RCPT.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// SIZE= of MAIL (RFC 1870), 0 when it was not declared. A number beyond `u64` becomes its largest.
    pub declared_bytes: u64,
    /// BODY=8BITMIME of MAIL (RFC 6152).
    pub eight_bit: bool,
    /// SMTPUTF8 of MAIL (RFC 6531).
    pub internationalized: bool,
    /// There was a parameter of an extension that we do not offer.
    pub has_unknown: bool,
}

impl Parameters {
    /// Reads what follows the path of MAIL.
    pub fn of_mail(text: &str) -> Result<Self, CommandError> {
        let mut parameters = Self::default();
        for parameter in text.split_ascii_whitespace() {
            let (keyword, value) = match parameter.split_once('=') {
                Some((keyword, value)) => (keyword, Some(value)),
                None => (parameter, None),
            };
            match (keyword.to_ascii_uppercase().as_str(), value) {
                ("SIZE", Some(value)) => parameters.declared_bytes = size(value)?,
                ("BODY", Some(value)) if value.eq_ignore_ascii_case("8BITMIME") => {
                    parameters.eight_bit = true
                }
                ("BODY", Some(value)) if value.eq_ignore_ascii_case("7BIT") => parameters.eight_bit = false,
                ("SMTPUTF8", None) => parameters.internationalized = true,
                ("SIZE", None) => return Err(CommandError::Parameter("SIZE")),
                ("BODY", _) => return Err(CommandError::Parameter("BODY")),
                ("SMTPUTF8", Some(_)) => return Err(CommandError::Parameter("SMTPUTF8")),
                _ => parameters.has_unknown = true,
            }
        }
        Ok(parameters)
    }

    /// Reads what follows the path of RCPT: none of our extensions has a parameter there.
    pub fn of_recipient(text: &str) -> Self {
        Self { has_unknown: !text.trim_ascii().is_empty(), ..Self::default() }
    }
}

fn size(value: &str) -> Result<u64, CommandError> {
    if value.is_empty() || !value.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err(CommandError::Parameter("SIZE"));
    }
    Ok(value.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_in_any_case_and_order() {
        assert_eq!(
            Parameters::of_mail(" smtputf8  Size=42 BODY=8bitmime "),
            Ok(Parameters {
                declared_bytes: 42,
                eight_bit: true,
                internationalized: true,
                has_unknown: false
            })
        );
        assert_eq!(Parameters::of_mail("SIZE=99999999999999999999999").unwrap().declared_bytes, u64::MAX);
        assert!(Parameters::of_mail("RET=HDRS").unwrap().has_unknown);
        assert!(Parameters::of_recipient("NOTIFY=NEVER").has_unknown);
    }

    #[test]
    fn values_that_make_no_sense_are_named() {
        for (text, keyword) in [
            ("SIZE", "SIZE"),
            ("SIZE=", "SIZE"),
            ("SIZE=-1", "SIZE"),
            ("SIZE=1k", "SIZE"),
            ("BODY", "BODY"),
            // It needs BDAT, which is not offered.
            ("BODY=BINARYMIME", "BODY"),
            ("SMTPUTF8=yes", "SMTPUTF8"),
        ] {
            assert_eq!(Parameters::of_mail(text), Err(CommandError::Parameter(keyword)), "{text}");
        }
    }
}
