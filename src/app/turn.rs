//! Brings a changed configuration into force in every part of the running program ([`crate::live::Apply`]).

use std::sync::Arc;

use crate::live::{Apply, Change, Work};
use crate::queue::dispatcher::Dispatcher;

/// Everything that is told.
pub(super) struct Turn {
    pub(super) dispatcher: Arc<Dispatcher>,
}

impl Apply for Turn {
    fn check<'a>(&'a mut self, _change: &'a Change) -> Work<'a, Result<Vec<String>, String>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn apply<'a>(&'a mut self, _change: &'a Change) -> Work<'a, Result<Vec<String>, String>> {
        let _ = &self.dispatcher;
        Box::pin(async { Err("this version cannot change its configuration while it runs".into()) })
    }
}
