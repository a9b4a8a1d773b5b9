//! How fast mail stops once a binding is listed.

use super::Registry;

/// See the module.
#[derive(Debug)]
pub struct ReactionMetrics {}

impl ReactionMetrics {
    pub(super) fn new(_r: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {})
    }
}
