//! Which bindings the SPF records of the tenants' domains cover.

pub mod ask;

use std::sync::Arc;

use tokio::sync::watch;

use crate::clock::Clock;
use crate::config::Config;

/// The table domain × binding.
pub struct Cover {
    _clock: Arc<dyn Clock>,
}

impl Cover {
    /// Sets everything up; asks nothing yet.
    pub fn new(_config: &Config, clock: Arc<dyn Clock>) -> Self {
        Self { _clock: clock }
    }

    /// Works until `stopped` turns true.
    pub async fn run(&self, mut stopped: watch::Receiver<bool>) {
        // An error means that the sender is gone, which is a stop as well.
        drop(stopped.wait_for(|stop| *stop).await);
    }
}
