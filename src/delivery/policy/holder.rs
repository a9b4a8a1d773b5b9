//! (shell) Keeps what is known of receivers' policies and answers for whoever connects ([`Demands`]).
//!
//! For a domain one task at a time looks at its record and fetches its policy (`look`); mail to the domain waits for it a few
//! seconds where nothing is known yet, and goes by what is known where something is. Policies of MTA-STS are facts (`sts/DOMAIN`) and survive
//! restarts; answers for DANE live in the cache of the [`Validator`]. What came of each session is counted for the receiver's
//! report ([`Tlsrpt`]). A route that the operator wrote has no receiver's policy: nobody is asked.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::fetch::Fetcher;
use super::look::{Looks, Place};
use super::ruling::{self, Policy, Ruling};
use super::shown::{HostShown, PolicyShown, StsShown};
use super::sts::{Cell, Kept};
use super::tlsa::{self, Dane, Named};
use super::validator::Validator;
use crate::clock::{Clock, Wall};
use crate::config::{Config, Host, HostPort};
use crate::delivery::mx::{Resolver, ResolverError};
use crate::delivery::plan::host_text;
use crate::delivery::tls::policy::{Asked, Concluded, Demanding, Demands, asks_receiver, settle};
use crate::message::Domain;
use crate::store::{Batch, Op};
use crate::telemetry::tlsrpt::{Seen, Tlsrpt};

/// Kind of the facts of policies.
pub const FACTS: &str = "sts/";
/// Domains something is known of.
const CELLS_MAX: usize = 20_000;
/// Rulings remembered for what came of them.
const RULINGS_MAX: usize = 20_000;
/// Between two rounds of keeping fresh, and policies of one round at most.
const ROUND: Duration = Duration::from_secs(15 * 60);
const ROUND_MAX: usize = 500;
/// Of them at the same time: mail finds places as well.
const AT_ONCE: usize = 8;

/// Knows receivers' policies.
pub struct Policies {
    looks: Arc<Looks>,
    setup: RwLock<Arc<Setup>>,
    cells: Mutex<HashMap<Domain, Arc<Place>>>,
    rulings: Mutex<HashMap<(Domain, String), Arc<Ruling>>>,
}

impl fmt::Debug for Policies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policies").field("domains", &self.cells.lock().len()).finish_non_exhaustive()
    }
}

/// What a configuration asks for.
#[derive(Debug)]
pub struct Setup {
    sts: Option<Fetcher>,
    dane: Option<Validator>,
}

impl Policies {
    /// Knows nothing yet.
    ///
    /// # Errors
    /// See [`Policies::prepare`].
    pub fn new(
        config: &Config,
        resolver: Arc<Resolver>,
        clock: Arc<dyn Clock>,
        reports: Arc<Tlsrpt>,
    ) -> Result<Self, ResolverError> {
        let setup = RwLock::new(Arc::new(Self::set_up(config, &resolver)?));
        let looks = Arc::new(Looks::new(resolver, clock, reports));
        Ok(Self { looks, setup, cells: Mutex::default(), rulings: Mutex::default() })
    }

    fn set_up(config: &Config, resolver: &Arc<Resolver>) -> Result<Setup, ResolverError> {
        let delivery = &config.delivery;
        Ok(Setup {
            sts: delivery.mta_sts.then(|| Fetcher::new(resolver, delivery)),
            dane: delivery.dane.then(|| Validator::new(&config.dns)).transpose()?,
        })
    }

    /// Does for a changed configuration what can fail, and touches nothing.
    ///
    /// # Errors
    /// The file of `dns.trust_anchor` cannot be used, or no resolver can be set up.
    pub fn prepare(&self, config: &Config) -> Result<Setup, ResolverError> {
        Self::set_up(config, &self.looks.resolver)
    }

    /// Puts in force what was prepared. What is known of domains stays.
    pub fn reconfigure(&self, setup: Setup) {
        *self.setup.write() = Arc::new(setup);
        self.rulings.lock().clear();
    }

    /// Counts for receivers' reports.
    pub fn reports(&self) -> &Arc<Tlsrpt> {
        &self.looks.reports
    }

    /// Takes over the facts of an earlier run; what cannot be read, in words.
    pub fn recall(&self, facts: &[(String, Vec<u8>)]) -> Vec<String> {
        let now = self.now();
        let (mut wrong, mut cells) = (Vec::new(), self.cells.lock());
        for (key, value) in facts {
            let domain = key.strip_prefix(FACTS).and_then(|name| name.parse::<Domain>().ok());
            match (domain, serde_json::from_slice::<Kept>(value)) {
                (Some(domain), Ok(kept)) if kept.holds(now) && cells.len() < CELLS_MAX => {
                    cells.insert(domain, Arc::new(Place::of(Cell::recalled(kept))));
                }
                (Some(domain), Ok(_)) => drop(self.looks.changed.lock().insert(domain)),
                (Some(domain), Err(error)) => {
                    wrong.push(format!("{key}: {error}"));
                    self.looks.changed.lock().insert(domain);
                }
                (None, _) => wrong.push(format!("{key}: no domain")),
            }
        }
        wrong
    }

