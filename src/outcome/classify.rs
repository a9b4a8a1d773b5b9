//! Replies and failures → [`Outcome`], by rules that are data.
//!
//! The first rule (in the order of the files) whose conditions all hold decides; [`needles`](super::needles) keeps the
//! number of patterns that have to be tried small. What follows from cause, scope and code alike for every rule is not
//! repeated in the rules but stands in [`weigh`](super::weigh). Before that it is asked whether a blame is ours: vague
//! phrases are not believed beside a fact ([`blame`](super::blame)), and a refusal that was told to another hop is set aside
//! ([`quoted`](super::quoted)).

use std::borrow::Cow;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use super::blame::Doubt;
use super::classify_cli::parse_line;
use super::failure::FailureKind;
use super::needles::Needles;
use super::quoted::{Quotation, names_another};
use super::rules::{self, Rule, RuleError, RuleFile, SHIPPED};
use super::text::{normalise, trailing_code, without_links};
use super::weigh::{Heard, weigh};
use super::{Action, Cause, Disposition, EnhancedCode, Failure, NextBinding, Outcome, Reply, Scope, Stage};
use crate::config::mistake::suggest;
use crate::message::ProviderName;

/// What is known about an answer besides its text.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Where in the dialogue it came.
    pub stage: Stage,
    /// The provider it came from, where known.
    pub provider: Option<&'a ProviderName>,
    /// The addresses under which we were seen: the binding's own and its public one; empty where not known. A refusal
    /// that names addresses, none of them ours, was told to another hop; see [`quoted`](super::quoted).
    pub own: &'a [IpAddr],
}

/// Holds the compiled rules. Make one, share it.
#[derive(Debug)]
pub struct Classifier {
    rules: Vec<(Rule, Arc<str>)>,
    needles: Needles,
    quotation: Quotation,
    doubt: Doubt,
    warnings: Vec<RuleError>,
    failures: Vec<(FailureKind, Arc<str>)>,
    /// Ids of what is decided without a rule.
    delivered: Arc<str>,
    unexpected: Arc<str>,
    nothing: Arc<str>,
}

/// A reply as rules see it.
#[derive(Clone, Debug)]
pub(super) struct Seen<'a> {
    pub(super) code: u16,
    /// Leading the text, or in brackets behind it.
    pub(super) enhanced: Option<EnhancedCode>,
    /// Normalised.
    pub(super) text: Cow<'a, [u8]>,
    /// Normalised, and the links taken out of it.
    pub(super) bare: Cow<'a, [u8]>,
}

impl<'a> Seen<'a> {
    pub(super) fn of(reply: &'a Reply) -> Self {
        let enhanced = reply.enhanced.or_else(|| trailing_code(reply.text.as_bytes()));
        let text = normalise(&reply.text);
        let bare = match without_links(&text) {
            Cow::Owned(bare) => Cow::Owned(bare),
            Cow::Borrowed(_) => text.clone(),
        };
        Self { code: reply.code, enhanced, text, bare }
    }

    /// The text as the pattern of `rule` sees it.
    pub(super) fn text_for(&self, rule: &Rule) -> &[u8] {
        if rule.links { &self.text } else { &self.bare }
    }
}

/// The rule that decides, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decision<'a> {
    pub(super) rule: &'a Rule,
    pub(super) id: &'a Arc<str>,
    /// Why a blame is not held against the binding.
    pub(super) set_aside: Option<SetAside>,
}

/// Why a rule's blame is none of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SetAside {
    /// It stands in the words of another server, which begin there.
    Quoted(usize),
    /// The text names addresses, and none of them is ours.
    Another(IpAddr),
}

impl Classifier {
    /// The rules shipped with the program.
    pub fn shipped() -> Self {
        Self::with_rules(&[]).unwrap_or_else(|errors| {
            // The shipped files are part of the program; `every_rule_is_the_first_to_match_its_samples` reads them.
            unreachable!("shipped rules: {errors:?}")
        })
    }

