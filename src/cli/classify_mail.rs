//! `remuda classify --mail FILE`: what a bounce or complaint says.

use std::path::Path;
use std::process::ExitCode;

use super::fail;

pub(super) fn main(file: &Path) -> ExitCode {
    fail(format_args!("{}: not built yet", file.display()))
}
