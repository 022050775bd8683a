//! The meaning of a refusal of Microsoft, whose numbers (AADSTS) say more than the code of the RFC does.
//!
//! Rule: pure. A number is compared as a whole, for some begin with others. What another login mends is dead; what is wrong
//! with the application or the organisation is refused. Must not know requests.

use super::error::Kind;

/// What stands before a number.
const PREFIX: &str = "AADSTS";
/// What begins the numbers of one request.
const TRACE: &str = "Trace ID:";
/// In the place of the command with which the account's owner consents.
pub(super) const COMMAND: &str = "{command}";

/// A number of Microsoft, what it means, and what a person does.
type Row = (&'static str, Kind, &'static str);

/// What an application of an organisation is told, which nobody consents to but its administrator.
const APPLICATION: &[Row] = &[
    (
        "7000222",
        Kind::Refused,
        "The application's secret has expired: create a new one (https://entra.microsoft.com, App registrations, \
         Certificates & secrets), store it in upstream.oauth_client_secret_file, then run `pillarbox resume`.",
    ),
    (
        "7000215",
        Kind::Refused,
        "The application's secret is wrong; its value is wanted, not its id: store it in \
         upstream.oauth_client_secret_file, then run `pillarbox resume`.",
    ),
    (
        "700016",
        Kind::Refused,
        "The organisation does not know the application: compare upstream.oauth_client_id and upstream.oauth_tenant with its \
         page (https://entra.microsoft.com, App registrations), then run `pillarbox resume`.",
    ),
    (
        "700027",
        Kind::Refused,
        "The organisation does not know the application's certificate, or it has ended: upload the one of \
         upstream.oauth_client_certificate_file (https://entra.microsoft.com, App registrations, Certificates & secrets), then run \
         `pillarbox resume`.",
    ),
    (
        "90002",
        Kind::Refused,
        "There is no such organisation: compare upstream.oauth_tenant with the directory (tenant) id of the application \
         (https://entra.microsoft.com, App registrations), then run `pillarbox resume`.",
    ),
    (
        "53003",
        Kind::Refused,
        "A conditional access policy of the organisation refuses this host: ask its administrator, then run \
         `pillarbox resume`.",
    ),
];