    /// Changes that are not on disk yet; they count as written now.
    pub fn changes(&self) -> Batch {
        let changed = std::mem::take(&mut *self.looks.changed.lock());
        let (now, cells) = (self.now(), self.cells.lock());
        let op = |domain: Domain| {
            let kept = cells.get(&domain).and_then(|place| place.cell.lock().in_force(now).cloned());
            let json = kept.and_then(|kept| serde_json::to_vec(&kept).ok());
            let key = format!("{FACTS}{domain}");
            json.map_or_else(|| Op::RemoveFact(key.clone()), |json| Op::PutFact(key.clone(), json))
        };
        changed.into_iter().map(op).collect()
    }

    /// They are not: `changes` gives them again.
    pub fn not_written(&self, batch: &Batch) {
        let key = |op: &Op| match op {
            Op::PutFact(key, _) | Op::RemoveFact(key) => key.strip_prefix(FACTS)?.parse().ok(),
            _ => None,
        };
        self.looks.changed.lock().extend(batch.iter().filter_map(key));
    }

    /// Keeps policies fresh that mail goes by, until `stopped` turns true.
    pub async fn tend(self: Arc<Self>, mut stopped: watch::Receiver<bool>) {
        // An error of the channel means that its sender is gone, which is a stop as well.
        while tokio::time::timeout(ROUND, stopped.wait_for(|stop| *stop)).await.is_err() {
            self.freshen().await;
        }
    }

    /// One round of it.
    pub async fn freshen(&self) {
        let Some(fetcher) = self.setup.read().sts.clone() else { return };
        let now = self.now();
        let stale: Vec<(Domain, Arc<Place>)> = {
            let cells = self.cells.lock();
            let stale = cells.iter().filter(|(_, place)| place.cell.lock().is_stale(now));
            stale.take(ROUND_MAX).map(|(domain, place)| (domain.clone(), Arc::clone(place))).collect()
        };
        for some in stale.chunks(AT_ONCE) {
            let under_way: Vec<_> =
                some.iter().filter_map(|(domain, place)| self.looks.begin(domain, place, &fetcher)).collect();
            for look in under_way {
                // One that panicked is one that failed.
                let _ = look.await;
            }
        }
    }

    /// What holds for a host of a domain, looked up where it is not known.
    pub async fn ruling(&self, domain: &Domain, host: &HostPort) -> Ruling {
        let setup = Arc::clone(&self.setup.read());
        // An address literal has no zone that could say anything.
        let Host::Name(name) = &host.host else { return ruling::rule(&host_text(&host.host), &Dane::None, None) };
        if domain.as_str().starts_with('[') {
            return ruling::rule(name.as_str(), &Dane::None, None);
        }
        let looked = tokio::join!(self.sts(domain, &setup), self.dane(domain, name, host.port, &setup));
        let (sts, (dane, is_proven)) = looked;
        let ruling = ruling::rule(name.as_str(), &dane, sts.as_ref());
        Ruling { is_named: ruling.is_named || is_proven, ..ruling }
    }

    async fn sts(&self, domain: &Domain, setup: &Setup) -> Option<Arc<Kept>> {
        let fetcher = setup.sts.as_ref()?;
        let place = self.place(domain);
        let now = self.now();
        let (is_due, is_known) = {
            let mut cell = place.cell.lock();
            cell.used(now);
            (cell.is_due(now), cell.in_force(now).is_some())
        };
        if is_due {
            self.looks.begin(domain, &place, fetcher);
        }
        if !is_known {
            self.looks.wait_for(&place).await;
        }
        let cell = place.cell.lock();
        cell.in_force(self.now()).cloned().map(Arc::new)
    }

    /// What DANE says of a host, and whether it is proven that the domain names it.
    async fn dane(&self, domain: &Domain, host: &Domain, port: u16, setup: &Setup) -> (Dane, bool) {
        let Some(validator) = &setup.dane else { return (Dane::None, false) };
        match tlsa::named(domain, host.as_str(), &validator.mx(domain).await) {
            Named::Proven => (Self::records(validator, domain, host, port).await, true),
            Named::NotProven => (Dane::None, false),
            Named::Refused(why) => (Dane::Failed(why), false),
        }
    }

    async fn records(validator: &Validator, domain: &Domain, host: &Domain, port: u16) -> Dane {
        let bases = match tlsa::bases(host.as_str(), &validator.addressed(host.as_str()).await) {
            Ok(bases) => bases,
            Err(why) => return Dane::Failed(why),
        };
        for base in bases {
            if let Some(dane) = tlsa::dane(domain, host.as_str(), &base, &validator.tlsa(&base, port).await) {
                return dane;
            }
        }
        Dane::None
    }

