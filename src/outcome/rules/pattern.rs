//! The conditions of a rule that are more than a word: codes, enhanced codes, regular expressions.
//!
//! Each is read from the text of the file into a value that cannot be wrong; [`Readable`] reports what is no such value
//! at its place and says what to write instead.

use std::fmt;
use std::sync::OnceLock;

use regex::bytes::{Regex, RegexBuilder};

use crate::config::mistake::{Findings, Place};
use crate::config::read::{Readable, as_text};
use crate::config::tree::{Node, Value};
use crate::outcome::EnhancedCode;

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

impl fmt::Display for CodePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Class(class) => write!(f, "{class}yz"),
            Self::Exact(exact) => write!(f, "{exact}"),
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

const ANY: (u16, u16) = (0, 999);

impl EnhancedPattern {
    fn parse(text: &str) -> Option<Self> {
        fn range(text: &str) -> Option<(u16, u16)> {
            if text == "x" {
                return Some(ANY);
            }
            let (from, to) = text.split_once('-').unwrap_or((text, text));
            let (from, to) = (from.parse().ok()?, to.parse().ok()?);
            (from <= to && to <= ANY.1).then_some((from, to))
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

impl fmt::Display for EnhancedPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.class {
            Some(class) => write!(f, "{class}")?,
            None => f.write_str("x")?,
        }
        for range in [self.subject, self.detail] {
            match range {
                ANY => f.write_str(".x")?,
                (from, to) if from == to => write!(f, ".{from}")?,
                (from, to) => write!(f, ".{from}-{to}")?,
            }
        }
        Ok(())
    }
}

/// A regular expression: case-insensitive, ASCII, linear in the length of the text.
///
/// Compiled when it is first tried: all of them take tens of milliseconds, and most are never needed. So that none turns
/// out to be broken then, the operator's are compiled when they are read, and a test compiles the shipped ones.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    /// Not looked at yet; see [`Self::check`].
    pub(in crate::outcome) fn new(text: String) -> Self {
        Self { text, compiled: OnceLock::new() }
    }

    /// As it is written in the file.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether `text` matches.
    pub fn is_match(&self, text: &[u8]) -> bool {
        self.regex().is_some_and(|regex| regex.is_match(text))
    }

    /// Where in `text` it matches first.
    pub fn find(&self, text: &[u8]) -> Option<std::ops::Range<usize>> {
        self.regex()?.find(text).map(|found| found.range())
    }

    /// What is wrong with it, in one line.
    ///
    /// # Errors
    ///
    /// What the regex library says.
    pub(super) fn check(&self) -> Result<(), String> {
        match compile(&self.text) {
            Ok(regex) => {
                self.compiled.get_or_init(|| Some(regex));
                Ok(())
            }
            Err(why) => Err(in_one_line(&self.text, &why)),
        }
    }

    fn regex(&self) -> Option<&Regex> {
        self.compiled.get_or_init(|| compile(&self.text).ok()).as_ref()
    }
}

/// Compiles with the settings that all patterns share.
fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).case_insensitive(true).unicode(false).build()
}

impl Readable for Pattern {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        let text = as_text(node, place, "a regular expression", out)?;
        if text.is_empty() {
            out.mistake(place, "an empty pattern matches every text", "leave the key out");
            return None;
        }
        Some(Self::new(text.to_owned()))
    }
}

/// What the regex library says, without the drawing it makes over several lines.
fn in_one_line(pattern: &str, why: &regex::Error) -> String {
    let parsed = regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build().parse(pattern);
    let (kind, at) = match parsed {
        Err(regex_syntax::Error::Parse(error)) => (error.kind().to_string(), error.span().start.column),
        Err(regex_syntax::Error::Translate(error)) => (error.kind().to_string(), error.span().start.column),
        _ => return why.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    };
    format!("{kind}, at character {at} of {pattern:?}")
}

/// One text or a list of them, each read by `parse`.
#[derive(Clone, Debug)]
pub(super) struct OneOrMany<T>(pub(super) Vec<T>);

/// What can stand alone or in a list.
pub(super) trait Listed: Sized {
    const WHAT: &'static str;
    const HINT: &'static str;
    fn parse(text: &str) -> Option<Self>;
}

impl Listed for CodePattern {
    const WHAT: &'static str = "no reply code";
    const HINT: &'static str = "write \"550\", or \"5\" for 500 to 599";
    fn parse(text: &str) -> Option<Self> {
        Self::parse(text)
    }
}

impl Listed for EnhancedPattern {
    const WHAT: &'static str = "no enhanced code";
    const HINT: &'static str = "write \"5.7.1\", \"4.7.500-699\" or \"x.4.x\"";
    fn parse(text: &str) -> Option<Self> {
        Self::parse(text)
    }
}

impl<T: Listed> Readable for OneOrMany<T> {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        let nodes = match &node.value {
            Value::List(nodes) => nodes.as_slice(),
            _ => std::slice::from_ref(node),
        };
        let mut all = Vec::with_capacity(nodes.len());
        for node in nodes {
            let place = Place { offset: node.offset, ..place.clone() };
            let Some(text) = as_text(node, &place, "a text or a list of texts", out) else { continue };
            match T::parse(text) {
                Some(value) => all.push(value),
                None => out.mistake(&place, format!("{text:?} is {}", T::WHAT), T::HINT),
            }
        }
        (all.len() == nodes.len()).then_some(Self(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enhanced_patterns_print_as_they_are_written() {
        for text in ["5.7.1", "4.7.500-699", "x.4.x", "x.1.0-3"] {
            assert_eq!(EnhancedPattern::parse(text).expect(text).to_string(), text);
        }
        for text in ["5.7", "3.7.1", "5.7.9-1", "5.7.1000", "5.7.1.1", ""] {
            assert_eq!(EnhancedPattern::parse(text), None, "{text}");
        }
    }

    #[test]
    fn codes_are_classes_or_exact() {
        let five = CodePattern::parse("5").expect("a class");
        assert!(five.matches(550) && !five.matches(450));
        assert_eq!(CodePattern::parse("550"), Some(CodePattern::Exact(550)));
        for text in ["6", "1", "600", "55", "", "5xx"] {
            assert_eq!(CodePattern::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_pattern_is_said_in_one_line() {
        for (pattern, said) in [
            ("(a", "unclosed group, at character 1 of \"(a\""),
            ("ab[", "unclosed character class, at character 3 of \"ab[\""),
            ("a{9999}{9999}{9999}", "exceed"),
        ] {
            let why = compile(pattern).expect_err(pattern);
            let line = in_one_line(pattern, &why);
            assert!(line.contains(said) && !line.contains('\n'), "{line}");
        }
    }
}
