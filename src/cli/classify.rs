//! `remuda classify`: what replies mean, from standard input.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use super::fail;
use crate::message::ProviderName;
use crate::outcome::classify::{Classifier, Context};
use crate::outcome::{Stage, classify_cli, table};

/// What to print and in which light.
pub(super) struct Options {
    pub(super) raw: bool,
    pub(super) explain: bool,
    pub(super) table: bool,
    pub(super) provider: Option<String>,
    pub(super) stage: String,
}

pub(super) fn main(options: &Options, rules: &[PathBuf]) -> ExitCode {
    let Some(stage) = Stage::ALL.into_iter().find(|stage| stage.as_str() == options.stage) else {
        let stages = Stage::ALL.map(Stage::as_str).join(", ");
        return fail(format_args!("--stage: {:?} is none; write one of {stages}", options.stage));
    };
    let provider = options.provider.as_deref().map(ProviderName::new);
    let classifier = match Classifier::load(rules) {
        Ok(classifier) => classifier,
        Err(errors) => {
            for error in errors {
                eprintln!("{error}");
            }
            return ExitCode::FAILURE;
        }
    };
    let (input, mut output) = (io::stdin().lock(), BufWriter::new(io::stdout().lock()));
    let context = Context { stage, provider: provider.as_ref(), own: &[] };
    let done = if options.table {
        output.write_all(table::markdown(&classifier).as_bytes()).and_then(|()| output.flush())
    } else if options.raw {
        classify_cli::parse_raw(input, &mut output)
    } else if options.explain {
        classify_cli::explain(&classifier, context, input, &mut output)
    } else {
        classify_cli::classify(&classifier, context, input, &mut output)
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of our output may have seen enough (`| head`).
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(error),
    }
}
