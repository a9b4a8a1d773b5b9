//! One rule file → its rules, and everything that is wrong with it.
//!
//! Read with the machinery of the configuration (`config::read`), so that one mistake hides no other and every message
//! has its line. A rule with a mistake is left out, but its id is kept: what it was meant to replace must not come back
//! in the complaints about others.

use std::time::Duration;

use super::pattern::{CodePattern, EnhancedPattern, OneOrMany, Pattern};
use super::{Rule, RuleError, RuleFile};
use crate::config::mistake::{Findings, LineTable, Mistake, Place, suggest};
use crate::config::read::{At, Field, List, Readable, as_text, quoted, refuse_unknown, table};
use crate::config::tree::{self, Node, SourceFile, Table, Value};
use crate::outcome::{Action, Cause, Disposition, NextBinding, Scope, Stage};

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) entries: Vec<Entry>,
    pub(super) errors: Vec<RuleError>,
}

/// One `[[rule]]` whose id could be read.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) at: (usize, usize),
    pub(super) says: Says,
}

/// What it says.
#[derive(Debug)]
pub(super) enum Says {
    /// It is a rule.
    Rule(Box<Rule>),
    /// `disabled = true`.
    Off,
    /// Something is wrong with it; reported.
    Bad,
}

table!(pub(super) RawRule {
    id: String,
    disabled: bool,
    providers: List<String>,
    stages: List<Stage>,
    code: OneOrMany<CodePattern>,
    enhanced: OneOrMany<EnhancedPattern>,
    pattern: Pattern,
    not: Pattern,
    links: bool,
    weak: bool,
    cause: Cause,
    scope: Scope,
    counts_against_ip: bool,
    certain: bool,
    hard: bool,
    action: Word,
    length as "for": Duration,
    next_binding: NextBinding,
    retry_after: Duration,
    disposition: Disposition,
    samples: List<String>,
    source: String,
});

/// Every key that a rule can have.
#[cfg(test)]
pub(super) fn keys() -> &'static [&'static str] {
    RawRule::OWN
}

/// The word of an action, which `for` completes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word(Action);

/// Reads a word out of a list of those that may stand here.
fn one_of<T: Copy>(
    node: &Node,
    place: &Place,
    out: &mut Findings,
    all: &[T],
    name: impl Fn(T) -> &'static str,
) -> Option<T> {
    let names: Vec<&str> = all.iter().map(|value| name(*value)).collect();
    let text = as_text(node, place, "a word", out)?;
    let found = all.iter().find(|value| name(**value) == text);
    if found.is_none() {
        let near = suggest(text, names.iter().copied());
        let hint = if near.ends_with('?') { near } else { format!("write one of {}", quoted(&names)) };
        out.mistake(place, format!("{text:?} is not known here"), hint);
    }
    found.copied()
}

macro_rules! word {
    ($ty:ty, $all:expr, $name:expr) => {
        impl Readable for $ty {
            fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
                one_of(node, place, out, $all, $name)
            }
        }
    };
}
word!(Cause, Cause::ALL, Cause::as_str);
word!(Scope, Scope::ALL, Scope::as_str);
word!(Stage, &Stage::ALL, Stage::as_str);
word!(NextBinding, &NextBinding::ALL, NextBinding::as_str);
word!(Disposition, &[Disposition::Deferred, Disposition::Bounced], |word| match word {
    Disposition::Deferred => "defer",
    _ => "bounce",
});
impl Readable for Word {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        one_of(node, place, out, &Action::all(Duration::ZERO), |action| action.as_str()).map(Self)
    }
}

