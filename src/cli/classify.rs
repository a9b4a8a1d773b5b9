//! `remuda classify`: what replies mean, from standard input.

use std::collections::BTreeSet;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use super::{classify_mail, fail};
use crate::config::suggest;
use crate::message::ProviderName;
use crate::outcome::classify::{Classifier, Context};
use crate::outcome::rules::SHIPPED;
use crate::outcome::{Stage, classify_cli, table};

/// What to print and in which light.
pub(super) struct Options {
    pub(super) raw: bool,
    pub(super) explain: bool,
    pub(super) table: bool,
    pub(super) provider: Option<String>,
    pub(super) stage: String,
    /// A mail to read instead of replies.
    pub(super) mail: Option<PathBuf>,
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
    if let Some(warning) = provider.as_ref().and_then(|name| unknown(name, &classifier)) {
        eprintln!("warning: {warning}");
    }
    let context = Context { stage, provider: provider.as_ref(), own: &[] };
    if let Some(mail) = &options.mail {
        return classify_mail::main(mail, &classifier, context);
    }
    let (input, mut output) = (io::stdin().lock(), BufWriter::new(io::stdout().lock()));
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

/// What is odd about a provider that no rule is bound to and that none is named after: a typing error, most likely.
fn unknown(provider: &ProviderName, classifier: &Classifier) -> Option<String> {
    let bound = classifier.rules().flat_map(|rule| &rule.providers).map(String::as_str);
    let documented = classifier.rules().filter(|rule| rule.file == SHIPPED[0].name);
    let known: BTreeSet<&str> = bound.chain(documented.filter_map(|rule| rule.id.split('.').next())).collect();
    if known.contains(provider.as_str()) {
        return None;
    }
    let near = suggest(provider.as_str(), known.iter().copied());
    let hint = if near.ends_with('?') { near } else { format!("known: {}", Vec::from_iter(known).join(", ")) };
    Some(format!("--provider: no rule knows a provider {:?}; {hint}", provider.as_str()))
}
