//! What the queue knows of a tenant: its weight, and what its streams mean.

use std::collections::HashMap;

use super::super::index::Class;
use crate::config::{self, Config, SpfPolicy};
use crate::message::{Domain, StreamName};

/// What the queue knows of a tenant.
#[derive(Debug, Default)]
pub(super) struct TenantPlan {
    pub(super) weight: u32,
    /// The operator lets its mail wait.
    pub(super) is_held: bool,
    /// Whether its mail keeps to the bindings that SPF allows.
    pub(super) keeps_to_spf: bool,
    /// The sender domain that its mail leaves with, where return paths are rewritten.
    pub(super) sends_as: Option<Domain>,
    classes: HashMap<StreamName, Class>,
}

impl TenantPlan {
    /// Of streams that are not named.
    pub(super) const PLAIN: Class = Class::new(config::Tenant::PRIORITY, false);

    pub(super) fn of(tenant: &config::Tenant, config: &Config) -> Self {
        let streams = tenant.priority.keys().chain(&tenant.engaged);
        let class = |stream: &StreamName| {
            let priority = tenant.priority.get(stream).copied().unwrap_or(config::Tenant::PRIORITY);
            (stream.clone(), Class::new(priority, tenant.engaged.contains(stream)))
        };
        Self {
            weight: tenant.weight,
            is_held: tenant.hold,
            keeps_to_spf: tenant.spf_policy(&config.monitor) == SpfPolicy::Require,
            sends_as: tenant.sends_as(config).cloned(),
            classes: streams.map(class).collect(),
        }
    }

    /// Whether its streams mean the same.
    pub(super) fn has_same_classes(&self, other: &Self) -> bool {
        self.classes == other.classes
    }

    /// What this stream of its means.
    pub(super) fn class(&self, stream: &StreamName) -> Class {
        self.classes.get(stream).copied().unwrap_or(Self::PLAIN)
    }
}