    /// The operator's rules, tried first, then the shipped ones less those that the operator replaced (by the same id) or
    /// switched off (`disabled = true`); see [`rules`].
    ///
    /// # Errors
    ///
    /// Everything that is wrong with any of the files, in their order: each with file, line, rule and what to write
    /// instead. Samples of the operator's rules that another rule catches first, or that their own rule does not match,
    /// are among them.
    pub fn with_rules(own: &[RuleFile<'_>]) -> Result<Self, Vec<RuleError>> {
        Self::layered(own, &SHIPPED)
    }

    /// `own` rules over `shipped` ones.
    pub(super) fn layered(own: &[RuleFile<'_>], shipped: &[RuleFile<'_>]) -> Result<Self, Vec<RuleError>> {
        let rules::Gathered { rules, mut errors } = rules::gather(own, shipped);
        let patterns = rules.iter().map(|rule| rule.pattern.as_ref().map_or("", |pattern| pattern.as_str()));
        let Some(needles) = Needles::new(patterns) else {
            errors.push(too_many(own, &rules));
            return Err(errors);
        };
        let failures =
            FailureKind::ALL.iter().map(|kind| (*kind, format!("failure.{}", kind.as_str()).into())).collect();
        let rules = rules.into_iter().map(|rule| (Arc::from(rule.id.as_str()), rule)).map(|(id, rule)| (rule, id));
        let classifier = Self {
            rules: rules.collect(),
            needles,
            quotation: Quotation::new(),
            doubt: Doubt::new(),
            warnings: Vec::new(),
            failures,
            delivered: Arc::from("delivered"),
            unexpected: Arc::from("fallback.unexpected"),
            nothing: Arc::from("fallback.nothing"),
        };
        for rule in classifier.rules().filter(|rule| rule.own) {
            errors.extend(classifier.wrong_samples(rule));
        }
        if errors.is_empty() {
            let warnings = classifier.changed_samples();
            return Ok(Self { warnings, ..classifier });
        }
        let order = |error: &RuleError| (own.iter().position(|file| file.name == error.file), error.at);
        errors.sort_by_key(order);
        Err(errors)
    }

    /// What the operator's rules change that nobody asked for: recorded replies of shipped rules that another rule now
    /// catches first. No mistakes; worth a look.
    pub fn warnings(&self) -> &[RuleError] {
        &self.warnings
    }

    /// Samples of shipped rules that a rule of the operator's own catches, without standing in that rule's place.
    fn changed_samples(&self) -> Vec<RuleError> {
        let mut changed = Vec::new();
        if !self.rules().any(|rule| rule.own) {
            return changed;
        }
        for shipped in self.rules().filter(|rule| !rule.own) {
            let stage = shipped.stages.first().copied().unwrap_or(Stage::Rcpt);
            for sample in &shipped.samples {
                let Some(reply) = parse_line(sample.as_bytes()) else { continue };
                let context = Context { stage, provider: None, own: &[] };
                let Some((first, _)) = self.first(&Seen::of(&reply), context) else { continue };
                if first.own {
                    let what = format!(
                        "it takes {sample:?} from the shipped rule {:?}; narrow it, or give it that id to replace the rule",
                        shipped.id
                    );
                    changed.push(RuleError::of(first, (first.line, 1), what));
                    break;
                }
            }
        }
        changed
    }

    /// All rules in the order in which they are tried.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().map(|(rule, _)| rule)
    }

    /// Own rules that are bound to a provider that is not among the `known`: they hold for no reply.
    pub fn rules_of_unknown_providers(&self, known: &[&str]) -> Vec<RuleError> {
        let own = self.rules().filter(|rule| rule.own);
        let pairs = own.flat_map(|rule| rule.providers.iter().map(move |name| (rule, name)));
        let unknown = pairs.filter(|(_, name)| !known.contains(&name.as_str()));
        let error = |(rule, name): (&Rule, &String)| {
            let near = suggest(name, known.iter().copied());
            let semicolon = if near.is_empty() { "" } else { "; " };
            let what = format!("providers: no provider {name:?} is configured, so it holds for none of its replies");
            RuleError::of(rule, (rule.line, 1), format!("{what}{semicolon}{near}"))
        };
        unknown.map(error).collect()
    }

