//! DNS identity: the resolver itself, reverse DNS, EHLO names, SPF cover.

use super::Registry;

/// See the module.
#[derive(Debug)]
pub struct IdentityMetrics {}

impl IdentityMetrics {
    pub(super) fn new(_r: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {})
    }
}
