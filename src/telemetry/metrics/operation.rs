//! Whether the relay itself is well: configuration, disk, pools, wait reasons.

use prometheus::Registry;

/// See the module.
#[derive(Debug)]
pub struct OperationMetrics {}

impl OperationMetrics {
    pub(super) fn new(_r: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {})
    }
}
