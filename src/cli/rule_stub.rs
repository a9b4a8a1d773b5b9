//! A rule for a reply that none knew, ready to be pasted into a file of `classify.rules` and made better there.
//!
//! Every rule that is printed has been tried: loaded before the shipped ones, it decides its sample. What cannot be made
//! a rule is a comment that says why.

use std::fmt::Write as _;
use std::hash::{Hash, Hasher};

use siphasher::sip::SipHasher13;

use super::terminal::visible;
use crate::message::ProviderName;
use crate::outcome::rules::RuleFile;
use crate::outcome::template::{is_invisible, pattern};
use crate::outcome::{Cause, Classifier, Context, EnhancedCode, Reply};
use crate::telemetry::unmatched::UnmatchedReply;

const HEAD: &str = "\
# Rules for replies that blame nobody or that no rule knew, each with what they were taken for.
# Choose id, cause and scope, and what is to be done (action, for); then name this file in classify.rules.
# One that is left with cause \"unknown\" changes nothing: such a reply is still judged by its codes, and still kept.
# All keys of a rule: config/rules-local.toml in the sources.
";

/// The rules for `replies` as a rule file.
pub(super) fn file(replies: &[UnmatchedReply]) -> String {
    let stubs: Vec<String> = replies.iter().map(stub).collect();
    let rules = |wanted: &dyn Fn(usize) -> bool| -> String {
        stubs.iter().enumerate().filter(|(at, _)| wanted(*at)).map(|(_, stub)| stub.as_str()).collect()
    };
    let all = rules(&|_| true);
    // One load for all; only where that fails is each tried by itself.
    let good: Vec<bool> = match load(&all) {
        Ok(classifier) => replies.iter().map(|reply| decides(&classifier, reply)).collect(),
        Err(_) => {
            let alone = |at: usize| load(&rules(&|other| other == at)).is_ok_and(|c| decides(&c, &replies[at]));
            (0..replies.len()).map(alone).collect()
        }
    };
    let mut out = HEAD.to_owned();
    for ((reply, stub), good) in replies.iter().zip(&stubs).zip(good) {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "\n# {}", visible(&words(reply)));
        if good {
            out.push_str(stub);
        } else {
            let why = if matches!(reply.class, 4 | 5) {
                "it holds what cannot be told from a placeholder"
            } else {
                "rules are for replies of class 4 and 5"
            };
            let _ = writeln!(out, "# No rule can be made of it ({why}): {}", visible(&reply.sample));
        }
    }
    out
}

fn words(reply: &UnmatchedReply) -> String {
    let times = if reply.count == 1 { "once".to_owned() } else { format!("{} times", reply.count) };
    format!(
        "{times}, last {} at {} ({}) for {}; taken for {} by {}",
        reply.last_seen,
        reply.provider,
        reply.stage.as_str(),
        reply.binding,
        reply.cause.map_or("nothing", Cause::as_str),
        reply.rule
    )
}

fn stub(reply: &UnmatchedReply) -> String {
    let mut out = String::from("[[rule]]\n");
    let mut line = |key: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{key} = {value}");
    };
    line("id", &quoted(&id(reply)));
    line("code", &quoted(&reply.code.to_string()));
    if let Some(enhanced) = &reply.enhanced {
        line("enhanced", &quoted(enhanced));
    }
    if reply.provider != crate::telemetry::metrics::OTHER {
        line("# providers", &format!("[{}]", quoted(&reply.provider)));
    }
    line("pattern", &quoted(&pattern(&reply.template)));
    line("cause", &quoted(reply.cause.unwrap_or(Cause::Unknown).as_str()));
    line("scope", &quoted(reply.scope.as_str()));
    if reply.counts_against_ip {
        line("counts_against_ip", "true");
    }
    line("samples", &format!("[{}]", quoted(&reply.sample)));
    line("source", &quoted("seen by this relay"));
    out
}

/// An id that no other reply has; it is to be replaced by a word that says something.
fn id(reply: &UnmatchedReply) -> String {
    let mut hasher = SipHasher13::new();
    (&reply.provider, reply.code, &reply.enhanced, &reply.template).hash(&mut hasher);
    format!("own.{:012x}", hasher.finish() >> 16)
}

fn load(rules: &str) -> Result<Classifier, ()> {
    Classifier::with_rules(&[RuleFile { name: "stubs", text: rules }]).map_err(drop)
}

