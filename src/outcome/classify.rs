//! Replies and failures → [`Outcome`], by rules that are data.
//!
//! The first rule (in the order of the files) whose conditions all hold decides; [`needles`](super::needles) keeps the
//! number of patterns that have to be tried small. What follows from cause, scope and code alike for every rule is not
//! repeated in the rules but stands here: a refusal that blames our IP never bounces, what clears with time is tried
//! again although its code says 5xx, and before MAIL FROM nobody's address can be at fault.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use regex::bytes::{Regex, RegexBuilder};

use super::failure::FailureKind;
use super::needles::Needles;
use super::rules::{self, Rule, RuleError, RuleFile};
use super::{Action, Cause, Disposition, EnhancedCode, Failure, NextBinding, Outcome, Reply, Scope, Stage};
use crate::message::ProviderName;

/// What is known about an answer besides its text.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Where in the dialogue it came.
    pub stage: Stage,
    /// The provider it came from, where known.
    pub provider: Option<&'a ProviderName>,
}

/// Holds the compiled rules. Make one, share it.
#[derive(Debug)]
pub struct Classifier {
    rules: Vec<Compiled>,
    needles: Needles,
    failures: Vec<(FailureKind, Arc<str>)>,
    /// Ids of what is decided without a rule.
    delivered: Arc<str>,
    unexpected: Arc<str>,
    nothing: Arc<str>,
}

#[derive(Debug)]
struct Compiled {
    rule: Rule,
    id: Arc<str>,
    pattern: Option<Regex>,
    not: Option<Regex>,
}

impl Compiled {
    fn new(rule: Rule) -> Result<Self, RuleError> {
        let compiled = |key: &str, pattern: &Option<String>| {
            let compiled = pattern.as_deref().map(compile).transpose();
            compiled.map_err(|why| RuleError {
                file: rule.file.clone(),
                rule: Some(rule.id.clone()),
                problem: format!("{key}: {why}"),
            })
        };
        let (pattern, not) = (compiled("pattern", &rule.pattern)?, compiled("not", &rule.not)?);
        Ok(Self { id: Arc::from(rule.id.as_str()), rule, pattern, not })
    }

    /// Whether it is the rule for this reply. `text` is normalised, `enhanced` taken from wherever it stands.
    fn holds(&self, code: u16, enhanced: Option<EnhancedCode>, text: &[u8], context: Context<'_>) -> bool {
        let rule = &self.rule;
        (rule.codes.is_empty() || rule.codes.iter().any(|wanted| wanted.matches(code)))
            && (rule.enhanced.is_empty()
                || enhanced.is_some_and(|seen| rule.enhanced.iter().any(|wanted| wanted.matches(seen))))
            && (rule.stages.is_empty() || rule.stages.contains(&context.stage))
            && (rule.providers.is_empty()
                || context.provider.is_some_and(|seen| rule.providers.iter().any(|wanted| wanted == seen.as_str())))
            && self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(text))
            && !self.not.as_ref().is_some_and(|not| not.is_match(text))
    }
}

impl Classifier {
    /// The rules shipped with the program.
    pub fn shipped() -> Self {
        Self::with_rules(&[]).unwrap_or_else(|errors| {
            // The shipped files are part of the program; `shipped_rules_are_sound` compiles them.
            unreachable!("shipped rules: {errors:?}")
        })
    }