/// What is said about an account whose owner consents.
const OWNER: &[Row] = &[
    (
        "50173",
        Kind::Dead,
        "The account's password was changed, or its sessions were ended, and the token with them: run `{command}` and log in \
         anew.",
    ),
    (
        "700082",
        Kind::Dead,
        "The token lay unused for too long, which ends it (after 90 days as a rule): run `{command}`.",
    ),
    ("700081", Kind::Dead, "The token has reached its greatest age: run `{command}`."),
    (
        "70008",
        Kind::Dead,
        "The token or the code has ended, because it was not used in time: run `{command}`.",
    ),
    (
        "70043",
        Kind::Dead,
        "A policy of the organisation wants a new login every few hours or days (sign-in frequency): have its administrator \
         exempt this application, then run `{command}`.",
    ),
    (
        "50076",
        Kind::Dead,
        "The organisation wants a second factor, with which nobody has logged in yet: run `{command}` and give it there.",
    ),
    (
        "50079",
        Kind::Dead,
        "The account must register a second factor first: do that at https://mysignins.microsoft.com, then run `{command}`.",
    ),
    (
        "65001",
        Kind::Dead,
        "Nobody has allowed the application to send mail as the account: run `{command}` and consent. Where only administrators \
         may consent, one grants SMTP.Send first (https://entra.microsoft.com, App registrations, API permissions, Grant \
         admin consent).",
    ),
    (
        "65004",
        Kind::Dead,
        "Consent was refused in the browser: run `{command}` again and accept there.",
    ),
    (
        "50020",
        Kind::Refused,
        "The account belongs to another organisation, or to none: correct upstream.oauth_tenant; for an account of Outlook.com \
         set provider = \"outlook\". Then run `{command}`.",
    ),
    (
        "50034",
        Kind::Refused,
        "The organisation has no such account: compare upstream.oauth_tenant with the account that logs in, then run \
         `{command}`.",
    ),
    (
        "50057",
        Kind::Refused,
        "The account is disabled: ask the administrator of the organisation, then run `{command}`.",
    ),
    (
        "50105",
        Kind::Refused,
        "The application is for accounts that are assigned to it, and this one is not: have it assigned \
         (https://entra.microsoft.com, Enterprise applications, Users and groups), then run `{command}`.",
    ),
    (
        "50194",
        Kind::Refused,
        "The application is for one organisation alone: write its directory (tenant) id as upstream.oauth_tenant, then run \
         `{command}`.",
    ),
    (
        "7000218",
        Kind::Refused,
        "The application may not do without a secret: set \"Allow public client flows\" to Yes (https://entra.microsoft.com, App \
         registrations, Authentication), then run `{command}`.",
    ),
    (
        "700025",
        Kind::Refused,
        "The application is public and has no secret: remove upstream.oauth_client_secret_file and \
         upstream.oauth_client_secret, then run `{command}`.",
    ),
    (
        "700016",
        Kind::Refused,
        "The application is not known there: compare upstream.oauth_client_id (and upstream.oauth_tenant) with its page \
         (https://entra.microsoft.com, App registrations), then run `{command}`. For an account of Outlook.com its supported \
         account types must include personal accounts.",
    ),
    (
        "70011",
        Kind::Refused,
        "The application may not ask for sending mail: add SMTP.Send to its API permissions (https://entra.microsoft.com, \
         App registrations), then run `{command}`.",
    ),
    (
        "90002",
        Kind::Refused,
        "There is no such organisation: compare upstream.oauth_tenant with the directory (tenant) id of the application \
         (https://entra.microsoft.com, App registrations), then run `{command}`.",
    ),
    (
        "53003",
        Kind::Refused,
        "A conditional access policy of the organisation refuses this login, perhaps device codes as such: ask its \
         administrator, then run `{command}`. An application of the organisation needs no person (docs/microsoft.md).",
    ),
];

/// A consent that has come to nothing, by its code (RFC 8628 section 3.5, and Microsoft's own).
const DEVICE: &[Row] = &[
    (
        "access_denied",
        Kind::Refused,
        "Consent was refused in the browser: run `{command}` again and accept there.",
    ),
    (
        "authorization_declined",
        Kind::Refused,
        "Consent was refused in the browser: run `{command}` again and accept there.",
    ),
    (
        "expired_token",
        Kind::Local,
        "Nobody has entered the code in time: run `{command}` again; it gives a new code.",
    ),
    (
        "bad_verification_code",
        Kind::Local,
        "The code is not known any more: run `{command}` again; it gives a new code.",
    ),
];

/// Microsoft's words without what names one request (`Trace ID: ...`): the same refusal is to be known again.
pub(super) fn without_trace(words: &str) -> &str {
    let end = [TRACE, "\r\n", "\n"].iter().filter_map(|mark| words.find(mark)).min();
    words.get(..end.unwrap_or(words.len())).unwrap_or(words).trim_end()
}

