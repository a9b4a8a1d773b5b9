//! `remuda token`: tokens for the HTTP side.

use std::process::ExitCode;

use super::fail;

/// Options.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn main(_args: &Args) -> ExitCode {
    fail("not there yet")
}