    /// What is wrong with the samples of `rule`: each has to be a refusal that it is the first to match.
    fn wrong_samples<'a>(&'a self, rule: &'a Rule) -> impl Iterator<Item = RuleError> + 'a {
        let provider = rule.providers.first().map(|name| ProviderName::new(name.as_str()));
        let stage = rule.stages.first().copied().unwrap_or(Stage::Rcpt);
        rule.samples.iter().zip(&rule.sample_at).enumerate().filter_map(move |(number, (sample, at))| {
            let problem = |what: String| Some(RuleError::of(rule, *at, format!("samples[{number}]: {what}")));
            let Some(reply) = parse_line(sample.as_bytes()) else {
                return problem(format!("{sample:?} is no reply; write it as \"550 5.7.1 text\""));
            };
            let context = Context { stage, provider: provider.as_ref(), own: &[] };
            match self.holding(&Seen::of(&reply), context).next() {
                Some((first, _)) if first.id == rule.id => None,
                Some((first, _)) if self.holds(rule, &Seen::of(&reply), context) => {
                    problem(format!("rule {:?} at {} is the first to match this", first.id, first.place()))
                }
                _ => problem("the rule does not match its own sample".to_owned()),
            }
        })
    }

    /// What `reply` means.
    ///
    /// It has to be one that ends something: a 3yz where none was asked for is a fault of the destination.
    pub fn reply(&self, reply: &Reply, context: Context<'_>) -> Outcome {
        self.judge(reply, context, &mut |_| {}).0
    }

    /// As [`Self::reply`], with the rule that decided, and what followed from it told to `note`.
    pub(super) fn judge(
        &self,
        reply: &Reply,
        context: Context<'_>,
        note: &mut dyn FnMut(&'static str),
    ) -> (Outcome, Option<Decision<'_>>) {
        match reply.code / 100 {
            2 => (plain(Disposition::Delivered, None, Scope::Unknown, &self.delivered), None),
            4 | 5 => {
                let Some(found) = self.decide(&Seen::of(reply), context) else {
                    let disposition = if reply.code < 500 { Disposition::Deferred } else { Disposition::Bounced };
                    return (plain(disposition, Some(Cause::Unknown), Scope::Unknown, &self.nothing), None);
                };
                let heard = Heard { reply, stage: context.stage, set_aside: found.set_aside };
                (weigh(found.rule, found.id, heard, note), Some(found))
            }
            _ => {
                note("a reply that the dialogue has no place for: the destination is at fault");
                let outcome =
                    plain(Disposition::Deferred, Some(Cause::ProtocolOrConfig), Scope::Destination, &self.unexpected);
                (Outcome { next_binding: NextBinding::Any, ..outcome }, None)
            }
        }
    }

    /// The first rule that holds; where it blames an IP in somebody else's words, the first that blames it in the
    /// server's own, or else the same rule without the blame.
    fn decide(&self, seen: &Seen<'_>, context: Context<'_>) -> Option<Decision<'_>> {
        let (rule, id) = self.first(seen, context)?;
        if !rule.blames_us() {
            return Some(Decision { rule, id, set_aside: None });
        }
        if let Some(begins) = self.quotation.begins(&seen.text) {
            let own_words = &seen.text[..begins];
            let bare = without_links(own_words);
            let own_words = Seen { text: Cow::Borrowed(own_words), bare, ..seen.clone() };
            return match self.first(&own_words, context) {
                Some((rule, id)) if rule.blames_us() => Some(Decision { rule, id, set_aside: None }),
                _ => Some(Decision { rule, id, set_aside: Some(SetAside::Quoted(begins)) }),
            };
        }
        // Before MAIL FROM a server has nobody before it but us.
        let early = matches!(context.stage, Stage::Connect | Stage::Banner | Stage::Ehlo | Stage::Tls);
        let another = if early { None } else { names_another(&seen.text, context.own, rule.scope == Scope::Range) };
        Some(Decision { rule, id, set_aside: another.map(SetAside::Another) })
    }