/// Reads `file`, which is the operator's `own` or a shipped one.
pub(super) fn read(file: &RuleFile<'_>, own: bool) -> Contents {
    let sources = [SourceFile { path: file.name.into(), text: file.text.to_owned() }];
    let lines = LineTable::new(&sources);
    let mut contents = Contents::default();
    let mut out = Findings::default();
    let top = tree::parse(0, &sources[0], &mut out);
    // After an error of syntax half of what was written is missing; what follows from that would only mislead.
    let rules: &[Node] = if out.is_clean() { rules_of(&top, &mut out) } else { &[] };
    contents.errors.extend(located(out, &sources, None));
    for node in rules {
        let mut out = Findings::default();
        let place = Place { file: 0, offset: node.offset, path: String::new() };
        let at = lines.position(0, node.offset);
        let raw = RawRule::read(node, &place, &mut out);
        let id = raw.as_ref().and_then(|raw| raw.id.value().cloned());
        if let Some(raw) = raw {
            let rule = Reader { file, own, lines: &lines, out: &mut out, raw: &raw }.rule(at);
            let says = match rule {
                // Also one with a mistake, for its samples; the file is refused all the same.
                Some(rule) => Says::Rule(Box::new(rule)),
                None if out.is_clean() => Says::Off,
                None => Says::Bad,
            };
            contents.entries.extend(id.clone().map(|id| Entry { id, at, says }));
        }
        contents.errors.extend(located(out, &sources, id));
    }
    contents
}

fn rules_of<'a>(top: &'a Table, out: &mut Findings) -> &'a [Node] {
    refuse_unknown(top, &Place::default(), &["rule"], out);
    match top.get("rule").map(|entry| &entry.node) {
        Some(Node { value: Value::List(rules), .. }) => rules,
        Some(node) => {
            let place = Place { file: 0, offset: node.offset, path: "rule".to_owned() };
            out.mistake(&place, format!("expected a list, found {}", node.value.kind()), "write it as [[rule]]");
            &[]
        }
        None => &[],
    }
}

fn located(out: Findings, sources: &[SourceFile], id: Option<String>) -> Vec<RuleError> {
    if out.is_clean() {
        return Vec::new();
    }
    let error = |mistake: Mistake| {
        let Mistake { file, line, column, path, what, hint } = mistake;
        let colon = if path.is_empty() { "" } else { ": " };
        let semicolon = if hint.is_empty() { "" } else { "; " };
        RuleError {
            file: file.display().to_string(),
            at: Some((line, column)),
            rule: id.clone(),
            problem: format!("{path}{colon}{what}{semicolon}{hint}"),
        }
    };
    out.locate(sources).0.into_iter().map(error).collect()
}

/// Makes a rule of what was written, and finds what contradicts itself.
struct Reader<'a, 'b> {
    file: &'a RuleFile<'b>,
    own: bool,
    lines: &'a LineTable<'a>,
    out: &'a mut Findings,
    raw: &'a RawRule,
}

/// Ids of what is decided without a rule; see [`crate::outcome::Classifier`].
const RESERVED: [&str; 3] = ["delivered", "fallback.unexpected", "fallback.nothing"];

