//! Lists that are asked: their health, what they say of our addresses and domains, what the questions cost.

use super::Registry;

/// See the module.
#[derive(Debug)]
pub struct ListMetrics {}

impl ListMetrics {
    pub(super) fn new(_r: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {})
    }
}
