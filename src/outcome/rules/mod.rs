//! The format of rule files (`config/rules/*.toml`) and what makes a rule of them.
//!
//! A rule says: a reply whose code, enhanced code, stage, provider and text look like this means that. Rules are tried
//! in the order of the files: the operator's new ones first, then the shipped ones — providers' documented markers, phrases
//! that any server may use, and last what code and enhanced code alone say. They are data and not code because they
//! rot: providers change their wording, and an operator must be able to mend that without a new program. Each carries
//! its source and samples, and a test holds every shipped rule to its samples.
//!
//! An operator's file adds rules, and changes shipped ones by their id: a rule with the id of a shipped rule stands in
//! its place and at its turn, a new id is tried before all shipped rules, and one that says nothing but `disabled = true`
//! switches it off. What a new rule takes from shipped ones besides is a warning ([`Classifier::warnings`](super::Classifier::warnings)). The same id twice in the operator's files, or twice in the shipped ones, is a mistake: one of them would never
//! be looked at.
//!
//! ```toml
//! [[rule]]
//! id = "acme.blocked"              # own id: a new rule
//! pattern = 'acme says no to \[?[0-9]'
//! cause = "spam_block_ip"
//! scope = "binding"
//! counts_against_ip = true
//! action = "suspend_route"
//! for = "4h"
//! samples = ["550 5.7.1 Acme says no to 192.0.2.1"]
//!
//! [[rule]]
//! id = "yahoo.greylisted"          # the id of a shipped rule, and nothing else: off
//! disabled = true
//! ```

mod file;
mod pattern;

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use super::{Action, Cause, Disposition, NextBinding, Scope, Stage};
use crate::config::mistake::suggest;
use file::Says;
pub use pattern::{CodePattern, EnhancedPattern, Pattern};

/// A rule file: its name for messages, and its text. Reading files is the shell's.
#[derive(Clone, Copy, Debug)]
pub struct RuleFile<'a> {
    /// As the operator knows it.
    pub name: &'a str,
    /// TOML.
    pub text: &'a str,
}

/// The shipped rules, in the order in which they are tried.
pub const SHIPPED: [RuleFile<'static>; 3] = [
    RuleFile { name: "config/rules/providers.toml", text: include_str!("../../../config/rules/providers.toml") },
    RuleFile { name: "config/rules/generic.toml", text: include_str!("../../../config/rules/generic.toml") },
    RuleFile { name: "config/rules/fallback.toml", text: include_str!("../../../config/rules/fallback.toml") },
];

/// What is wrong with a rule file.
///
/// Displayed as `mine.toml:12:9: rule "acme.blocked": scope: "bindnig" is not known here; did you mean "binding"?`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// Name of the file.
    pub file: String,
    /// Line and column (in characters), both from 1; `None` where the file as a whole is meant.
    pub at: Option<(usize, usize)>,
    /// Id of the rule, where it got as far as that.
    pub rule: Option<String>,
    /// What is wrong and what to write instead, with the key before it.
    pub problem: String,
}

impl RuleError {
    /// A mistake of `rule` at one of its places.
    pub(super) fn of(rule: &Rule, at: (usize, usize), problem: String) -> Self {
        Self { file: rule.file.clone(), at: Some(at), rule: Some(rule.id.clone()), problem }
    }
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some((line, column)) = self.at {
            write!(f, ":{line}:{column}")?;
        }
        match &self.rule {
            Some(rule) => write!(f, ": rule {rule:?}: {}", self.problem),
            None => write!(f, ": {}", self.problem),
        }
    }
}

impl std::error::Error for RuleError {}

