//! The provider against what is configured: whose server it is, and what an account there may do.
//!
//! Rule: what relay.toml is refused for is not said again. Where the limit of a day depends on a plan, more than that of the
//! smallest is the administrator's knowledge and no fault. Pure.

use crate::{
    addressed::MAIN,
    delivery::{self, provider::Provider},
    findings::Outcome,
    quantities::count,
    settings::Settings,
};

/// The limits in use, and where they lead to.
#[derive(Clone, Debug)]
struct Used<'a> {
    provider: Provider,
    host: &'a str,
    /// In any 24 hours, with what is left to the owner; `None` without a limit.
    per_day: Option<u32>,
    per_message: u32,
    message_bytes: u64,
}

/// Whether the provider is the server's own, and its limits are kept to.
pub(super) fn of(settings: &Settings) -> Outcome {
    let outcomes = settings.all_accounts().map(|(name, delivery, owner_reserve)| {
        // What is larger than another account takes is routed past it (docs/accounts.md).
        let message_bytes = match name {
            MAIN => settings.listener.session.max_message_bytes,
            _ => 0,
        };
        (name, of_account(delivery, owner_reserve, message_bytes))
    });
    Outcome::of_accounts(!settings.accounts.is_empty(), outcomes)
}

fn of_account(delivery: &delivery::Options, owner_reserve: u32, message_bytes: u64) -> Outcome {
    judge(&Used {
        provider: delivery.provider,
        host: &delivery.host,
        per_day: delivery.recipients_per_day.with(owner_reserve).recipients(),
        per_message: delivery.limits.recipients_per_transaction,
        message_bytes,
    })
}

fn judge(used: &Used<'_>) -> Outcome {
    let (provider, profile) = (used.provider, used.provider.profile());
    if let Some(theirs) = Provider::of_host(used.host).filter(|theirs| !is_one(*theirs, provider)) {
        let (host, title, word) = (used.host, theirs.profile().title, theirs.word());
        return Outcome::warn(
            format!(
                "{host} is a server of {title}, and provider is \"{}\": limits and replies are not judged as that one's",
                provider.word()
            ),
            format!(
                "Write provider = \"{word}\" under [upstream]; docs/providers.md says what follows from it"
            ),
        );
    }
    if provider == Provider::Custom {
        return Outcome::skipped("of any other server no limits are known");
    }
    let title = profile.title;
    let known = profile.recipients_per_day;
    let is_above = used.per_day.is_none_or(|per_day| per_day > known.value);
    let day = used.per_day.map_or_else(
        || "any number of recipients a day".to_owned(),
        |per_day| format!("{} a day", count(per_day.into(), "recipient")),
    );
    if is_above && !provider.has_plans() {
        let other = match provider {
            Provider::Gmail => {
                ", or write provider = \"workspace\" under [upstream] if it is an account of an organisation"
            }
            _ => "",
        };
        return Outcome::warn(
            format!("{day} may leave, and {title} allows {} ({})", known.value, known.evidence),
            format!("Lower recipients_per_day under [budget]{other}"),
        );
    }
    let known = profile.message_bytes;
    if used.message_bytes > known.value {
        return Outcome::warn(
            format!(
                "messages of up to {} octets are taken, and {title} takes {} ({})",
                used.message_bytes, known.value, known.evidence
            ),
            "Lower max_message_bytes under [listener], so that clients hear it at once",
        );
    }
    let known = profile.recipients_per_message;
    if used.per_message > known.value && !provider.has_plans() {
        return Outcome::warn(
            format!(
                "a message has up to {}, and {title} takes {} ({})",
                count(used.per_message.into(), "recipient"),
                known.value,
                known.evidence
            ),
            "Lower recipients_per_message under [upstream]",
        );
    }
    Outcome::pass(match is_above {
        true => format!("{title}: {day}, as your plan may allow"),
        false => format!("{title}: {day}"),
    })
}

/// Whether both are run by the same, whose accounts differ by more than the host.
fn is_one(one: Provider, other: Provider) -> bool {
    one == other
        || (one.is_google() && other.is_google())
        || (one.is_microsoft() && other.is_microsoft())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::Verdict;

    fn used(provider: Provider) -> Used<'static> {
        let profile = provider.profile();
        Used {
            provider,
            host: profile.host.value.unwrap_or("mail.example.org"),
            per_day: Some(profile.recipients_per_day.value),
            per_message: profile.recipients_per_message.value,
            message_bytes: profile.message_bytes.value,
        }
    }

    #[test]
    fn every_provider_with_its_own_figures_is_well() {
        for (word, provider) in Provider::WORDS {
            assert!(!judge(&used(*provider)).is_trouble(), "{word}");
        }
    }

    #[test]
    fn each_thing_that_does_not_fit_is_named_with_what_to_write() {
        let custom = used(Provider::Custom);
        let (gmail, icloud) = (used(Provider::Gmail), used(Provider::Icloud));
        for (used, seen, remedy) in [
            (Used { host: "smtp.fastmail.com", ..custom }, "Fastmail", "provider = \"fastmail\""),
            (Used { host: "smtp.fastmail.com", ..icloud.clone() }, "Fastmail", "\"fastmail\""),
            (Used { per_day: Some(2_000), ..gmail }, "Gmail allows 500", "\"workspace\""),
            (Used { per_day: Some(1_001), ..icloud.clone() }, "allows 1000", "recipients_per_day"),
            (Used { per_day: None, ..icloud.clone() }, "any number", "recipients_per_day"),
            (
                Used { message_bytes: 20_000_001, ..icloud.clone() },
                "takes 20000000",
                "max_message_bytes",
            ),
            (Used { per_message: 501, ..icloud }, "takes 500", "recipients_per_message"),
        ] {
            let outcome = judge(&used);
            assert_eq!(outcome.verdict, Verdict::Warn, "{outcome:?}");
            assert!(outcome.seen.contains(seen) && outcome.remedy.contains(remedy), "{outcome:?}");
        }
    }

    #[test]
    fn a_larger_plan_is_the_administrators_knowledge_and_a_proxy_is_no_fault() {
        let ses = Used { per_day: Some(50_000), ..used(Provider::Ses) };
        assert!(judge(&ses).seen.contains("as your plan may allow"));
        let proxy = Used { host: "proxy.example.org", ..used(Provider::Gmail) };
        assert!(!judge(&proxy).is_trouble());
        let relay = Used { host: "smtp-relay.gmail.com", ..used(Provider::Gmail) };
        assert!(!judge(&relay).is_trouble());
    }
}