/// What it means, and what a person does; [`COMMAND`] stands for the command with which the owner consents.
pub(super) type Meaning = (Kind, &'static str);

/// A refusal of an application of an organisation.
pub(super) fn of_application(words: &str) -> Meaning {
    by_number(APPLICATION, words).unwrap_or((
        Kind::Refused,
        "Check upstream.oauth_tenant, upstream.oauth_client_id and the secret, and that an administrator has granted the \
         application SMTP.SendAsApp (docs/microsoft.md); then run `pillarbox resume`.",
    ))
}

/// A refusal of a code for another device.
pub(super) fn of_device(code: &str, words: &str) -> Meaning {
    let known = DEVICE.iter().find(|(known, ..)| *known == code);
    known.map_or_else(|| of_owner(code, words), |(_, kind, remedy)| (*kind, remedy))
}

/// A refusal of a token of an account whose owner has consented.
pub(super) fn of_owner(code: &str, words: &str) -> Meaning {
    by_number(OWNER, words).unwrap_or_else(|| match code {
        _ if words.contains("consumers") => (
            Kind::Refused,
            "The application is not for personal accounts: make them one of its supported account types \
             (https://entra.microsoft.com, App registrations, Authentication), or correct upstream.oauth_client_id; then run \
             `{command}`.",
        ),
        "invalid_grant" => (
            Kind::Dead,
            "Run `{command}`. The token was taken back, the account's password was changed, or the organisation wants a new \
             login.",
        ),
        _ => (
            Kind::Refused,
            "Check upstream.oauth_client_id, upstream.oauth_tenant and the application's permissions (docs/microsoft.md); then \
             run `{command}`.",
        ),
    })
}

fn by_number(table: &[Row], words: &str) -> Option<Meaning> {
    numbers(words).find_map(|number| {
        let row = table.iter().find(|(known, ..)| *known == number);
        row.map(|(_, kind, remedy)| (*kind, *remedy))
    })
}

/// Every number in Microsoft's words, as a whole.
fn numbers(words: &str) -> impl Iterator<Item = &str> {
    words.split(PREFIX).skip(1).map(|rest| {
        let end = rest.find(|character: char| !character.is_ascii_digit());
        rest.get(..end.unwrap_or(rest.len())).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_of_microsoft_has_its_own_remedy() {
        for (number, kind, words) in [
            ("50173", Kind::Dead, "password was changed"),
            ("700082", Kind::Dead, "unused"),
            ("65001", Kind::Dead, "Grant admin consent"),
            ("7000218", Kind::Refused, "Allow public client flows"),
            ("50194", Kind::Refused, "upstream.oauth_tenant"),
        ] {
            let said = format!("AADSTS{number}: something.");
            for meaning in [of_owner("invalid_grant", &said), of_device("invalid_grant", &said)] {
                assert_eq!(meaning.0, kind, "{number}");
                assert!(meaning.1.contains(words), "{number} {meaning:?}");
            }
        }
    }

    #[test]
    fn what_names_one_request_is_no_part_of_the_words() {
        for words in [
            "AADSTS50173: The grant is revoked.\r\nTrace ID: 21a7\r\nCorrelation ID: 55\r\nTimestamp: 2026-11-29 09:34:07Z",
            "AADSTS50173: The grant is revoked. Trace ID: 21a7 Correlation ID: 55 Timestamp: 2026-11-29 09:34:07Z",
            "AADSTS50173: The grant is revoked.",
        ] {
            assert_eq!(without_trace(words), "AADSTS50173: The grant is revoked.");
        }
        assert_eq!(without_trace("Trace ID: 21a7"), "");
    }

    #[test]
    fn a_number_is_not_taken_for_one_that_begins_alike() {
        // 70008 is one of its own.
        let (_, remedy) = of_owner("invalid_grant", "AADSTS700081: too old.");
        assert!(remedy.contains("greatest age"), "{remedy}");
        let (_, remedy) = of_owner("invalid_client", "AADSTS70002189: new.");
        assert!(!remedy.contains("public client"), "{remedy}");
    }

    #[test]
    fn what_the_owner_mends_names_the_command_and_what_the_application_needs_does_not() {
        let unknown = of_owner("invalid_grant", "something new");
        assert_eq!(unknown.0, Kind::Dead);
        let of_owners = OWNER.iter().chain(DEVICE).map(|(_, _, remedy)| *remedy);
        for remedy in of_owners.chain([unknown.1, of_owner("new", "").1]) {
            assert!(remedy.contains(COMMAND), "{remedy}");
        }
        for (_, kind, remedy) in APPLICATION {
            assert!(*kind == Kind::Refused && !remedy.contains(COMMAND), "{remedy}");
        }
    }

    #[test]
    fn an_application_that_is_not_for_personal_accounts_is_told_so() {
        let words = "The client does not exist or is not enabled for consumers.";
        let (_, remedy) = of_device("unauthorized_client", words);
        assert!(remedy.contains("supported account types"), "{remedy}");
    }
}