    fn first(&self, seen: &Seen<'_>, context: Context<'_>) -> Option<(&Rule, &Arc<str>)> {
        self.needles.first(&seen.text, |at| {
            let (rule, id) = &self.rules[at];
            self.holds(rule, seen, context).then_some((rule, id))
        })
    }

    /// All rules that hold, in their order.
    pub(super) fn holding<'a, 's>(
        &'a self,
        seen: &'s Seen<'s>,
        context: Context<'s>,
    ) -> impl Iterator<Item = (&'a Rule, &'a Arc<str>)> + use<'a, 's> {
        let rules = self.rules.iter().map(|(rule, id)| (rule, id));
        rules.filter(move |(rule, _)| self.holds(rule, seen, context))
    }

    /// Whether all conditions of `rule` hold.
    fn holds(&self, rule: &Rule, seen: &Seen<'_>, context: Context<'_>) -> bool {
        rule.holds_for(seen.code, seen.enhanced, context.stage, context.provider)
            && rule.pattern.as_ref().is_none_or(|pattern| pattern.is_match(seen.text_for(rule)))
            && !rule.not.as_ref().is_some_and(|not| not.is_match(&seen.bare))
            && !(rule.weak && self.doubt.prevails(&seen.bare, seen.enhanced))
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
            | FailureKind::Tls
            | FailureKind::Protocol => (Cause::Network, Scope::Destination, NextBinding::Any),
            FailureKind::NoAddress => (Cause::DnsOrRouting, Scope::Destination, NextBinding::Any),
            FailureKind::Aborted => (Cause::Local, Scope::Us, NextBinding::Prefer),
        };
        let id = self.failures.iter().find(|(kind, _)| *kind == failure.kind).map_or(&self.nothing, |(_, id)| id);
        Outcome { next_binding, ..plain(Disposition::Deferred, Some(cause), scope, id) }
    }
}

impl Rule {
    /// Whether the conditions besides the text hold.
    fn holds_for(
        &self,
        code: u16,
        enhanced: Option<EnhancedCode>,
        stage: Stage,
        provider: Option<&ProviderName>,
    ) -> bool {
        (self.codes.is_empty() || self.codes.iter().any(|wanted| wanted.matches(code)))
            && (self.enhanced.is_empty()
                || enhanced.is_some_and(|seen| self.enhanced.iter().any(|wanted| wanted.matches(seen))))
            && (self.stages.is_empty() || self.stages.contains(&stage))
            && (self.providers.is_empty()
                || provider.is_some_and(|seen| self.providers.iter().any(|wanted| wanted == seen.as_str())))
    }

    /// The piece of `text` that the pattern matched.
    pub(super) fn piece(&self, text: &[u8]) -> Option<Range<usize>> {
        self.pattern.as_ref()?.find(text)
    }
}

/// The rules are more than can be looked for: the fault of the file that brings most of the operator's.
fn too_many(own: &[RuleFile<'_>], rules: &[Rule]) -> RuleError {
    let count = |file: &RuleFile<'_>| rules.iter().filter(|rule| rule.own && rule.file == file.name).count();
    let largest = own.iter().max_by_key(|file| count(file)).map_or("rules", |file| file.name);
    let problem = format!(
        "too many rules, or too many words in their patterns: {} rules with the shipped ones; there may be 65535 \
         phrases (branches of alternations) in all",
        rules.len()
    );
    RuleError { file: largest.to_owned(), at: None, rule: None, problem }
}

fn plain(disposition: Disposition, cause: Option<Cause>, scope: Scope, rule: &Arc<str>) -> Outcome {
    Outcome {
        disposition,
        cause,
        scope,
        counts_against_ip: false,
        certain: false,
        hard: false,
        next_binding: NextBinding::default(),
        retry_after: None,
        action: Action::None,
        rule: Arc::clone(rule),
    }
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
