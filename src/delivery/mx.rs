//! MX, null MX, implicit MX; provider and site name of a destination.

use std::sync::Arc;

use crate::config::HostPort;
use crate::message::{DestinationName, ProviderName};

/// Where mail of a recipient domain goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MxPlan {
    /// Limit key: the provider's name, or `site:` and the folded host names.
    pub destination: DestinationName,
    /// The provider, where one matches.
    pub provider: Option<ProviderName>,
    /// Hosts in groups of equal preference, best first; within a group shuffled at each attempt.
    pub hosts: Vec<Vec<HostPort>>,
    /// The plan was pinned by `[[destination_route]]`: private addresses are allowed.
    pub pinned: bool,
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoPlan {
    /// The domain says it takes no mail (RFC 7505), or does not exist: bounce. Text and enhanced code for the DSN.
    Permanent {
        /// Such as `5.1.10`.
        enhanced: crate::outcome::EnhancedCode,
        /// In words.
        text: String,
    },
    /// Time-out, SERVFAIL: ask again later, blame nobody.
    Temporary {
        /// In words.
        text: String,
    },
}

/// A plan or the reason why there is none.
pub type Planned = Result<Arc<MxPlan>, NoPlan>;
