//! Replies and failures → [`Outcome`], by rules that are data.
//!
//! All patterns are compiled into one set of regular expressions, so that a reply is read once however many rules there
//! are; among the rules whose pattern matched, the first one (in the order of the files) whose other conditions hold
//! decides. What follows from cause, scope and code alike for every rule is not repeated in the rules but stands here:
//! a refusal that blames our IP never bounces, what clears with time is tried again although its code says 5xx, and
//! before MAIL FROM nobody's address can be at fault.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use regex::bytes::{RegexSet, RegexSetBuilder};

use super::failure::FailureKind;
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
    /// Patterns and `not` patterns of all rules.
    set: RegexSet,
    /// For each pattern of `set`: the rule it belongs to, and whether it is the `not` of that rule.
    owners: Vec<(usize, bool)>,
    /// Rules without a pattern, in order.
    bare: Vec<usize>,
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
    /// Index of its `not` in the set.
    not: Option<usize>,
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
        let (mut patterns, mut owners, mut bare) = (Vec::new(), Vec::new(), Vec::new());
        let mut compiled = Vec::with_capacity(rules.len());
        for (at, rule) in rules.into_iter().enumerate() {
            match &rule.pattern {
                Some(pattern) => {
                    patterns.push(pattern.clone());
                    owners.push((at, false));
                }
                None => bare.push(at),
            }
            let not = rule.not.clone().map(|not| {
                patterns.push(not);
                owners.push((at, true));
                patterns.len() - 1
            });
            compiled.push(Compiled { id: Arc::from(rule.id.as_str()), rule, not });
        }
        let set = compile(&patterns).map_err(|whole| blame(&patterns, &owners, &compiled, whole))?;
        let failures = FailureKind::ALL.iter().map(|kind| (*kind, format!("failure.{}", kind.as_str()).into())).collect();
        Ok(Self {
            rules: compiled,
            set,
            owners,
            bare,
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
        let holds = |rule: &Rule| {
            (rule.codes.is_empty() || rule.codes.iter().any(|code| code.matches(reply.code)))
                && (rule.enhanced.is_empty()
                    || enhanced.is_some_and(|seen| rule.enhanced.iter().any(|wanted| wanted.matches(seen))))
                && (rule.stages.is_empty() || rule.stages.contains(&context.stage))
                && (rule.providers.is_empty()
                    || context.provider.is_some_and(|p| rule.providers.iter().any(|wanted| wanted == p.as_str())))
        };
        let matches = self.set.matches(&normalise(&reply.text));
        let by_text = matches.iter().find_map(|at| {
            let (owner, is_not) = self.owners[at];
            let found = &self.rules[owner];
            let refused = is_not || found.not.is_some_and(|not| matches.matched(not));
            (!refused && holds(&found.rule)).then_some(owner)
        });
        let bare = self.bare.iter().copied().take_while(|&at| by_text.is_none_or(|text| at < text));
        let by_code = bare.into_iter().find(|&at| {
            let found = &self.rules[at];
            !found.not.is_some_and(|not| matches.matched(not)) && holds(&found.rule)
        });
        by_code.or(by_text).map(|at| &self.rules[at])
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

fn compile(patterns: &[String]) -> Result<RegexSet, regex::Error> {
    RegexSetBuilder::new(patterns)
        .case_insensitive(true)
        .unicode(false)
        .size_limit(64 << 20)
        // The automaton is built as replies come and kept; too small a store is thrown away again and again.
        .dfa_size_limit(64 << 20)
        .build()
}

/// Which pattern it is that does not compile.
fn blame(patterns: &[String], owners: &[(usize, bool)], rules: &[Compiled], whole: regex::Error) -> Vec<RuleError> {
    let name = |at: usize| {
        let id = rules[at].rule.id.clone();
        let file = rules[at].rule.file.clone();
        (file, id)
    };
    let mut errors = Vec::new();
    for (pattern, (owner, is_not)) in patterns.iter().zip(owners) {
        if let Err(why) = compile(std::slice::from_ref(pattern)) {
            let (file, id) = name(*owner);
            let key = if *is_not { "not" } else { "pattern" };
            errors.push(RuleError { file, rule: Some(id), problem: format!("{key}: {why}") });
        }
    }
    if errors.is_empty() {
        errors.push(RuleError { file: "rules".to_owned(), rule: None, problem: whole.to_string() });
    }
    errors
}

/// The text as patterns see it: addresses become `@`, so that `spam@…` or `full-quota@…` say nothing about the reason,
/// and white space becomes one space.
fn normalise(text: &str) -> Cow<'_, [u8]> {
    let bytes = text.as_bytes();
    if memchr::memchr(b'@', bytes).is_none() && !text.contains("  ") {
        return Cow::Borrowed(bytes);
    }
    let ends_word =
        |b: u8| b.is_ascii_whitespace() || matches!(b, b'<' | b'>' | b'(' | b')' | b'[' | b']' | b'"' | b'\'' | b',' | b';' | b':');
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
