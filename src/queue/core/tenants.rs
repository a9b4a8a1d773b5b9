//! What the queue knows of a tenant: its weight, and what its streams mean.

use std::collections::HashMap;

use super::super::index::Class;
use crate::config;
use crate::message::StreamName;

/// What the queue knows of a tenant.
#[derive(Debug)]
pub(super) struct TenantPlan {
    pub(super) weight: u32,
    classes: HashMap<StreamName, Class>,
}

impl TenantPlan {
    /// Of streams that are not named.
    pub(super) const PLAIN: Class = Class::new(config::Tenant::PRIORITY, false);

    pub(super) fn of(tenant: &config::Tenant) -> Self {
        let streams = tenant.priority.keys().chain(&tenant.engaged);
        let class = |stream: &StreamName| {
            let priority = tenant.priority.get(stream).copied().unwrap_or(config::Tenant::PRIORITY);
            (stream.clone(), Class::new(priority, tenant.engaged.contains(stream)))
        };
        Self { weight: tenant.weight, classes: streams.map(class).collect() }
    }

    /// What this stream of its means.
    pub(super) fn class(&self, stream: &StreamName) -> Class {
        self.classes.get(stream).copied().unwrap_or(Self::PLAIN)
    }
}
