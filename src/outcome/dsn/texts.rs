//! What reports say to people: the shipped texts, or those of the operator's file.
//!
//! A file holds words and fields in braces, for one language or several, and nothing else: which line is used when is decided
//! here. It is read whole when the configuration is, and every mistake in it is named, so that no report is ever made from
//! half a text.

use serde::Deserialize;

/// The shipped texts.
const SHIPPED: &str = include_str!("../../../config/reports.toml");
/// Octets of a file at most, and languages in it.
const FILE_MAX: usize = 64 * 1024;
const LANGUAGES_MAX: usize = 10;

/// Fields that have a value in every line.
const GENERAL: &[&str] = &["hostname", "sender", "arrived", "now", "until", "envelope_id"];
/// Those of the lines about one recipient.
const OF_RECIPIENT: &[&str] = &["recipient", "who", "host", "reply", "reason"];

/// All texts of reports, checked.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Texts {
    /// Name in the `From` field.
    pub(super) from: String,
    pub(super) subject: Subjects,
    #[serde(rename = "language")]
    pub(super) languages: Vec<Language>,
}

/// By kind of report.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Subjects {
    pub(super) failed: String,
    pub(super) delayed: String,
    pub(super) relayed: String,
    pub(super) double_bounce: String,
}

/// Declares the lines of a language, each with the fields it may have.
macro_rules! language {
    ($($line:ident: $recipient:literal),* $(,)?) => {
        /// One language.
        #[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct Language {
            pub(super) name: String,
            $(pub(super) $line: String,)*
        }

        impl Language {
            /// Each line with its name, and whether it is about one recipient.
            fn lines(&self) -> Vec<(&'static str, &str, bool)> {
                vec![$((stringify!($line), self.$line.as_str(), $recipient)),*]
            }
        }
    };
}

language! {
    greeting: false,
    failed: false,
    delayed: false,
    relayed: false,
    double_bounce: false,
    refused: true,
    expired: true,
    untried: true,
    returned: true,
    answered_before: true,
    waits: true,
    waits_untried: true,
    passed_on: true,
    who_host: true,
    who_unknown: true,
    end_failed: false,
    end_delayed: false,
    end_relayed: false,
    header_follows: false,
    message_follows: false,
}

impl Default for Texts {
    fn default() -> Self {
        // A test reads them; without languages a report still says everything to programs.
        let none = || String::new();
        let subject = Subjects { failed: none(), delayed: none(), relayed: none(), double_bounce: none() };
        Self::parse(SHIPPED).unwrap_or_else(|_| Self { from: none(), subject, languages: Vec::new() })
    }
}

impl Texts {
    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with it, in words: all of it where it is TOML with the right keys.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > FILE_MAX {
            return Err(format!("holds more than {FILE_MAX} octets"));
        }
        let texts: Self = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        let wrong = texts.mistakes();
        if wrong.is_empty() { Ok(texts) } else { Err(wrong.join("; ")) }
    }

    fn mistakes(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.from.trim().is_empty() || self.from.chars().any(|c| c.is_control() || "\"\\<>()[],;:@".contains(c)) {
            wrong.push("from is to be a name: words without <>()[],;:@\\ and quotation marks".to_owned());
        }
        let Subjects { failed, delayed, relayed, double_bounce } = &self.subject;
        let subjects =
            [("failed", failed), ("delayed", delayed), ("relayed", relayed), ("double_bounce", double_bounce)];
        for (name, line) in subjects {
            wrong.extend(mistake(line, GENERAL).map(|what| format!("subject.{name} {what}")));
        }
        if self.languages.is_empty() || self.languages.len() > LANGUAGES_MAX {
            wrong.push(format!("there are to be 1 to {LANGUAGES_MAX} [[language]] sections"));
        }
        for language in &self.languages {
            for (name, line, is_of_recipient) in language.lines() {
                let known = if is_of_recipient { [GENERAL, OF_RECIPIENT].concat() } else { GENERAL.to_vec() };
                wrong.extend(mistake(line, &known).map(|what| format!("language {:?}: {name} {what}", language.name)));
            }
        }
        wrong
    }
}

/// What is wrong with a line.
fn mistake(line: &str, known: &[&str]) -> Option<String> {
    if line.trim().is_empty() || line.chars().any(char::is_control) {
        return Some("is to be one line that says something".to_owned());
    }
    let mut rest = line;
    while let Some((_, behind)) = rest.split_once('{') {
        let Some((name, after)) = behind.split_once('}') else {
            return Some("has a { without a }".to_owned());
        };
        if !known.contains(&name) {
            return Some(format!("has {{{name}}}; its fields are {}", known.join(", ")));
        }
        rest = after;
    }
    None
}

/// The line with its fields filled in. What a field stands for is never read for fields again.
pub(super) fn fill(line: &str, value: &dyn Fn(&str) -> String) -> String {
    let mut out = String::with_capacity(line.len() + 64);
    let mut rest = line;
    while let Some((before, behind)) = rest.split_once('{') {
        let Some((name, after)) = behind.split_once('}') else { break };
        out.push_str(before);
        out.push_str(&value(name));
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_texts_are_good() {
        let texts = Texts::parse(SHIPPED).expect("good");
        assert_eq!((texts.languages.len(), texts.subject.failed.is_empty()), (1, false));
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        for (from, to, said) in [
            ("{arrived}, could", "{arived}, could", "language \"en\": failed has {arived}; its fields are hostname"),
            ("{hostname}.\"", "{hostname.\"", "greeting has a { without a }"),
            ("greeting = \"This", "greeting = \"{reply} This", "greeting has {reply}"),
            ("waits = ", "wait = ", "unknown field `wait`"),
            ("Mail Delivery System", "a <b@example.org>", "from is to be a name"),
            ("\"Your message is delayed\"", "\"\"", "subject.delayed is to be one line"),
            ("\"Your message is delayed\"", "\"a\\r\\nBcc: b@example.org\"", "subject.delayed is to be one line"),
        ] {
            let file = SHIPPED.replacen(from, to, 1);
            assert_ne!(file, SHIPPED, "{from}");
            let error = Texts::parse(&file).expect_err(said);
            assert!(error.contains(said), "{error}");
        }
        let none = SHIPPED.split("[[language]]").next().expect("the beginning");
        assert!(Texts::parse(none).is_err());
        assert!(Texts::parse(&"#".repeat(FILE_MAX + 1)).expect_err("too much").contains("more than"));
    }

    #[test]
    fn fields_are_filled_in_once() {
        let value = |name: &str| if name == "reply" { "{host}".to_owned() } else { format!("<{name}>") };
        assert_eq!(fill("a {reply} b {host}{now}", &value), "a {host} b <host><now>");
        assert_eq!(fill("plain", &value), "plain");
    }
}
