//! Providers and pinned routes: where mail goes.

use std::sync::Arc;

use super::Context;
use super::binding::Ladders;
use super::context::section;
use crate::config::mistake::Place;
use crate::config::read::{At, Field};
use crate::config::{DestinationRoute, DomainPattern, HostPort, Provider, Region, raw};
use crate::message::ProviderName;

impl Context<'_> {
    pub(super) fn providers(&mut self, file: &raw::File, ladders: &Ladders) -> Vec<Provider> {
        let mut providers = Vec::new();
        for (entry, raw) in self.named(&file.provider) {
            let hint = "name its MX hosts, such as mx = [\"*.mail.example.com\"]";
            let mx = raw.mx.required(&entry.place, "mx", hint, &mut self.out);
            if let Some(at) = mx.filter(|at| at.value.is_written_empty()) {
                self.out.mistake(&at.place, "without patterns nothing ever belongs to it", hint);
            }
            providers.push(Provider {
                name: ProviderName::new(&entry.name),
                mx: raw.mx.values(),
                binding_limits: self.limits(&section(&raw.binding)),
                warmup: self.provider_ladder(raw, ladders),
                region: self.region(&raw.region),
                back_off: raw.back_off.value().map(|raw| self.back_off(raw)),
                tls: raw.tls.value().copied(),
            });
        }
        providers
    }

    fn provider_ladder(&mut self, raw: &raw::Provider, ladders: &Ladders) -> Option<Arc<[u64]>> {
        let at = raw.warmup.given()?;
        self.ladders.refer(&at.value, &at.place, &mut self.out);
        ladders.get(&at.value).cloned()
    }

    pub(super) fn regions(&mut self, file: &raw::File) -> Vec<Region> {
        let mut regions = Vec::new();
        for (entry, raw) in self.named(&file.region) {
            if let Some(at) = raw.recipient_domain.given().filter(|at| at.value.is_written_empty()) {
                let hint = "leave it out where only tenants and providers choose the region";
                self.out.mistake(&at.place, "without patterns nobody ever belongs to it", hint);
            }
            regions.push(Region { name: entry.name.clone(), recipient_domain: raw.recipient_domain.values() });
        }
        regions
    }

    /// A region that some binding is in, or that has a section of its own.
    pub(super) fn region(&mut self, field: &Field<String>) -> Option<String> {
        let at = field.given()?;
        self.regions.refer(&at.value, &at.place, &mut self.out);
        Some(at.value.clone())
    }

    pub(super) fn destination_routes(&mut self, file: &raw::File, default_port: u16) -> Vec<DestinationRoute> {
        let mut routes: Vec<DestinationRoute> = Vec::new();
        let mut places: Vec<&Place> = Vec::new();
        for At { value: raw, place } in file.destination_route.items() {
            let hint = "write domain = \"example.com\", \"*.example.com\" or \"*\"";
            let domain = raw.domain.required(place, "domain", hint, &mut self.out);
            let hint = "write hosts = [\"smarthost.example.net:25\"]";
            raw.hosts.required(place, "hosts", hint, &mut self.out);
            if let Some(at) = raw.hosts.given().filter(|at| at.value.is_written_empty()) {
                self.out.mistake(&at.place, "a route needs at least one host", hint);
            }
            if let Some(at) = raw.provider.given() {
                self.providers.refer(&at.value, &at.place, &mut self.out);
            }
            let Some(domain) = domain else { continue };
            if let Some(covering) = routes.iter().position(|route| covers(&route.domain, &domain.value)) {
                let what = format!("never reached: the route at {} matches first", self.lines.name(places[covering]));
                self.out.warning(&domain.place, what, "put the narrower one first");
            }
            let hosts = raw
                .hosts
                .items()
                .iter()
                .map(|at| HostPort { host: at.value.host.clone(), port: at.value.port.unwrap_or(default_port) });
            places.push(place);
            routes.push(DestinationRoute {
                domain: domain.value.clone(),
                hosts: hosts.collect(),
                provider: raw.provider.value().map(ProviderName::new),
                tls: raw.tls.value().copied(),
            });
        }
        routes
    }
}

/// Whether everything that `narrow` matches is matched by `wide`.
fn covers(wide: &DomainPattern, narrow: &DomainPattern) -> bool {
    match narrow {
        DomainPattern::Exact(domain) => wide.matches(domain.as_str()),
        DomainPattern::Below(domain) => {
            *wide == DomainPattern::Any
                || wide == narrow
                || (matches!(wide, DomainPattern::Below(_)) && wide.matches(domain.as_str()))
        }
        DomainPattern::Any => *wide == DomainPattern::Any,
    }
}
