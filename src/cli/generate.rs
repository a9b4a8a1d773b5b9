//! Completions for shells, and manual pages, made from the command line as it is.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, fail};

/// Options of `remuda completions`.
#[derive(Debug, clap::Args)]
pub(super) struct Completions {
    /// For which shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Options of `remuda man`.
#[derive(Debug, clap::Args)]
pub(super) struct Man {
    /// Where to; made where it is missing.
    #[arg(value_name = "DIRECTORY")]
    directory: PathBuf,
}

pub(super) fn completions(args: &Completions) -> ExitCode {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "remuda", &mut text);
    match std::io::stdout().write_all(&text) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => fail(error),
        _ => ExitCode::SUCCESS,
    }
}

pub(super) fn man(args: &Man) -> ExitCode {
    let directory = &args.directory;
    let made = std::fs::create_dir_all(directory).and_then(|()| clap_mangen::generate_to(Cli::command(), directory));
    match made {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(format_args!("{}: {error}", directory.display())),
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    fn verbs() -> Vec<String> {
        let command = Cli::command();
        command.get_subcommands().filter(|verb| !verb.is_hide_set()).map(|verb| verb.get_name().to_owned()).collect()
    }

    #[test]
    fn the_command_line_is_one() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_shell_completes_every_verb() {
        for shell in Shell::value_variants() {
            let mut text = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "remuda", &mut text);
            let text = String::from_utf8(text).expect("text");
            let missing: Vec<String> = verbs().into_iter().filter(|verb| !text.contains(verb.as_str())).collect();
            assert!(missing.is_empty(), "{shell}: {missing:?}");
        }
    }

    #[test]
    fn every_verb_has_a_page_and_the_first_one_names_them_all() {
        let directory = tempfile::tempdir().expect("a directory");
        let below = directory.path().join("man1");
        assert_eq!(man(&Man { directory: below.clone() }), ExitCode::SUCCESS);
        let page = |name: &str| std::fs::read_to_string(below.join(name)).unwrap_or_default();
        let first = page("remuda.1");
        assert!(verbs().len() > 15, "{:?}", verbs());
        for verb in verbs() {
            // roff writes a hyphen as \-.
            assert!(first.contains(&format!("remuda\\-{}", verb.replace('-', "\\-"))), "{verb} in\n{first}");
            assert!(page(&format!("remuda-{verb}.1")).contains(".SH NAME"), "a page of {verb}");
        }
    }
}
