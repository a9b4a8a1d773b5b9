//! Configurations, clocks and calls for the tests of this module, so that a test shows only what it is about.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::{BindingId, CoverId, DestinationId, Families, GrantRequest, Lease, Request, Scheduler, Selection, Verdict};
use crate::clock::{Mono, Now, Wall};
use crate::config::*;
use crate::message::{BindingName, DestinationName, ProviderName};
use crate::reputation::{Health, Reason, Subject};

pub(super) fn rate(count: u32, seconds: u64) -> Rate {
    Rate { count: NonZeroU32::new(count).expect("not zero"), per: Duration::from_secs(seconds) }
}

/// A configuration with one tenant, `acme`, in UTC.
pub(super) struct TestConfig(Config);

impl Default for TestConfig {
    fn default() -> Self {
        let mut config = Config::bare("relay.example.net".parse().expect("domain"));
        config.tenants.push(Tenant::new("acme"));
        // Most tests want all connections at once; those of the window say so.
        config.window.adaptive = false;
        Self(config)
    }
}

impl TestConfig {
    pub(super) fn binding(mut self, name: &str, change: impl FnOnce(&mut Binding)) -> Self {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let mut binding = Binding::new(name, address);
        change(&mut binding);
        self.0.bindings.push(Arc::new(binding));
        self
    }

    pub(super) fn v6(self, name: &str) -> Self {
        self.binding(name, |binding| binding.bind_address = IpAddr::V6(Ipv6Addr::LOCALHOST))
    }

    pub(super) fn provider(mut self, name: &str, change: impl FnOnce(&mut Limits)) -> Self {
        let mut binding_limits = Limits::default();
        change(&mut binding_limits);
        self.0.providers.push(Provider { binding_limits, ..Provider::new(name, Vec::new()) });
        self
    }

    /// A pool of tiers of (binding, weight).
    pub(super) fn pool(mut self, name: &str, tiers: &[&[(&str, u32)]], change: impl FnOnce(&mut Pool)) -> Self {
        let member = |&(binding, weight): &(&str, u32)| Member { binding: binding.into(), weight };
        let mut pool = Pool::new(name, tiers.iter().map(|tier| tier.iter().map(member).collect()).collect());
        change(&mut pool);
        self.0.pools.push(pool);
        self
    }

    pub(super) fn tenant(mut self, change: impl FnOnce(&mut Tenant)) -> Self {
        change(&mut self.0.tenants[0]);
        self
    }

    pub(super) fn back_off(mut self, provider: &str, recipe: BackOff) -> Self {
        let provider = self.0.providers.iter_mut().find(|known| known.name.as_str() == provider);
        provider.expect("a known provider").back_off = Some(recipe);
        self
    }

    pub(super) fn window(mut self, change: impl FnOnce(&mut Window)) -> Self {
        change(&mut self.0.window);
        self
    }

    pub(super) fn build(self) -> Config {
        self.0
    }

    pub(super) fn start(self) -> Bench {
        Bench::new(&self.0, &[])
    }
}

/// Half past twelve on an ordinary day.
pub(super) const NOON: i64 = 1_779_280_200_000;

/// A scheduler under a clock turned by hand, whose grants are durable at once unless held back.
pub(super) struct Bench {
    pub(super) scheduler: Scheduler,
    pub(super) now: Now,
    pub(super) hold_grants: bool,
}

impl Bench {
    pub(super) fn new(config: &Config, grants: &[GrantRequest]) -> Self {
        let now = Now { mono: Mono::from_nanos(1_000_000_000), wall: Wall::from_millis(NOON) };
        Self { scheduler: Scheduler::new(config, grants, 7, now), now, hold_grants: false }
    }

    pub(super) fn advance(&mut self, span: Duration) {
        self.now.mono = Mono::from_nanos(self.now.mono.as_nanos() + span.as_nanos() as u64);
        self.now.wall = self.now.wall.plus(span);
    }

    pub(super) fn later(&self, seconds: u64) -> Wall {
        self.now.wall.plus(Duration::from_secs(seconds))
    }

