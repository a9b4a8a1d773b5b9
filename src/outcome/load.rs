//! (shell) Reads the operator's files from disk: rules, whose meaning is decided in [`super::rules`], and the texts of
//! reports ([`super::dsn`]).

use std::path::{Path, PathBuf};

use super::classify::Classifier;
use super::dsn::Texts;
use super::rules::{RuleError, RuleFile};

impl Classifier {
    /// The rules in the files at `paths`, tried first, and the shipped ones.
    ///
    /// # Errors
    ///
    /// Files that cannot be read, and everything [`Classifier::with_rules`] finds in the others.
    pub fn load(paths: &[PathBuf]) -> Result<Self, Vec<RuleError>> {
        let (mut texts, mut errors) = (Vec::new(), Vec::new());
        for path in paths {
            let file = path.display().to_string();
            match std::fs::read_to_string(path) {
                Ok(text) => texts.push((file, text)),
                Err(error) => {
                    errors.push(RuleError { file, at: None, rule: None, problem: format!("cannot be read: {error}") });
                }
            }
        }
        let files: Vec<RuleFile<'_>> = texts.iter().map(|(name, text)| RuleFile { name, text }).collect();
        match Self::with_rules(&files) {
            Ok(classifier) if errors.is_empty() => Ok(classifier),
            Ok(_) => Err(errors),
            Err(more) => {
                errors.extend(more);
                Err(errors)
            }
        }
    }
}

impl Texts {
    /// The texts in this file, or the shipped ones.
    ///
    /// # Errors
    /// What is wrong with the file, in words.
    pub fn load(path: Option<&Path>) -> Result<Self, String> {
        let Some(path) = path else { return Ok(Self::default()) };
        let name = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| format!("{name}: cannot be read: {error}"))?;
        Self::parse(&text).map_err(|error| format!("{name}: {error}"))
    }
}
