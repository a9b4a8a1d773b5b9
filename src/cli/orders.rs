//! `remuda orders`: what was ordered while the relay runs, and is in force.

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
