//! `remuda queue`: what waits, and what is done about it.

use std::process::ExitCode;

use super::fail;
use super::remote::Remote;

/// Options.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    remote: Remote,
}

pub(super) fn main(args: &Args) -> ExitCode {
    fail(format_args!("not there yet at {}", args.remote.admin))
}
