//! Names and their numbers. A number is given at the first appearance of a name; only a destination's is ever taken back.

use std::sync::Arc;

use super::{Destination, Scheduler};
use crate::config;
use crate::message::{BindingName, DestinationName, PoolName, ProviderName, TenantName};
use crate::scheduler::{BindingId, DestinationId, PoolId, TenantId};

impl Scheduler {
    /// The number of a binding of the configuration.
    pub fn binding_id(&self, name: &BindingName) -> Option<BindingId> {
        self.binding_ids.get(name).copied().filter(|id| self.bindings[id.index()].exists)
    }

    /// The name of a binding.
    pub fn binding_name(&self, id: BindingId) -> &BindingName {
        &self.bindings[id.index()].config.name
    }

    /// The configuration of a binding: the latest that had it.
    pub fn binding(&self, id: BindingId) -> &Arc<config::Binding> {
        &self.bindings[id.index()].config
    }

    /// The number of a pool.
    pub fn pool_id(&self, name: &PoolName) -> Option<PoolId> {
        self.pool_ids.get(name).copied()
    }

    /// The name of a pool.
    pub fn pool_name(&self, id: PoolId) -> &PoolName {
        &self.pools[id.index()].name
    }

    /// The number of a tenant.
    pub fn tenant_id(&self, name: &TenantName) -> Option<TenantId> {
        self.tenant_ids.get(name).copied()
    }

    /// The name of a tenant.
    pub fn tenant_name(&self, id: TenantId) -> &TenantName {
        &self.tenants[id.index()].name
    }

    /// The number of a destination, given at its first appearance. `provider` is the provider it is, if it is one.
    pub fn destination(&mut self, name: &DestinationName, provider: Option<&ProviderName>) -> DestinationId {
        let column = provider.and_then(|provider| self.table.providers.get(provider)).copied().unwrap_or(0);
        if let Some(&id) = self.destination_ids.get(name) {
            let known = &mut self.destinations[id.index()];
            if provider.is_some() && known.provider_name.as_ref() != provider {
                // It was a site, and now a provider of that name is configured.
                (known.provider_name, known.column) = (provider.cloned(), column);
            }
            return id;
        }
        let fresh =
            Destination { name: name.clone(), provider_name: provider.cloned(), column, routes_out: 0, routes: 0 };
        let id = match self.unused_destinations.pop() {
            Some(id) => {
                self.destinations[id.index()] = fresh;
                id
            }
            None => {
                self.destinations.push(fresh);
                DestinationId(self.destinations.len() as u32 - 1)
            }
        };
        self.destination_ids.insert(name.clone(), id);
        id
    }

    /// The name of a destination.
    pub fn destination_name(&self, id: DestinationId) -> &DestinationName {
        &self.destinations[id.index()].name
    }

    /// The number of a destination that has one.
    pub fn destination_id(&self, name: &DestinationName) -> Option<DestinationId> {
        self.destination_ids.get(name).copied()
    }

    /// Forgets a destination for which no mail waits, so that numbers and memory do not grow with every domain ever
    /// written to. Returns false, and keeps it, while there is a lease, a health or a limit for it. Its number may be
    /// given to another destination afterwards.
    pub fn forget_destination(&mut self, id: DestinationId) -> bool {
        let destination = &self.destinations[id.index()];
        let is_known = self.destination_ids.get(&destination.name) == Some(&id);
        if destination.routes > 0 || destination.column > 0 || !is_known {
            return false;
        }
        self.destination_ids.remove(&destination.name);
        self.pools.iter_mut().flat_map(|pool| &mut pool.tiers).for_each(|tier| tier.forget(id));
        self.unused_destinations.push(id);
        true
    }
}
