//! The judgement of a message that has left: by what the queue keeps of it, without its header.
//!
//! Rule: the conditions are those of `matching.rs`; one that asks for what is not kept is left open and never guessed. Then
//! counts whether its rule struck when the message came. Must not know why anybody asks.

use super::{
    facts::Facts,
    matching::Matcher,
    ruleset::{Rule, Rules},
};

/// What is known of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept<'a> {
    /// Of its header nothing but the subject.
    pub(crate) facts: Facts<'a>,
    /// Whether that is all of the subject.
    pub(crate) has_whole_subject: bool,
    /// The name of the rule that struck when it came.
    pub(crate) struck: Option<&'a str>,
}

/// What is found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recollection<'a> {
    /// The rule that strikes.
    pub(crate) rule: Option<&'a Rule>,
    /// Rules of which it is open whether they fit, each with the first condition of which it is, and whether it struck then and
    /// so does now.
    pub(crate) open: Vec<(&'a Rule, &'a Matcher, bool)>,
}

impl Rules {
    /// The rule that strikes, as far as what is kept tells.
    pub(crate) fn recall(&self, kept: &Kept<'_>) -> Recollection<'_> {
        let mut found = Recollection::default();
        for rule in &self.rules {
            let fits = |matcher: &Matcher| {
                matcher.is_known_to_fit(&kept.facts, kept.has_whole_subject, &self.local_domains)
            };
            if rule.matchers.iter().any(|matcher| fits(matcher) == Some(false)) {
                continue;
            }
            let open = rule.matchers.iter().find(|matcher| fits(matcher).is_none());
            let is_as_then = kept.struck == Some(&*rule.name);
            found.open.extend(open.map(|matcher| (rule, matcher, is_as_then)));
            if open.is_none() || is_as_then {
                found.rule = Some(rule);
                break;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::{
        message::excerpt::Excerpt,
        rules::{Effect, HeaderTest, Size, Words},
    };

    fn rule(name: &str, matchers: Vec<Matcher>) -> Rule {
        Rule { name: name.into(), matchers, effect: Effect::default() }
    }

    fn subject(words: &str) -> Matcher {
        Matcher::Subject(vec![Words::plain(words)])
    }

    /// The rule that strikes, and those that are open.
    fn recall(
        rules: &[Rule],
        of: &str,
        whole: bool,
        struck: Option<&str>,
    ) -> (String, Vec<String>) {
        let rules = Rules::new(rules.to_vec(), &[]);
        let excerpt = Excerpt::of_subject(of);
        let facts = Facts {
            client: IpAddr::from([192, 0, 2, 7]),
            login: None,
            user: None,
            reverse_path: None,
            forward_paths: &[],
            excerpt: &excerpt,
            size_bytes: 1_000,
            hour: 12,
        };
        let found = rules.recall(&Kept { facts, has_whole_subject: whole, struck });
        let name = found.rule.map(|rule| rule.name.to_string()).unwrap_or_default();
        let open = found.open.iter().map(|(rule, matcher, is_as_then)| {
            format!("{}: {matcher}{}", rule.name, if *is_as_then { " as then" } else { "" })
        });
        (name, open.collect())
    }

    #[test]
    fn what_is_kept_is_judged_as_it_was_when_the_message_came() {
        let rules = [
            rule("large", vec![Matcher::Size(vec![Size::Above(2_000)])]),
            rule("raid", vec![subject("degraded"), Matcher::Size(vec![Size::Below(2_000)])]),
            rule("all", Vec::new()),
        ];
        let none = Vec::new();
        assert_eq!(recall(&rules, "RAID degraded", true, None), ("raid".into(), none));
        let (name, ..) = recall(&rules, "RAID well", true, Some("raid"));
        assert_eq!(name, "all", "whatever a rule of its name said then");
    }

    #[test]
    fn what_asks_for_the_header_strikes_where_it_struck_then_and_is_named_elsewhere() {
        let header = Matcher::Header(vec![HeaderTest::List, HeaderTest::Bulk]);
        let rules = [
            rule("news", vec![header, subject("offer")]),
            rule("subject", vec![Matcher::Header(vec![HeaderTest::Field("subject".into(), None)])]),
        ];
        let open = vec!["news: header = [\"list\", \"bulk\"]".to_owned()];
        assert_eq!(recall(&rules, "offer", true, None), ("subject".into(), open));
        let open = vec!["news: header = [\"list\", \"bulk\"] as then".to_owned()];
        assert_eq!(recall(&rules, "offer", true, Some("news")), ("news".into(), open));
        let unfit = recall(&rules, "failed", true, Some("news"));
        assert_eq!(unfit, ("subject".into(), Vec::new()), "its subject says no");
    }

    #[test]
    fn words_that_may_stand_behind_the_kept_beginning_of_a_subject_are_open() {
        let rules = [rule("raid", vec![subject("degraded")])];
        let open = vec!["raid: subject = \"degraded\"".to_owned()];
        assert_eq!(recall(&rules, "a long...", false, None), (String::new(), open));
        assert_eq!(recall(&rules, "degraded...", false, None), ("raid".into(), Vec::new()));
        assert_eq!(recall(&rules, "a long", true, None), (String::new(), Vec::new()));
    }
}
