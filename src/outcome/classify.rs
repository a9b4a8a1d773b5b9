//! Replies and failures → [`Outcome`], by rules that are data.

use super::{Failure, Outcome, Reply, Stage};
use crate::message::ProviderName;

/// What is known about an answer besides its text.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Where in the dialogue it came.
    pub stage: Stage,
    /// The provider it came from, where known.
    pub provider: Option<&'a ProviderName>,
}

/// Holds the compiled rules. Make one, share it.
#[derive(Debug)]
pub struct Classifier {}

impl Classifier {
    /// The rules shipped with the program.
    pub fn shipped() -> Self {
        Self {}
    }

    /// What `reply` means.
    pub fn reply(&self, _reply: &Reply, _context: Context<'_>) -> Outcome {
        unimplemented!("skeleton")
    }

    /// What a failure without a reply means.
    pub fn failure(&self, _failure: &Failure) -> Outcome {
        unimplemented!("skeleton")
    }
}
