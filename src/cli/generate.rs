//! Completions for shells, and manual pages, made from the command line as it is.

use std::process::ExitCode;

use super::fail;

/// Options of `remuda completions`.
#[derive(Debug, clap::Args)]
pub(super) struct Completions {}

/// Options of `remuda man`.
#[derive(Debug, clap::Args)]
pub(super) struct Man {}

pub(super) fn completions(_args: &Completions) -> ExitCode {
    fail("not there yet")
}

pub(super) fn man(_args: &Man) -> ExitCode {
    fail("not there yet")
}