/// One rule, ready to be tried.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Name of the file it stands in.
    pub file: String,
    /// Line at which it begins there.
    pub line: usize,
    /// The operator's own, not shipped.
    pub own: bool,
    /// Unique, such as `yahoo.tss04`.
    pub id: String,
    /// Providers it holds for; empty for any.
    pub providers: Vec<String>,
    /// Stages it holds at; empty for any.
    pub stages: Vec<Stage>,
    /// Codes it holds for; empty for any.
    pub codes: Vec<CodePattern>,
    /// Enhanced codes it holds for; empty for any and none.
    pub enhanced: Vec<EnhancedPattern>,
    /// Regular expression the text must match, if any: case-insensitive, ASCII, addresses written as `@`.
    pub pattern: Option<Pattern>,
    /// Regular expression the text must not match; it never sees links.
    pub not: Option<Pattern>,
    /// Whether `pattern` sees the links in the text; else they are taken out before.
    pub links: bool,
    /// Rests on a vague phrase or a bare marker: not believed beside a fact that another IP would not change, unless the
    /// text says of us in so many words that we are refused.
    pub weak: bool,
    /// What went wrong.
    pub cause: Cause,
    /// Whose fault.
    pub scope: Scope,
    /// Evidence against the binding's IP.
    pub counts_against_ip: bool,
    /// Overrides whether it is about the IP whatever the mail is; by default only what says that our set-up is at fault.
    pub certain: Option<bool>,
    /// Overrides what cause and code say about the address.
    pub hard: Option<bool>,
    /// What else to do.
    pub action: Action,
    /// Overrides what cause and scope say about the next binding.
    pub next_binding: Option<NextBinding>,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// Overrides what cause and code say.
    pub disposition: Option<Disposition>,
    /// Replies, recorded or composed after the source, that this rule is the first to match.
    pub samples: Vec<String>,
    /// Line and column of each sample.
    pub(super) sample_at: Vec<(usize, usize)>,
    /// Where the wording or its meaning is documented.
    pub source: String,
}

impl Rule {
    /// Whether it blames the binding's IP, its set-up or its network.
    pub fn blames_us(&self) -> bool {
        self.counts_against_ip || matches!(self.scope, Scope::Binding | Scope::Range)
    }

    /// `file:line`.
    pub fn place(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }
}

/// Rules in the order in which they are tried, and everything that is wrong with the files.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) rules: Vec<Rule>,
    pub(super) errors: Vec<RuleError>,
}

/// Reads the operator's `own` files and the `shipped` ones, and lays the former over the latter.
pub(super) fn gather(own: &[RuleFile<'_>], shipped: &[RuleFile<'_>]) -> Gathered {
    let mut all = Gathered::default();
    let own = all.layer(own, true);
    let shipped = all.layer(shipped, false);
    for entry in &own {
        if matches!(entry.says, Says::Off) && !shipped.iter().any(|other| other.id == entry.id) {
            let near = suggest(&entry.id, shipped.iter().map(|other| other.id.as_str()));
            let dot = if near.is_empty() { "" } else { "; " };
            all.errors.push(
                entry.error(format!("id: no shipped rule has this id, so there is nothing to switch off{dot}{near}")),
            );
        }
    }
    // Also a rule with a mistake replaces: the complaint must be about it, not about what it was to replace.
    let place: HashMap<String, usize> = shipped.iter().enumerate().map(|(at, entry)| (entry.id.clone(), at)).collect();
    let mut merged: Vec<Option<Read>> = shipped.into_iter().map(Some).collect();
    let mut new = Vec::new();
    for entry in own {
        match place.get(&entry.id) {
            Some(&at) => merged[at] = Some(entry),
            None => new.push(entry),
        }
    }
    all.rules = new.into_iter().chain(merged.into_iter().flatten()).filter_map(Read::rule).collect();
    all
}

/// An entry of a file, with the file.
struct Read {
    file: String,
    id: String,
    at: (usize, usize),
    says: Says,
}

impl Read {
    fn rule(self) -> Option<Rule> {
        if let Says::Rule(rule) = self.says { Some(*rule) } else { None }
    }

    fn error(&self, problem: String) -> RuleError {
        RuleError { file: self.file.clone(), at: Some(self.at), rule: Some(self.id.clone()), problem }
    }
}

impl Gathered {
    /// All entries of files of one kind; ids that occur twice are mistakes.
    fn layer(&mut self, files: &[RuleFile<'_>], own: bool) -> Vec<Read> {
        let mut layer: Vec<Read> = Vec::new();
        let mut seen = HashMap::<String, String>::new();
        for file in files {
            let contents = file::read(file, own);
            self.errors.extend(contents.errors);
            for file::Entry { id, at, says } in contents.entries {
                let read = Read { file: file.name.to_owned(), id, at, says };
                if let Some(first) = seen.get(&read.id) {
                    self.errors
                        .push(read.error(format!("id: the rule at {first} has this id too; rename or drop one")));
                    continue;
                }
                seen.insert(read.id.clone(), format!("{}:{}", file.name, at.0));
                layer.push(read);
            }
        }
        layer
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
