//! What a configuration makes of the monitor: whom it watches, which lists it asks, and through what.
//!
//! Nothing in it changes; with another configuration there is another one ([`follow`](super::follow)). A look holds on to the
//! one by which it asked, so that what it brings home is not taken for an answer about somebody else.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::config::{self, Addresses, Config, EhloName, ZoneKind};
use crate::message::BindingName;
use crate::monitor::dns::{Asker, Liars, SetupError};
use crate::monitor::dnsbl::{Dnsbl, Shared};
use crate::monitor::subject::{Subject, domains, of_binding};
use crate::monitor::watch::Watch;
use tokio::sync::Semaphore;

/// A binding.
pub(super) struct Target {
    pub(super) binding: BindingName,
    /// Its public addresses.
    pub(super) publics: Addresses,
    /// `None`: it greets with the sender's domain.
    pub(super) ehlo: Option<String>,
}

/// See the module.
pub(super) struct Setup {
    pub(super) config: Arc<Config>,
    pub(super) targets: Vec<Target>,
    /// By number, as in the configuration.
    pub(super) zones: Vec<Arc<Dnsbl>>,
    pub(super) reverse: Option<Arc<Asker>>,
}

/// What all setups of a monitor share.
pub(super) struct Common {
    pub(super) clock: Arc<dyn Clock>,
    /// Places for questions.
    pub(super) gate: Arc<Semaphore>,
    pub(super) liars: Liars,
}

impl Setup {
    /// Sets up a resolver per zone and one for reverse DNS, and reads the keys of keyed zones; what is in `before` and would
    /// be no different is taken from there. Asks nothing.
    pub(super) fn new(config: &Config, common: &Common, before: Option<&Self>) -> Result<Self, SetupError> {
        let rules = &config.monitor;
        let servers = if rules.servers.is_empty() { &config.dns.servers } else { &rules.servers };
        let shared = Shared {
            servers,
            second: &rules.second_servers,
            timeout: rules.timeout,
            gate: Arc::clone(&common.gate),
            clock: Arc::clone(&common.clock),
            liars: common.liars.clone(),
        };
        let targets = targets(config);
        let zones: Result<Vec<_>, SetupError> =
            rules.zones.iter().map(|zone| list(config, zone, &shared, &targets, before)).collect();
        let reverse = rules.fcrdns.then(|| reverse(servers, rules.timeout, common, before)).transpose()?;
        Ok(Self { config: Arc::new(config.clone()), zones: zones?, targets, reverse })
    }

    /// The list of this name.
    pub(super) fn zone(&self, name: &crate::message::ZoneName) -> Option<(usize, &Arc<Dnsbl>)> {
        let number = self.config.monitor.zones.iter().position(|zone| zone.name == *name)?;
        self.zones.get(number).map(|zone| (number, zone))
    }

    /// The number of this very list.
    pub(super) fn number_of(&self, list: &Arc<Dnsbl>) -> Option<usize> {
        self.zones.iter().position(|zone| Arc::ptr_eq(zone, list))
    }

    /// The binding of this name.
    pub(super) fn target(&self, binding: &BindingName) -> Option<&Target> {
        self.targets.iter().find(|target| target.binding == *binding)
    }

    /// Whether what is said of the subject by one of them is said of the same by the other.
    pub(super) fn means_same(&self, other: &Self, subject: &Subject) -> bool {
        subject.binding().is_none()
            || self.address(subject).is_some() && self.address(subject) == other.address(subject)
    }

    /// The public addresses of a binding.
    pub(super) fn publics(&self, binding: &BindingName) -> Option<Addresses> {
        self.target(binding).map(|target| target.publics.to_canonical())
    }

    /// The address that is asked about.
    pub(super) fn address(&self, subject: &Subject) -> Option<IpAddr> {
        let own = of_binding(subject.binding()?, self.target(subject.binding()?)?.publics);
        own.into_iter().find(|(known, _)| known == subject).map(|(_, address)| address.to_canonical())
    }

    /// Public addresses by binding: the first before the second.
    pub(super) fn addresses(&self) -> Vec<(BindingName, IpAddr)> {
        let of = |target: &Target| {
            target.publics.iter().map(|address| (target.binding.clone(), address)).collect::<Vec<_>>()
        };
        self.targets.iter().flat_map(of).collect()
    }

    /// What a round of the zone asks about, sentinels included.
    pub(super) fn subjects_of_a_round(&self, watch: &Watch, zone: usize) -> usize {
        let rules = &self.config.monitor;
        let guards = match rules.zones.get(zone).map(|zone| zone.kind) {
            Some(ZoneKind::Address) => rules.sentinels.len(),
            _ => 0,
        };
        watch.subjects(zone).len() + guards
    }

    /// The time between two rounds of the zone.
    pub(super) fn round_every(&self, watch: &Watch, zone: usize) -> Duration {
        let rules = &self.config.monitor;
        let subjects = self.subjects_of_a_round(watch, zone);
        rules.zones.get(zone).map_or(rules.interval, |zone| zone.round_every(subjects))
    }
}

fn list(
    config: &Config,
    zone: &config::Zone,
    shared: &Shared<'_>,
    targets: &[Target],
    before: Option<&Setup>,
) -> Result<Arc<Dnsbl>, SetupError> {
    let rules = &config.monitor;
    // How many there are in truth the caller says when it knows; this is for the bucket of a list that is new.
    let subjects = match zone.kind {
        ZoneKind::Address => {
            let addresses = targets.iter().flat_map(|target| target.publics.to_canonical().iter());
            addresses.filter(|address| zone.families.hold(*address)).count() + rules.sentinels.len()
        }
        ZoneKind::Domain => domains(config, []).len(),
    };
    let new = Dnsbl::new(zone, shared, subjects)?.watched(rules.zones.len(), rules.confirm_after);
    Ok(match before.and_then(|before| before.zone(&zone.name)) {
        Some((_, old)) if new.is_as(old) => Arc::clone(old),
        Some((_, old)) => Arc::new(new.after(old)),
        None => Arc::new(new),
    })
}

fn reverse(
    servers: &[SocketAddr],
    timeout: Duration,
    common: &Common,
    before: Option<&Setup>,
) -> Result<Arc<Asker>, SetupError> {
    let new = Asker::new("reverse DNS", servers, timeout, &common.clock)?.heeding(&common.liars);
    let old = before.filter(|before| before.config.monitor.timeout == timeout).and_then(|b| b.reverse.as_ref());
    let same = old.filter(|old| old.servers().eq(new.servers()));
    Ok(same.map_or_else(|| Arc::new(new), Arc::clone))
}

fn targets(config: &Config) -> Vec<Target> {
    let target = |binding: &Arc<config::Binding>| Target {
        binding: binding.name.clone(),
        publics: binding.publics(),
        ehlo: match &binding.ehlo_hostname {
            EhloName::Literal(name) => Some(name.as_str().to_owned()),
            EhloName::Hostname => Some(config.server.hostname.as_str().to_owned()),
            EhloName::Message => None,
        },
    };
    config.bindings.iter().map(target).collect()
}