    fn place(&self, domain: &Domain) -> Arc<Place> {
        let mut cells = self.cells.lock();
        if let Some(place) = cells.get(domain) {
            return Arc::clone(place);
        }
        if cells.len() >= CELLS_MAX {
            self.make_room(&mut cells);
        }
        Arc::clone(cells.entry(domain.clone()).or_default())
    }

    /// An eighth goes: what says nothing first, then what was used longest ago.
    fn make_room(&self, cells: &mut HashMap<Domain, Arc<Place>>) {
        let now = self.now();
        let rank = |place: &Place| {
            let cell = place.cell.lock();
            (!cell.is_empty(now), cell.last_used())
        };
        let mut all: Vec<_> = cells.iter().map(|(domain, place)| (rank(place), domain.clone())).collect();
        all.sort();
        for ((is_policy, _), domain) in all.into_iter().take(CELLS_MAX / 8) {
            cells.remove(&domain);
            if is_policy {
                self.looks.changed.lock().insert(domain);
            }
        }
    }

    fn remember(&self, asked: &Asked<'_>, ruling: &Arc<Ruling>) {
        let key = (asked.domain.clone(), host_text(&asked.host.host));
        let mut rulings = self.rulings.lock();
        if matches!(ruling.policy, Policy::None) {
            rulings.remove(&key);
            return;
        }
        if rulings.len() >= RULINGS_MAX {
            rulings.clear();
        }
        rulings.insert(key, Arc::clone(ruling));
    }

    /// What holds for a domain and its hosts, for people.
    pub async fn shown(&self, domain: &Domain) -> PolicyShown {
        let setup = Arc::clone(&self.setup.read());
        let planned = self.looks.resolver.plan(domain).await;
        let pinned = planned.as_ref().is_ok_and(|plan| plan.pinned);
        let sts = if pinned { None } else { self.sts(domain, &setup).await };
        let failure = self.cells.lock().get(domain).and_then(|place| place.cell.lock().failure().cloned());
        let mut hosts = Vec::new();
        for host in planned.iter().flat_map(|plan| plan.hosts.iter().flatten()).take(16) {
            let ruling = if pinned { ruling::rule("", &Dane::None, None) } else { self.ruling(domain, host).await };
            hosts.push(HostShown::of(host_text(&host.host), &ruling));
        }
        PolicyShown {
            domain: domain.to_string(),
            is_pinned: pinned,
            mta_sts: setup.sts.is_some(),
            dane: setup.dane.is_some(),
            sts: sts.as_deref().map(StsShown::from),
            sts_failure: failure.map(|why| format!("{}: {}", why.result.as_str(), why.detail)),
            hosts,
        }
    }

    /// Policies known now, by kind and mode: of MTA-STS by domain (`unfetched` where the last fetch failed and none holds), of
    /// DANE by host, as it was when mail went there last.
    pub fn counts(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        let now = self.now();
        let mut counts = BTreeMap::new();
        let mut count = |kind, mode| *counts.entry((kind, mode)).or_default() += 1;
        for place in self.cells.lock().values() {
            let cell = place.cell.lock();
            match cell.in_force(now) {
                Some(kept) => count("sts", kept.policy.mode.as_str()),
                None if cell.failure().is_some() => count("sts", "unfetched"),
                None => {}
            }
        }
        for ruling in self.rulings.lock().values() {
            if let Policy::Tlsa { .. } = ruling.policy {
                count("tlsa", ruling.as_str());
            }
        }
        counts
    }

    fn now(&self) -> Wall {
        self.looks.now()
    }
}

impl Demands for Policies {
    fn demand<'a>(&'a self, asked: Asked<'a>) -> Demanding<'a> {
        if asked.pinned || !asks_receiver(&asked) {
            return Box::pin(std::future::ready(settle(&asked, None, false)));
        }
        Box::pin(async move {
            let ruling = Arc::new(self.ruling(asked.domain, asked.host).await);
            self.remember(&asked, &ruling);
            match &ruling.demand {
                Ok(receiver) => settle(&asked, receiver.clone(), ruling.is_named),
                Err(excluded) => Err(excluded.clone()),
            }
        })
    }

    fn concluded(&self, seen: &Concluded<'_>) {
        if seen.asked.pinned || !asks_receiver(&seen.asked) {
            return;
        }
        let host = host_text(&seen.asked.host.host);
        let ruling = self.rulings.lock().get(&(seen.asked.domain.clone(), host.clone())).cloned();
        let Some(ruling) = ruling else { return };
        let Some(failure) = ruling::counted(&ruling, seen.outcome) else { return };
        let seen = Seen {
            domain: seen.asked.domain,
            policy: &ruling.policy,
            host: Some(&host),
            local: seen.local.map(|address| address.ip()),
            remote: seen.remote.map(|address| address.ip()),
            failure: failure.as_ref(),
        };
        self.looks.reports.count(&seen, self.now());
    }
}
