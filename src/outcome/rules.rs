//! The format of rule files (`config/rules/*.toml`) and what makes a rule of them.
//!
//! A rule says: a reply whose code, enhanced code, stage, provider and text look like this means that. Rules are tried
//! in the order of the files: the operator's own first, then the shipped ones — providers' documented markers, phrases
//! that any server may use, and last what code and enhanced code alone say. They are data and not code because they
//! rot: providers change their wording, and an operator must be able to mend that without a new program. Each carries
//! its source and samples, and a test holds every shipped rule to its samples.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use super::{Action, Cause, Disposition, EnhancedCode, NextBinding, Scope, Stage};

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
    RuleFile { name: "config/rules/providers.toml", text: include_str!("../../config/rules/providers.toml") },
    RuleFile { name: "config/rules/generic.toml", text: include_str!("../../config/rules/generic.toml") },
    RuleFile { name: "config/rules/fallback.toml", text: include_str!("../../config/rules/fallback.toml") },
];

/// What is wrong with a rule file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// Name of the file.
    pub file: String,
    /// Id of the rule, where it got as far as that.
    pub rule: Option<String>,
    /// What is wrong.
    pub problem: String,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rule {
            Some(rule) => write!(f, "{}: rule {rule:?}: {}", self.file, self.problem),
            None => write!(f, "{}: {}", self.file, self.problem),
        }
    }
}

impl std::error::Error for RuleError {}

/// One rule, its conditions parsed. The patterns are still text; [`super::Classifier`] compiles them together.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Name of the file it stands in.
    pub file: String,
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
    pub pattern: Option<String>,
    /// Regular expression the text must not match.
    pub not: Option<String>,
    /// What went wrong.
    pub cause: Cause,
    /// Whose fault.
    pub scope: Scope,
    /// Evidence against the binding's IP.
    pub counts_against_ip: bool,
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
    /// Where the wording or its meaning is documented.
    pub source: String,
}

/// A code or a class of codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodePattern {
    /// `"5"`: all of 500–599.
    Class(u16),
    /// `"550"`.
    Exact(u16),
}

impl CodePattern {
    fn parse(text: &str) -> Option<Self> {
        let number: u16 = text.parse().ok()?;
        match number {
            2..=5 => Some(Self::Class(number)),
            200..=599 => Some(Self::Exact(number)),
            _ => None,
        }
    }

    /// Whether `code` is meant.
    pub fn matches(self, code: u16) -> bool {
        match self {
            Self::Class(class) => code / 100 == class,
            Self::Exact(exact) => code == exact,
        }
    }
}

/// `"5.7.1"`, `"4.7.500-699"`, `"x.4.x"`: `x` stands for any number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnhancedPattern {
    class: Option<u8>,
    subject: (u16, u16),
    detail: (u16, u16),
}

impl EnhancedPattern {
    fn parse(text: &str) -> Option<Self> {
        fn range(text: &str) -> Option<(u16, u16)> {
            if text == "x" {
                return Some((0, 999));
            }
            let (from, to) = text.split_once('-').unwrap_or((text, text));
            let (from, to) = (from.parse().ok()?, to.parse().ok()?);
            (from <= to && to <= 999).then_some((from, to))
        }
        let mut parts = text.split('.');
        let (class, subject, detail) = (parts.next()?, parts.next()?, parts.next()?);
        let class = match class {
            "x" => None,
            "2" | "4" | "5" => class.parse().ok(),
            _ => return None,
        };
        let pattern = Self { class, subject: range(subject)?, detail: range(detail)? };
        parts.next().is_none().then_some(pattern)
    }