impl Reader<'_, '_> {
    /// `None` where the rule is switched off or cannot be tried; in the latter case there is a mistake. One that is returned
    /// may have a mistake too, though not in its conditions.
    fn rule(&mut self, at: (usize, usize)) -> Option<Rule> {
        let raw = self.raw;
        let table = &raw.place;
        self.id();
        if raw.disabled.or(false) {
            self.switched_off();
            return None;
        }
        let cause = raw.cause.required(table, "cause", "", self.out).map(|at| at.value);
        let scope = raw.scope.required(table, "scope", "", self.out).map(|at| at.value);
        if raw.pattern.is_missing() && raw.code.is_missing() && raw.enhanced.is_missing() {
            self.out.mistake(table, "a rule needs a condition", "give at least one of pattern, code and enhanced");
        }
        if self.own {
            self.patterns();
        }
        self.empty_lists();
        let understood = self.out.is_clean();
        let action = self.action();
        if let Some(scope) = scope {
            self.contradictions(scope, raw.action.value().map_or(Action::None, |word| word.0));
        }
        // One that only contradicts itself goes on, so that its samples are looked at in the same run. One whose conditions
        // may be wider than meant would be in the way of others'.
        if !understood {
            return None;
        }
        let samples = raw.samples.items();
        Some(Rule {
            file: self.file.name.to_owned(),
            line: at.0,
            own: self.own,
            id: raw.id.value()?.clone(),
            providers: raw.providers.values(),
            stages: raw.stages.values(),
            codes: raw.code.value().map_or_else(Vec::new, |codes| codes.0.clone()),
            enhanced: raw.enhanced.value().map_or_else(Vec::new, |codes| codes.0.clone()),
            pattern: raw.pattern.value().cloned(),
            not: raw.not.value().cloned(),
            links: raw.links.or(true),
            weak: raw.weak.or(false),
            cause: cause?,
            scope: scope?,
            counts_against_ip: raw.counts_against_ip.or(false),
            certain: raw.certain.value().copied(),
            hard: raw.hard.value().copied(),
            action: action.unwrap_or_default(),
            next_binding: raw.next_binding.value().copied(),
            retry_after: self.above_zero(&raw.retry_after),
            disposition: raw.disposition.value().copied(),
            samples: samples.iter().map(|sample| sample.value.clone()).collect(),
            sample_at: samples.iter().map(|At { place, .. }| self.lines.position(place.file, place.offset)).collect(),
            source: raw.source.or(String::new()),
        })
    }

    fn id(&mut self) {
        let hint = "every rule has one of its own, such as \"acme.blocked\"";
        let Some(id) = self.raw.id.required(&self.raw.place, "id", hint, self.out) else { return };
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
        if id.value.is_empty() || !id.value.bytes().all(good) {
            self.out.mistake(&id.place, "no id", "an id is made of a-z, 0-9, dot, hyphen and underscore");
        } else if RESERVED.contains(&id.value.as_str()) || id.value.starts_with("failure.") {
            self.out.mistake(&id.place, format!("{:?} names what is decided without a rule", id.value), "");
        }
    }

    /// A list of nothing would hold for anything, which nobody means who writes it.
    fn empty_lists(&mut self) {
        let raw = self.raw;
        let mut empty = Vec::new();
        empty.extend(raw.code.given().filter(|at| at.value.0.is_empty()).map(|at| &at.place));
        empty.extend(raw.enhanced.given().filter(|at| at.value.0.is_empty()).map(|at| &at.place));
        empty.extend(raw.providers.given().filter(|at| at.value.is_written_empty()).map(|at| &at.place));
        empty.extend(raw.stages.given().filter(|at| at.value.is_written_empty()).map(|at| &at.place));
        for place in empty {
            self.out.mistake(place, "an empty list", "leave the key out to hold for any");
        }
    }

    fn patterns(&mut self) {
        for At { value, place } in [&self.raw.pattern, &self.raw.not].into_iter().filter_map(|field| field.given()) {
            if let Err(why) = value.check() {
                self.out.mistake(place, format!("no regular expression: {why}"), "");
            }
        }
    }

    fn switched_off(&mut self) {
        let raw = self.raw;
        let Field::Given(disabled) = &raw.disabled else { return };
        if !self.own {
            self.out.mistake(&disabled.place, "a shipped rule cannot switch off another", "");
        }
        let others = [
            !raw.cause.is_missing(),
            !raw.scope.is_missing(),
            !raw.pattern.is_missing(),
            !raw.code.is_missing(),
            !raw.enhanced.is_missing(),
            !raw.action.is_missing(),
            !raw.providers.is_missing(),
            !raw.stages.is_missing(),
            !raw.not.is_missing(),
            !raw.links.is_missing(),
            !raw.weak.is_missing(),
            !raw.counts_against_ip.is_missing(),
            !raw.certain.is_missing(),
            !raw.hard.is_missing(),
            !raw.length.is_missing(),
            !raw.next_binding.is_missing(),
            !raw.retry_after.is_missing(),
            !raw.disposition.is_missing(),
            !raw.samples.is_missing(),
            !raw.source.is_missing(),
        ];
        if others.contains(&true) {
            let hint = "leave disabled out to replace the shipped rule, or leave all but id and disabled out";
            self.out.mistake(&disabled.place, "a rule that is switched off says nothing else", hint);
        }
    }