    /// The operator's rules, tried first, then the shipped ones. An operator's rule takes an id of its own.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, each with file, rule and problem.
    pub fn with_rules(own: &[RuleFile<'_>]) -> Result<Self, Vec<RuleError>> {
        let files: Vec<_> = own.iter().copied().chain(rules::SHIPPED).collect();
        let rules = rules::parse(&files)?;
        let (mut compiled, mut errors) = (Vec::with_capacity(rules.len()), Vec::new());
        for rule in rules {
            match Compiled::new(rule) {
                Ok(rule) => compiled.push(rule),
                Err(why) => errors.push(why),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let patterns = compiled.iter().map(|compiled| compiled.rule.pattern.as_deref().unwrap_or_default());
        let needles = Needles::new(patterns).ok_or_else(|| {
            vec![RuleError { file: "rules".to_owned(), rule: None, problem: "too many rules".to_owned() }]
        })?;
        let failures =
            FailureKind::ALL.iter().map(|kind| (*kind, format!("failure.{}", kind.as_str()).into())).collect();
        Ok(Self {
            rules: compiled,
            needles,
            failures,
            delivered: Arc::from("delivered"),
            unexpected: Arc::from("fallback.unexpected"),
            nothing: Arc::from("fallback.nothing"),
        })
    }

    /// All rules in the order in which they are tried.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().map(|compiled| &compiled.rule)
    }

    /// What `reply` means.
    ///
    /// It has to be one that ends something: a 3yz where none was asked for is a fault of the destination.
    pub fn reply(&self, reply: &Reply, context: Context<'_>) -> Outcome {
        match reply.code / 100 {
            2 => plain(Disposition::Delivered, None, Scope::Unknown, &self.delivered),
            4 | 5 => match self.decide(reply, context) {
                Some(found) => weigh(&found.rule, &found.id, reply, context.stage),
                None if reply.code < 500 => {
                    plain(Disposition::Deferred, Some(Cause::Unknown), Scope::Unknown, &self.nothing)
                }
                None => plain(Disposition::Bounced, Some(Cause::Unknown), Scope::Unknown, &self.nothing),
            },
            _ => Outcome {
                next_binding: NextBinding::Any,
                ..plain(Disposition::Deferred, Some(Cause::ProtocolOrConfig), Scope::Destination, &self.unexpected)
            },
        }
    }

    /// The first rule that holds.
    fn decide(&self, reply: &Reply, context: Context<'_>) -> Option<&Compiled> {
        let enhanced = reply.enhanced.or_else(|| trailing_code(reply.text.as_bytes()));
        let text = normalise(&reply.text);
        self.needles.first(&text, |at| {
            let compiled = &self.rules[at];
            compiled.holds(reply.code, enhanced, &text, context).then_some(compiled)
        })
    }

    /// What a failure without a reply means. It never bounces: after a lost final dot the fate is unknown, before it
    /// nothing was refused.
    pub fn failure(&self, failure: &Failure) -> Outcome {
        let (cause, scope, next_binding) = match failure.kind {
            FailureKind::Bind => (Cause::LocalAddress, Scope::Binding, NextBinding::Other),
            FailureKind::Refused
            | FailureKind::Unreachable
            | FailureKind::TimedOut
            | FailureKind::Reset
            | FailureKind::Protocol => (Cause::Network, Scope::Destination, NextBinding::Any),
            FailureKind::NoAddress => (Cause::DnsOrRouting, Scope::Destination, NextBinding::Any),
            FailureKind::Aborted => (Cause::Local, Scope::Us, NextBinding::Prefer),
        };
        let id = self.failures.iter().find(|(kind, _)| *kind == failure.kind).map_or(&self.nothing, |(_, id)| id);
        Outcome { next_binding, ..plain(Disposition::Deferred, Some(cause), scope, id) }
    }
}

fn plain(disposition: Disposition, cause: Option<Cause>, scope: Scope, rule: &Arc<str>) -> Outcome {
    Outcome {
        disposition,
        cause,
        scope,
        counts_against_ip: false,
        hard: false,
        next_binding: NextBinding::default(),
        retry_after: None,
        action: Action::None,
        rule: Arc::clone(rule),
    }
}

/// What `rule` makes of `reply`, together with what holds for all rules.
fn weigh(rule: &Rule, id: &Arc<str>, reply: &Reply, stage: Stage) -> Outcome {
    let early = matches!(stage, Stage::Connect | Stage::Banner | Stage::Ehlo | Stage::Tls);
    // Before MAIL FROM the receiver knows neither sender nor recipient nor message: it means the client, or itself.
    let scope = match rule.scope {
        Scope::Recipient | Scope::Message | Scope::SenderDomain | Scope::Tenant if early => Scope::Destination,
        scope => scope,
    };
    let clears = matches!(rule.cause, Cause::MailboxFull | Cause::RateLimited | Cause::Greylisted);
    let disposition = if reply.code < 500 || early || rule.counts_against_ip {
        Disposition::Deferred
    } else {
        rule.disposition.unwrap_or(if clears { Disposition::Deferred } else { Disposition::Bounced })
    };
    let bad_address = match rule.cause {
        Cause::InvalidRecipient | Cause::InactiveMailbox => true,
        Cause::DnsOrRouting => scope == Scope::Recipient,
        _ => false,
    };
    let hard = disposition == Disposition::Bounced && rule.hard.unwrap_or(bad_address);
    let next_binding = rule.next_binding.unwrap_or(match (rule.cause, scope) {
        _ if rule.counts_against_ip => NextBinding::Other,
        (Cause::Greylisted, _) => NextBinding::Prefer,
        (_, Scope::Binding | Scope::Range) => NextBinding::Any,
        _ => NextBinding::Prefer,
    });
    let waits = disposition == Disposition::Deferred;
    let wish = || {
        let worth = matches!(rule.cause, Cause::Greylisted | Cause::RateLimited | Cause::TransientOther);
        worth.then(|| wished_delay(&reply.text)).flatten()
    };
    Outcome {
        disposition,
        cause: Some(rule.cause),
        scope,
        counts_against_ip: rule.counts_against_ip,
        hard,
        next_binding,
        retry_after: if waits { wish().or(rule.retry_after) } else { None },
        action: rule.action,
        rule: Arc::clone(id),
    }
}

fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).case_insensitive(true).unicode(false).build()
}