/// Whether its rule is the one that decides `reply`.
fn decides(classifier: &Classifier, reply: &UnmatchedReply) -> bool {
    let provider = ProviderName::new(&reply.provider);
    let context = Context { stage: reply.stage, provider: Some(&provider), own: &[] };
    let (enhanced, text) = read(reply);
    let outcome = classifier.reply(&Reply { code: reply.code, enhanced, text: text.to_owned() }, context);
    *outcome.rule == *id(reply)
}

/// Enhanced code and text of the sample.
fn read(reply: &UnmatchedReply) -> (Option<EnhancedCode>, &str) {
    let text = reply.sample.strip_prefix(&reply.code.to_string()).unwrap_or(&reply.sample).trim_start();
    match &reply.enhanced {
        Some(_) => EnhancedCode::lead(text.as_bytes())
            .map_or((None, text), |(code, rest)| (Some(code), text[text.len() - rest.len()..].trim_start())),
        None => (None, text),
    }
}

/// A TOML string (toml.io §String): as it is where it can stand so.
fn quoted(text: &str) -> String {
    if text.contains('\\') && !text.contains('\'') && text.bytes().all(|b| matches!(b, b' '..=b'~')) {
        return format!("'{text}'");
    }
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            // Writing to a String cannot fail.
            c if is_invisible(c) => drop(write!(out, "\\U{:08X}", u32::from(c)).ok()),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Wall;
    use crate::outcome::template::{Particular, sample, template};
    use crate::outcome::{Scope, Stage};

    fn seen(code: u16, enhanced: Option<&str>, text: &str) -> UnmatchedReply {
        let text = sample(text, &Particular::default());
        let codes = enhanced.map_or(code.to_string(), |enhanced| format!("{code} {enhanced}"));
        UnmatchedReply {
            class: code / 100,
            code,
            enhanced: enhanced.map(str::to_owned),
            stage: Stage::EndOfData,
            provider: "gmail".into(),
            destination: "gmail".into(),
            template: template(&text),
            sample: format!("{codes} {text}").trim_end().to_owned(),
            count: 3,
            first_seen: Wall::default(),
            last_seen: Wall::default(),
            binding: "mta1".into(),
            cause: Some(Cause::Unknown),
            scope: Scope::Unknown,
            counts_against_ip: false,
            rule: "fallback.code.permanent".into(),
        }
    }

    #[test]
    fn every_stub_loads_and_decides_its_sample() {
        let long = "Frobnication of 12 parts refused ".repeat(60);
        let replies = [
            seen(550, None, ""),
            seen(550, None, "no"),
            seen(550, None, "no way"),
            seen(450, Some("4.7.1"), "<ann@example.org>: mx1.example.org frobnicates 4XyZ1k2b9cz at 8:05:12"),
            seen(
                554,
                Some("5.7.606"),
                "Frobnicated, IP [192.0.2.1] [TSS04] (S3150), see https://example.org/q?ip=192.0.2.1",
            ),
            seen(554, Some("5.7.1"), "'quoted' \"twice\" \\ back .*+?()[]{}|^$ # größer 邮箱"),
            seen(550, None, "sorry (#5.7.9)"),
            seen(550, None, "esc \u{1b}[2J\u{202e} and\nforged = \"line\"\n[[rule]]"),
            seen(421, None, &long),
        ];
        let text = file(&replies);
        assert!(!text.contains("No rule can be made"), "{text}");
        assert!(!text.chars().any(|c| is_invisible(c) && c != '\n'), "{text:?}");
        let classifier = load(&text).expect("loads as it is");
        assert_eq!(classifier.rules().filter(|rule| rule.file == "stubs").count(), replies.len());
        for reply in &replies {
            assert!(decides(&classifier, reply), "{} in\n{text}", reply.sample);
        }
    }

    #[test]
    fn evidence_against_the_ip_stays_evidence() {
        let reply = UnmatchedReply {
            counts_against_ip: true,
            scope: Scope::Binding,
            cause: Some(Cause::PolicyAuth),
            ..seen(550, Some("5.7.25"), "Frobnicated")
        };
        let text = file(&[reply]);
        let classifier = load(&text).expect("loads");
        assert!(
            classifier.rules().next().is_some_and(|rule| rule.counts_against_ip && rule.cause == Cause::PolicyAuth)
        );
    }

    #[test]
    fn what_no_rule_can_decide_is_a_comment() {
        let forged = seen(550, None, "five <n> five");
        let text = file(&[seen(354, None, "go on"), forged, seen(550, None, "Frobnicated")]);
        assert_eq!(text.matches("# No rule can be made of it").count(), 2, "{text}");
        assert_eq!(load(&text).expect("loads").rules().filter(|rule| rule.file == "stubs").count(), 1);
    }
}