    pub(super) fn id(&self, binding: &str) -> BindingId {
        self.scheduler.binding_id(&binding.into()).expect("known binding")
    }

    pub(super) fn destination(&mut self, name: &str) -> DestinationId {
        let provider = ProviderName::new(name);
        self.scheduler.destination(&DestinationName::new(name), Some(&provider))
    }

    /// One recipient from `acme` through pool `p`.
    pub(super) fn request(&mut self, destination: &str) -> Request<'static> {
        Request {
            pool: self.scheduler.pool_id(&"p".into()).expect("pool p"),
            destination: self.destination(destination),
            tenant: self.scheduler.tenant_id(&"acme".into()).expect("tenant acme"),
            recipients: 1,
            families: Families { v4: true, v6: true },
            sticky: None,
            excluded: &[],
            engaged: false,
            region: None,
            cover: CoverId::NONE,
        }
    }

    /// Selects; where that waits only for grants, writes them and selects again.
    pub(super) fn ask(&mut self, request: &Request<'_>) -> Selection {
        for _ in 0..100 {
            let selection = self.scheduler.select(request, self.now);
            let requests = if self.hold_grants { Vec::new() } else { self.scheduler.take_grant_requests() };
            for request in &requests {
                self.scheduler.grant_durable(request, self.now);
            }
            match selection {
                Selection::Later { .. } if !requests.is_empty() => {}
                selection => return selection,
            }
        }
        panic!("asks for grants for ever");
    }

    pub(super) fn lease(&mut self, request: &Request<'_>) -> Lease {
        match self.ask(request) {
            Selection::Assigned(lease) => lease,
            other => panic!("no lease: {other:?}"),
        }
    }

    /// Leases until it is refused, and for how many recipients they are together.
    pub(super) fn all_leases(&mut self, request: &Request<'_>) -> (Vec<Lease>, u32) {
        let mut leases = Vec::new();
        while let Selection::Assigned(lease) = self.ask(request) {
            leases.push(lease);
            assert!(leases.len() < 10_000, "never refused");
        }
        let recipients = leases.iter().map(|lease| lease.recipients).sum();
        (leases, recipients)
    }

    /// Starts a day or moves on, and makes what is asked for durable, as the queue does before it selects.
    pub(super) fn settle_grants(&mut self) -> usize {
        self.scheduler.tick(self.now);
        let requests = self.scheduler.take_grant_requests();
        for request in &requests {
            self.scheduler.grant_durable(request, self.now);
        }
        requests.len()
    }

    /// Name of the binding that gets it.
    pub(super) fn pick(&mut self, request: &Request<'_>) -> String {
        let lease = self.lease(request);
        self.scheduler.binding_name(lease.binding).to_string()
    }

    pub(super) fn refusal(&mut self, request: &Request<'_>) -> (Wall, Vec<Verdict>) {
        match self.ask(request) {
            Selection::Later { until, verdicts, .. } => {
                (until, verdicts.into_iter().map(|(_, verdict)| verdict).collect())
            }
            other => panic!("not put off: {other:?}"),
        }
    }

    pub(super) fn explain(&self, request: &Request<'_>) -> Vec<&'static str> {
        self.scheduler.explain(request, self.now).iter().map(|(_, verdict)| verdict.as_str()).collect()
    }

    pub(super) fn set(&mut self, binding: &str, health: Health) {
        let subject = Subject::Binding(BindingName::new(binding));
        self.scheduler.set_health(&subject, &health, self.now);
    }

    pub(super) fn set_route(&mut self, binding: &str, destination: &str, health: Health) {
        let subject = Subject::Route(BindingName::new(binding), DestinationName::new(destination));
        self.scheduler.set_health(&subject, &health, self.now);
    }

    pub(super) fn suspended(&self, seconds: u64) -> Health {
        Health::Suspended { until: self.later(seconds), reason: Reason::IpBlocked }
    }

    pub(super) fn probation(&self, allowance: u32, seconds: u64) -> Health {
        Health::Probation { allowance, until: self.later(seconds), reason: Reason::IpBlocked }
    }
}