    /// Whether `code` is meant.
    pub fn matches(self, code: EnhancedCode) -> bool {
        self.class.is_none_or(|class| class == code.class)
            && (self.subject.0..=self.subject.1).contains(&code.subject)
            && (self.detail.0..=self.detail.1).contains(&code.detail)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    rule: Vec<RawRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    id: String,
    #[serde(default)]
    providers: Vec<String>,
    #[serde(default)]
    stages: Vec<Stage>,
    #[serde(default)]
    code: OneOrMany,
    #[serde(default)]
    enhanced: OneOrMany,
    pattern: Option<String>,
    not: Option<String>,
    cause: Cause,
    scope: Scope,
    #[serde(default)]
    counts_against_ip: bool,
    hard: Option<bool>,
    #[serde(default)]
    action: ActionWord,
    r#for: Option<String>,
    next_binding: Option<NextBinding>,
    retry_after: Option<String>,
    disposition: Option<DispositionWord>,
    #[serde(default)]
    samples: Vec<String>,
    #[serde(default)]
    source: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl Default for OneOrMany {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl OneOrMany {
    fn parse<T>(self, what: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, String> {
        let texts = match self {
            Self::One(text) => vec![text],
            Self::Many(texts) => texts,
        };
        texts.iter().map(|text| parse(text).ok_or_else(|| format!("{text:?} is no {what}"))).collect()
    }
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ActionWord {
    #[default]
    None,
    BackOff,
    SuspendRoute,
    SuspendBinding,
    HoldTenant,
    HoldContent,
    FixBinding,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum DispositionWord {
    Defer,
    Bounce,
}

/// Reads `files` in their order.
///
/// # Errors
///
/// All mistakes of all files, each with file and rule.
pub fn parse(files: &[RuleFile<'_>]) -> Result<Vec<Rule>, Vec<RuleError>> {
    let (mut rules, mut errors) = (Vec::<Rule>::new(), Vec::new());
    for file in files {
        let mut complain = |rule: Option<&str>, problem: String| {
            errors.push(RuleError { file: file.name.to_owned(), rule: rule.map(str::to_owned), problem });
        };
        let raw = match toml::from_str::<RawFile>(file.text) {
            Ok(raw) => raw,
            Err(why) => {
                complain(None, why.to_string());
                continue;
            }
        };
        for raw in raw.rule {
            let id = raw.id.clone();
            match Rule::check(file.name, raw) {
                Ok(rule) => match rules.iter().find(|other| other.id == id) {
                    Some(other) => complain(Some(&id), format!("another rule has this id, in {}", other.file)),
                    None => rules.push(rule),
                },
                Err(why) => complain(Some(&id), why),
            }
        }
    }
    if errors.is_empty() { Ok(rules) } else { Err(errors) }
}

impl Rule {
    fn check(file: &str, raw: RawRule) -> Result<Self, String> {
        if raw.id.is_empty()
            || !raw.id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
        {
            return Err("an id is made of a-z, 0-9, dot, hyphen and underscore".to_owned());
        }
        if raw.counts_against_ip && !matches!(raw.scope, Scope::Binding | Scope::Range) {
            return Err("counts_against_ip needs scope binding or range".to_owned());
        }
        let rule = Self {
            file: file.to_owned(),
            id: raw.id,
            providers: raw.providers,
            stages: raw.stages,
            codes: raw.code.parse("reply code (\"4\" or \"550\")", CodePattern::parse)?,
            enhanced: raw
                .enhanced
                .parse("enhanced code (\"5.7.1\", \"4.7.500-699\", \"x.4.x\")", EnhancedPattern::parse)?,
            pattern: raw.pattern,
            not: raw.not,
            cause: raw.cause,
            scope: raw.scope,
            counts_against_ip: raw.counts_against_ip,
            hard: raw.hard,
            action: action(raw.action, raw.r#for.as_deref())?,
            next_binding: raw.next_binding,
            retry_after: raw.retry_after.as_deref().map(span).transpose()?,
            disposition: raw.disposition.map(|word| match word {
                DispositionWord::Defer => Disposition::Deferred,
                DispositionWord::Bounce => Disposition::Bounced,
            }),
            samples: raw.samples,
            source: raw.source,
        };
        let bound = rule.pattern.is_some() || !rule.codes.is_empty() || !rule.enhanced.is_empty();
        if bound { Ok(rule) } else { Err("needs at least one of pattern, code and enhanced".to_owned()) }
    }
}

fn action(word: ActionWord, length: Option<&str>) -> Result<Action, String> {
    let make: fn(Duration) -> Action = match word {
        ActionWord::None if length.is_some() => return Err("`for` without an action".to_owned()),
        ActionWord::None => return Ok(Action::None),
        ActionWord::BackOff => Action::BackOff,
        ActionWord::SuspendRoute => Action::SuspendRoute,
        ActionWord::SuspendBinding => Action::SuspendBinding,
        ActionWord::HoldTenant => Action::HoldTenant,
        ActionWord::HoldContent => Action::HoldContent,
        ActionWord::FixBinding => Action::FixBinding,
    };
    let length = length.ok_or("the action needs a length, such as for = \"2h\"")?;
    span(length).map(make)
}

fn span(text: &str) -> Result<Duration, String> {
    let length = text.parse::<jiff::SignedDuration>().map_err(|why| format!("{text:?}: {why}"))?;
    match Duration::try_from(length) {
        Ok(length) if !length.is_zero() => Ok(length),
        _ => Err(format!("{text:?} is not a length of time above zero")),
    }
}
