//! `remuda classify`: what replies mean, from standard input.

use std::io::{self, BufWriter};
use std::path::PathBuf;
use std::process::ExitCode;

use super::fail;
use crate::outcome::classify::{Classifier, Context};
use crate::outcome::rules::RuleFile;
use crate::outcome::{Stage, classify_cli};

/// What to print and in which light.
pub(super) struct Options {
    pub(super) raw: bool,
    pub(super) explain: bool,
    pub(super) provider: Option<String>,
    pub(super) stage: String,
}

pub(super) fn main(options: &Options, rules: &[PathBuf]) -> ExitCode {
    // Explain, provider and stage are not looked at yet.
    let _ = (options.explain, &options.provider, &options.stage);
    let mut texts = Vec::new();
    for path in rules {
        match std::fs::read_to_string(path) {
            Ok(text) => texts.push((path.display().to_string(), text)),
            Err(error) => return fail(format_args!("cannot read {}: {error}", path.display())),
        }
    }
    let files: Vec<RuleFile<'_>> = texts.iter().map(|(name, text)| RuleFile { name, text }).collect();
    let classifier = match Classifier::with_rules(&files) {
        Ok(classifier) => classifier,
        Err(errors) => {
            for error in errors {
                eprintln!("remuda: {error}");
            }
            return ExitCode::FAILURE;
        }
    };
    let (input, mut output) = (io::stdin().lock(), BufWriter::new(io::stdout().lock()));
    let done = if options.raw {
        classify_cli::parse_raw(input, &mut output)
    } else {
        let context = Context { stage: Stage::Rcpt, provider: None };
        classify_cli::classify(&classifier, context, input, &mut output)
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of our output may have seen enough (`| head`).
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(error),
    }
}
