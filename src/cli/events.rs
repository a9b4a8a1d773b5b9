//! `remuda events`: what happened lately on a running relay.

use std::process::ExitCode;

use super::fail;

pub(super) fn main(admin: &str, kind: Option<&str>, limit: usize, json: bool) -> ExitCode {
    fail(format_args!("{admin} {kind:?} {limit} {json}: not built yet"))
}
