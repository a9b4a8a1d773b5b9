//! What others say, how old it is and how long our credentials hold.

use super::Registry;

/// See the module.
#[derive(Debug)]
pub struct FeedMetrics {}

impl FeedMetrics {
    pub(super) fn new(_r: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {})
    }
}