    fn action(&mut self) -> Option<Action> {
        let raw = self.raw;
        let word = match &raw.action {
            Field::Missing => Action::None,
            Field::Bad => return None,
            Field::Given(at) => at.value.0,
        };
        match (&word, &raw.length) {
            (_, Field::Bad) => None,
            (Action::None, Field::Missing) => Some(Action::None),
            (Action::None, Field::Given(length)) => {
                self.out.mistake(&length.place, "a length without an action", "add action, or leave it out");
                None
            }
            (_, Field::Missing) => {
                let place = raw.action.place(&raw.place, "action");
                let what = format!("{} needs a length of time", word.as_str());
                self.out.mistake(&place, what, "add one, such as for = \"2h\"");
                None
            }
            (_, Field::Given(_)) => self.above_zero(&raw.length).map(|length| word.lasting(length)),
        }
    }

    fn above_zero(&mut self, field: &Field<Duration>) -> Option<Duration> {
        let at = field.given()?;
        if at.value.is_zero() {
            self.out.mistake(&at.place, "a length of zero", "write one above it, such as \"2h\"");
            return None;
        }
        Some(at.value)
    }

    /// What cannot be meant together.
    fn contradictions(&mut self, scope: Scope, action: Action) {
        let raw = self.raw;
        let ours = matches!(scope, Scope::Binding | Scope::Range);
        let counts = raw.counts_against_ip.or(false);
        let mut refuse = |place: Place, what: String, hint: &str| self.out.mistake(&place, what, hint);
        if counts && !ours {
            let place = raw.counts_against_ip.place(&raw.place, "counts_against_ip");
            refuse(place, format!("needs scope binding or range, not {}", scope.as_str()), "");
        }
        if raw.certain.value() == Some(&true) && !counts {
            let place = raw.certain.place(&raw.place, "certain");
            refuse(
                place,
                "says how sure a blame of our IP is, and this rule blames none".to_owned(),
                "add counts_against_ip = true",
            );
        }
        let place = raw.action.place(&raw.place, "action");
        let fitting: Option<Vec<&str>> = match (action.scopes(), action) {
            (Some(scopes), _) if scopes.contains(&scope) => None,
            (Some(scopes), _) => Some(scopes.iter().map(|scope| scope.as_str()).collect()),
            // Moving the message is what these scopes ask for, and what this action forbids.
            (None, Action::HoldContent(_)) if ours => Some(vec!["other than binding and range"]),
            (None, _) => None,
        };
        if let Some(fitting) = fitting {
            let what = format!("{} needs scope {}, not {}", action.as_str(), fitting.join(" or "), scope.as_str());
            refuse(place, what, "");
        }
        let deferred = counts || matches!(action, Action::FixBinding(_));
        if deferred && raw.disposition.value() == Some(&Disposition::Bounced) {
            let place = raw.disposition.place(&raw.place, "disposition");
            refuse(place, "what blames our IP or its set-up never bounces".to_owned(), "leave it out");
        }
        let waits = deferred || raw.disposition.value() == Some(&Disposition::Deferred);
        if waits && raw.hard.value() == Some(&true) {
            let place = raw.hard.place(&raw.place, "hard");
            refuse(place, "what is deferred says nothing final about the address".to_owned(), "leave it out");
        }
        if matches!(action, Action::HoldContent(_))
            && raw.next_binding.value().is_some_and(|n| *n != NextBinding::Prefer)
        {
            let place = raw.next_binding.place(&raw.place, "next_binding");
            refuse(place, "hold_content moves nothing to another binding".to_owned(), "leave it out");
        }
    }
}