/// The text as patterns see it: addresses become `@`, so that `spam@…` or `full-quota@…` say nothing about the reason,
/// and white space becomes one space.
fn normalise(text: &str) -> Cow<'_, [u8]> {
    let bytes = text.as_bytes();
    if memchr::memchr(b'@', bytes).is_none() && !text.contains("  ") {
        return Cow::Borrowed(bytes);
    }
    let ends_word = |b: u8| {
        b.is_ascii_whitespace()
            || matches!(b, b'<' | b'>' | b'(' | b')' | b'[' | b']' | b'"' | b'\'' | b',' | b';' | b':')
    };
    let mut out: Vec<u8> = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'@' => {
                while out.last().is_some_and(|&b| !ends_word(b) && b != b'@') {
                    out.pop();
                }
                if out.last() != Some(&b'@') {
                    out.push(b'@');
                }
                at += 1;
                // Sendmail and others go on right behind the address with dots: `user@example.com...Unknown`.
                while at < bytes.len() && !ends_word(bytes[at]) && !bytes[at..].starts_with(b"..") {
                    at += 1;
                }
            }
            byte if byte.is_ascii_whitespace() => {
                if out.last() != Some(&b' ') {
                    out.push(b' ');
                }
                at += 1;
            }
            byte => {
                out.push(byte);
                at += 1;
            }
        }
    }
    Cow::Owned(out)
}

/// The enhanced code that qmail and its kin put in brackets behind the text: `sorry, no mailbox here (#5.1.1)`.
fn trailing_code(text: &[u8]) -> Option<EnhancedCode> {
    let at = memchr::memmem::rfind(text, b"(#")?;
    let inner = &text[at + 2..];
    let end = inner.iter().position(|b| matches!(b, b')' | b' '))?;
    EnhancedCode::lead(&inner[..end]).map(|(code, _)| code)
}

/// How long the receiver asks us to wait: "try again in 300 seconds", "Greylisted for 5 minutes", "15min later".
///
/// Only a number directly before a unit of time counts, in a text that speaks of trying again; less than ten seconds
/// and more than a day are not believed.
fn wished_delay(text: &str) -> Option<Duration> {
    let text = text.to_ascii_lowercase();
    if !["again", "retry", "later", "listed for", "wait"].iter().any(|word| text.contains(word)) {
        return None;
    }
    let mut words = text.split_ascii_whitespace().map(|word| word.trim_matches(|c: char| !c.is_ascii_alphanumeric()));
    let mut before = "";
    words.find_map(|word| {
        let digits = word.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = if digits > 0 { word.split_at(digits) } else { (before, word) };
        before = word;
        let seconds = match unit.trim_start_matches('-') {
            "s" | "sec" | "secs" | "second" | "seconds" => 1,
            "m" | "min" | "mins" | "minute" | "minutes" => 60,
            "h" | "hour" | "hours" => 3600,
            _ => return None,
        };
        let wish = number.parse::<u64>().ok()?.checked_mul(seconds)?;
        (10..=86_400).contains(&wish).then(|| Duration::from_secs(wish))
    })
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
