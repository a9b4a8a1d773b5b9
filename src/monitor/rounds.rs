//! The task that looks, again and again: all bindings in all zones, and their reverse DNS.
//!
//! A round at the start, then one every `interval` ± `jitter`; what a round newly saw is asked again after
//! `confirm_after` until it is confirmed or gone. [`Monitor::check_now`] asks at once about one binding, for when a
//! reply names a list — at most once per `confirm_after` and binding, so that a flood of such replies does not become a
//! flood of questions. Never on scrape: metrics read [`Monitor::snapshot`], which is what the last round left.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use crate::clock::{Clock, Wall};
use crate::config::{Config, EhloName, Ipv6Names};
use crate::message::BindingName;
use crate::reputation::Evidence;
use crate::reputation::evidence::Listing;

use super::dns::Asker;
pub use super::dns::SetupError;
use super::dnsbl::Dnsbl;
use super::fcrdns;
use super::identity::names::{self, Checked, Grade, Observed};
use super::reverse::{ReverseState, Seen};
use super::watch::{Note, ReverseSnapshot, Snapshot, Watch};
use super::zone::ZoneHealth;

/// Where evidence goes.
pub type Sink = Arc<dyn Fn(Evidence) + Send + Sync>;

/// Where news of a binding's names goes: a check whose outcome is new.
pub type NamesSink = Arc<dyn Fn(&BindingName, &Checked) + Send + Sync>;

/// Addresses whose reverse DNS is checked at the same time.
const REVERSE_IN_FLIGHT: usize = 16;

struct Target {
    binding: BindingName,
    address: IpAddr,
    ehlo: Option<String>,
}

struct State {
    watch: Watch,
    reverse: BTreeMap<BindingName, ReverseState>,
    wanted: BTreeSet<BindingName>,
    served: BTreeMap<BindingName, Wall>,
    rounds: u64,
    last_round: Option<Wall>,
}

/// Watches the public addresses of all bindings.
pub struct Monitor {
    rules: crate::config::Monitor,
    targets: Vec<Target>,
    zones: Vec<Arc<Dnsbl>>,
    reverse: Option<Arc<Asker>>,
    clock: Arc<dyn Clock>,
    sink: Sink,
    state: Mutex<State>,
    snapshot: Arc<Mutex<Snapshot>>,
    wake: Notify,
    names: OnceLock<NamesSink>,
}

impl Monitor {
    /// Sets up a resolver per zone and one for reverse DNS. Asks nothing yet.
    pub fn new(config: &Config, clock: Arc<dyn Clock>, sink: Sink) -> Result<Self, SetupError> {
        let rules = config.monitor.clone();
        let servers = if rules.servers.is_empty() { &config.dns.servers } else { &rules.servers };
        let zones: Result<Vec<_>, _> =
            rules.zones.iter().map(|zone| Dnsbl::new(zone, servers, rules.timeout).map(Arc::new)).collect();
        let reverse = match rules.fcrdns {
            true => Some(Arc::new(Asker::new("reverse DNS", servers, rules.timeout)?)),
            false => None,
        };
        let targets: Vec<Target> = config
            .bindings
            .iter()
            .map(|binding| Target {
                binding: binding.name.clone(),
                address: binding.public_address,
                ehlo: match &binding.ehlo_hostname {
                    EhloName::Literal(name) => Some(name.as_str().to_owned()),
                    EhloName::Hostname => Some(config.server.hostname.as_str().to_owned()),
                    EhloName::Message => None,
                },
            })
            .collect();
        let names: Vec<BindingName> = targets.iter().map(|t| t.binding.clone()).collect();
        let state = State {
            watch: Watch::new(&rules, &names, clock.now().wall),
            reverse: names.iter().map(|name| (name.clone(), ReverseState::default())).collect(),
            wanted: BTreeSet::new(),
            served: BTreeMap::new(),
            rounds: 0,
            last_round: None,
        };
        let snapshot = Arc::new(Mutex::new(state.snapshot(rules.fcrdns)));
        let (state, wake) = (Mutex::new(state), Notify::new());
        Ok(Self { rules, targets, zones: zones?, reverse, clock, sink, state, snapshot, wake, names: OnceLock::new() })
    }

    /// Starts from listings that were confirmed before the restart
    /// ([`Reputation::listings`](crate::reputation::Reputation::listings)). Call it for each binding before the first
    /// round; otherwise the first zone that answers clears what another, silent one had found.
    pub fn restore(&self, binding: &BindingName, listed: &[Listing]) {
        let mut state = self.state.lock();
        state.watch.restore(binding, listed, self.clock.now().wall);
        *self.snapshot.lock() = state.snapshot(self.rules.fcrdns);
    }

    /// Who hears of checks of names whose outcome is new, besides the log. Set it once, before the first round.
    pub fn on_names(&self, sink: NamesSink) {
        // Whoever comes second hears nothing; there is one composition root.
        let _ = self.names.set(sink);
    }

    /// The resolver of [`Config::monitor`] is proven to lie, and why, or not any more. While it is, no zone counts that is
    /// asked through it, nothing is listed or cleared there, and no name is judged.
    pub fn distrust(&self, why: Option<&'static str>) {
        let mut state = self.state.lock();
        state.watch.distrust(why);
        *self.snapshot.lock() = state.snapshot(self.rules.fcrdns);
    }

    /// What is known now; costs a copy.
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot.lock().clone()
    }

    /// Asks all zones about `binding` soon, outside the rounds.
    pub fn check_now(&self, binding: &BindingName) {
        let now = self.clock.now().wall;
        let mut state = self.state.lock();
        let recently = state.served.get(binding).is_some_and(|&at| now.since(at) < self.rules.confirm_after);
        if !recently && self.targets.iter().any(|t| t.binding == *binding) {
            state.served.insert(binding.clone(), now);
            state.wanted.insert(binding.clone());
            self.wake.notify_one();
        }
    }

    /// Looks until `shutdown` is ready. What is in flight then is dropped: it decided nothing yet.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) {
        tokio::select! {
            () = self.look() => {}
            () = shutdown => {}
        }
    }

    async fn look(&self) {
        loop {
            self.round().await;
            let mut left = self.pause();
            while !left.is_zero() {
                let begun = tokio::time::Instant::now();
                let waiting = self.has_pending();
                let nap = if waiting { left.min(self.rules.confirm_after) } else { left };
                tokio::select! {
                    () = tokio::time::sleep(nap) => {}
                    () = self.wake.notified() => self.wanted().await,
                }
                let slept = begun.elapsed();
                if waiting && slept >= self.rules.confirm_after {
                    self.confirm().await;
                }
                // At least a moment passes, whatever the configuration says.
                left = left.saturating_sub(begun.elapsed().max(Duration::from_millis(1)));
            }
        }
    }

    /// One whole round over all bindings and zones.
    pub async fn round(&self) {
        let all: Vec<&Target> = self.targets.iter().collect();
        let everywhere: Vec<(usize, Vec<&Target>)> = (0..self.zones.len()).map(|zone| (zone, all.clone())).collect();
        self.ask(everywhere, all).await;
        let now = self.clock.now().wall;
        let mut state = self.state.lock();
        state.rounds += 1;
        state.last_round = Some(now);
        *self.snapshot.lock() = state.snapshot(self.rules.fcrdns);
        debug!(round = state.rounds, bindings = self.targets.len(), zones = self.zones.len(), "monitor round done");
    }

    /// Asks again about what waits for its confirmation.
    pub async fn confirm(&self) {
        let (zones, reverse) = {
            let state = self.state.lock();
            let zones: Vec<(usize, Vec<BindingName>)> = state.watch.pending();
            let reverse: Vec<BindingName> =
                state.reverse.iter().filter(|(_, r)| r.is_pending()).map(|(name, _)| name.clone()).collect();
            (zones, reverse)
        };
        let zones = zones.into_iter().map(|(zone, names)| (zone, self.named(&names))).collect();
        self.ask(zones, self.named(&reverse)).await;
    }

    async fn wanted(&self) {
        let wanted: Vec<BindingName> = std::mem::take(&mut self.state.lock().wanted).into_iter().collect();
        let targets = self.named(&wanted);
        self.ask((0..self.zones.len()).map(|zone| (zone, targets.clone())).collect(), Vec::new()).await;
    }

    fn named(&self, names: &[BindingName]) -> Vec<&Target> {
        self.targets.iter().filter(|target| names.contains(&target.binding)).collect()
    }

    fn has_pending(&self) -> bool {
        let state = self.state.lock();
        !state.watch.pending().is_empty() || state.reverse.values().any(ReverseState::is_pending)
    }

    fn pause(&self) -> Duration {
        let jitter = self.rules.jitter.clamp(0.0, 1.0);
        let share = 1.0 + random().random_range(-jitter..=jitter);
        Duration::try_from_secs_f64(self.rules.interval.as_secs_f64() * share).unwrap_or(self.rules.interval)
    }

    /// Puts the questions, all zones at the same time, and concludes.
    async fn ask(&self, zones: Vec<(usize, Vec<&Target>)>, reverse: Vec<&Target>) {
        let mut rounds = JoinSet::new();
        for (index, targets) in zones {
            let Some(zone) = self.zones.get(index).map(Arc::clone) else { continue };
            let targets: Vec<(BindingName, IpAddr)> = targets.iter().map(|t| (t.binding.clone(), t.address)).collect();
            let random = random_label();
            rounds.spawn(async move { (index, zone.round(&targets, &random).await) });
        }
        let seen = self.ask_reverse(&reverse).await;
        let mut answered = Vec::new();
        while let Some(round) = rounds.join_next().await {
            // A zone whose task failed said nothing in this round.
            answered.extend(round.ok());
        }
        // In the order of the configuration, so that log and evidence do not depend on who answered first.
        answered.sort_by_key(|(index, _)| *index);

        let now = self.clock.now().wall;
        let news = {
            let mut state = self.state.lock();
            for (index, round) in &answered {
                state.watch.round(*index, &round.probes, &round.answers, now);
            }
            let mut news = state.watch.evidence(now);
            news.extend(self.conclude_reverse(&mut state, seen, now));
            state.watch.take_notes().iter().for_each(log);
            *self.snapshot.lock() = state.snapshot(self.rules.fcrdns);
            news
        };
        // Outside the lock: the sink may ask for a snapshot.
        news.into_iter().for_each(|evidence| (self.sink)(evidence));
    }

    async fn ask_reverse(&self, targets: &[&Target]) -> Vec<(BindingName, Observed)> {
        let Some(asker) = &self.reverse else { return Vec::new() };
        let mut seen = Vec::new();
        for chunk in targets.chunks(REVERSE_IN_FLIGHT) {
            let mut checks = JoinSet::new();
            for target in chunk {
                let (asker, binding, address) = (Arc::clone(asker), target.binding.clone(), target.address);
                let ehlo = target.ehlo.clone();
                checks.spawn(async move { (binding, fcrdns::check(&asker, address, ehlo.as_deref()).await) });
            }
            while let Some(check) = checks.join_next().await {
                seen.extend(check.ok());
            }
        }
        seen
    }

    fn conclude_reverse(&self, state: &mut State, seen: Vec<(BindingName, Observed)>, now: Wall) -> Vec<Evidence> {
        let mut news = Vec::new();
        let distrusted = state.watch.distrusted();
        for (binding, observed) in seen {
            let Some(target) = self.targets.iter().find(|t| t.binding == binding) else { continue };
            let ehlo = target.ehlo.as_deref();
            let reverse = state.reverse.entry(binding.clone()).or_default();
            let seen = match distrusted {
                Some(why) => Seen::Unknown(format!("the resolver is not to be believed: {why}")),
                None => observed.reverse(target.address),
            };
            let proof = self.proof(target, reverse.confirmed);
            let proven = reverse.seen(&seen, ehlo, proof, self.rules.confirm_after, now);
            if distrusted.is_none() {
                let told = reverse.names_seen(names::checks(target.address, ehlo, &observed));
                told.iter().for_each(|checked| self.tell_name(&binding, checked));
            }
            if let Some(confirmed) = proven {
                news.push(Evidence::ReverseDns { binding, confirmed, detail: reverse.detail.clone() });
            }
        }
        news.sort_by(|a, b| match (a, b) {
            (Evidence::ReverseDns { binding: a, .. }, Evidence::ReverseDns { binding: b, .. }) => a.cmp(b),
            _ => std::cmp::Ordering::Equal,
        });
        news
    }

    /// How many rounds prove reverse DNS broken: one where an IPv6 address must pass before its first use.
    fn proof(&self, target: &Target, known: Option<bool>) -> u32 {
        let must_pass_first = target.address.to_canonical().is_ipv6() && self.rules.ipv6_names == Ipv6Names::Require;
        if must_pass_first && known.is_none() { 1 } else { self.rules.confirmations }
    }

    fn tell_name(&self, binding: &BindingName, checked: &Checked) {
        let (check, detail) = (checked.check.as_str(), &checked.detail);
        if checked.grade == Grade::Good {
            info!(%binding, check, detail, "name of a binding is as it should be again");
        } else {
            warn!(%binding, check, detail, remedy = checked.check.remedy(), "name of a binding is not as it should be");
        }
        if let Some(sink) = self.names.get() {
            sink(binding, checked);
        }
    }
}

impl std::fmt::Debug for Monitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // By hand: the derived form would print the zones' DNS names.
        f.debug_struct("Monitor").field("zones", &self.zones.len()).field("bindings", &self.targets.len()).finish()
    }
}

impl State {
    fn snapshot(&self, fcrdns: bool) -> Snapshot {
        let reverse = self.reverse.iter().filter(|_| fcrdns).map(|(binding, reverse)| ReverseSnapshot {
            binding: binding.clone(),
            confirmed: reverse.confirmed,
            ehlo_agrees: reverse.ehlo_agrees,
            detail: reverse.detail.clone(),
            last_conclusive: reverse.last_conclusive,
            checks: reverse.checks.clone(),
        });
        let reverse = reverse.collect();
        Snapshot { reverse, rounds: self.rounds, last_round: self.last_round, ..self.watch.snapshot() }
    }
}

fn log(note: &Note) {
    match note {
        Note::Zone { zone, from, to: ZoneHealth::Healthy, .. } => {
            info!(%zone, from = from.as_str(), "DNSBL zone is healthy");
        }
        Note::Zone { zone, from, to, reason } => {
            warn!(%zone, from = from.as_str(), to = to.as_str(), reason, "DNSBL zone is not to be believed");
        }
        Note::UnknownCode { zone, code } => {
            warn!(%zone, %code, "DNSBL zone gave a return code that the configuration does not know");
        }
    }
}

/// A random source seeded by the system, through the keys that the standard library takes for its hash maps.
fn random() -> SmallRng {
    SmallRng::seed_from_u64(std::collections::hash_map::RandomState::new().hash_one(0u8))
}

/// A label that no list can hold.
pub(super) fn random_label() -> String {
    format!("remuda-{:016x}", random().random::<u64>())
}

#[cfg(test)]
mod tests {
    use super::super::responder::{Reply, Responder};
    use super::super::zone::tests::zone;
    use super::*;
    use crate::clock::ManualClock;
    use crate::reputation::fixtures;

    struct Bench {
        monitor: Monitor,
        clock: ManualClock,
        evidence: Arc<Mutex<Vec<Evidence>>>,
    }

    /// Two bindings at 192.0.2.1 and 192.0.2.2, zone `z` at `responder`.
    fn bench(responder: &Responder, fcrdns: bool) -> Bench {
        let mut config = fixtures::config(&["a", "b"], &[("p", &["a", "b"])]);
        config.monitor.zones = vec![zone("z")];
        config.monitor.servers = vec![responder.address];
        config.monitor.timeout = Duration::from_millis(300);
        config.monitor.fcrdns = fcrdns;
        let clock = ManualClock::at(Wall::from_millis(1_800_000_000_000));
        let evidence = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&evidence);
        let sink: Sink = Arc::new(move |e| seen.lock().push(e));
        let monitor = Monitor::new(&config, Arc::new(clock.clone()), sink).unwrap();
        Bench { monitor, clock, evidence }
    }

    impl Bench {
        fn later(&self) {
            self.clock.advance(Duration::from_secs(60));
        }

        fn zone_health(&self) -> &'static str {
            self.monitor.snapshot().zones[0].health
        }

        fn states(&self) -> Vec<i8> {
            self.monitor.snapshot().listings.iter().map(|l| l.state).collect()
        }

        /// Takes the evidence about `a`'s listings.
        fn listed_a(&self) -> Vec<Vec<String>> {
            let all = std::mem::take(&mut *self.evidence.lock());
            let of_a = all.into_iter().filter_map(|e| match e {
                Evidence::Listings { binding, listed, .. } if binding.as_str() == "a" => Some(listed),
                _ => None,
            });
            of_a.map(|listed| listed.iter().map(|l| format!("{} {} {}", l.zone, l.codes, l.weight)).collect()).collect()
        }
    }

    const TEST_ENTRY: &str = "2.0.0.127.z.example.";
    const A: &str = "1.2.0.192.z.example.";

    async fn healthy() -> Responder {
        let responder = Responder::start(Reply::NxDomain).await;
        responder.set(TEST_ENTRY, Reply::A(vec![[127, 0, 0, 2]]));
        responder
    }

    #[tokio::test]
    async fn a_listing_appears_is_confirmed_and_is_cleared_again() {
        let dns = healthy().await;
        let bench = bench(&dns, false);
        bench.monitor.round().await;
        assert_eq!((bench.zone_health(), bench.states()), ("healthy", vec![0, 0]));
        assert_eq!(bench.listed_a(), [Vec::<String>::new()]);

        dns.set(A, Reply::A(vec![[127, 0, 0, 4], [127, 0, 0, 2]]));
        bench.later();
        bench.monitor.round().await;
        assert!(bench.listed_a().is_empty(), "one answer is not a listing");
        bench.later();
        bench.monitor.confirm().await;
        assert_eq!(bench.listed_a(), [vec!["z 127.0.0.2 127.0.0.4 3".to_owned()]]);
        assert_eq!(bench.states(), [1, 0]);

        dns.set(A, Reply::NxDomain);
        for _ in 0..2 {
            bench.later();
            bench.monitor.round().await;
        }
        assert_eq!(bench.listed_a(), [Vec::<String>::new()]);
        assert_eq!(bench.monitor.snapshot().rounds, 4);
    }

    #[tokio::test]
    async fn a_list_that_cannot_be_believed_suspends_nobody_and_says_why() {
        let a = |octets| Reply::A(vec![octets]);
        // reply to everything, reply to the test entry, health of the zone
        let table = [
            (a([127, 255, 255, 254]), None, "blocked"),
            (a([127, 0, 0, 2]), None, "dead"),
            (a([91, 195, 240, 117]), None, "dead"),
            (Reply::NxDomain, None, "hollow"),
            (Reply::NoData, None, "hollow"),
            (Reply::ServFail, None, "unreachable"),
            (Reply::Refused, None, "unreachable"),
            (Reply::Silence, None, "unreachable"),
            (Reply::NoData, Some(a([127, 0, 0, 2])), "healthy"),
        ];
        for (everything, test_entry, expected) in table {
            let dns = Responder::start(everything.clone()).await;
            if let Some(reply) = test_entry {
                dns.set(TEST_ENTRY, reply);
            }
            let bench = bench(&dns, false);
            for _ in 0..2 {
                bench.monitor.round().await;
                bench.later();
            }
            assert_eq!(bench.zone_health(), expected, "{everything:?}");
            let suspicious = bench.listed_a().into_iter().any(|listed| !listed.is_empty());
            assert!(!suspicious, "{everything:?}");
            let known = if expected == "healthy" { 0 } else { -1 };
            assert_eq!(bench.states(), [known; 2], "{everything:?}");
        }
    }

    #[tokio::test]
    async fn an_error_about_one_address_leaves_it_unknown_and_the_others_judged() {
        for reply in [Reply::ServFail, Reply::Refused, Reply::Silence] {
            let dns = healthy().await;
            dns.set(A, reply.clone());
            let bench = bench(&dns, false);
            bench.monitor.round().await;
            assert_eq!((bench.zone_health(), bench.states()), ("healthy", vec![-1, 0]), "{reply:?}");
        }
    }

    #[tokio::test]
    async fn a_list_that_begins_to_list_the_world_takes_nobody_out() {
        let dns = healthy().await;
        let bench = bench(&dns, false);
        bench.monitor.round().await;
        bench.listed_a();
        dns.set_default(Reply::A(vec![[127, 0, 0, 2]]));
        for _ in 0..3 {
            bench.later();
            bench.monitor.round().await;
        }
        assert_eq!(bench.zone_health(), "dead");
        assert!(bench.listed_a().iter().all(Vec::is_empty));
    }

    #[tokio::test]
    async fn an_ipv6_address_must_have_its_names_before_its_first_use() {
        let dns = healthy().await;
        for (policy, proofs) in [(Ipv6Names::Require, 1), (Ipv6Names::Report, 2)] {
            let mut config = fixtures::config(&["a"], &[("p", &["a"])]);
            let mut binding = (*config.bindings[0]).clone();
            binding.public_address = "2001:db8::1".parse().unwrap();
            config.bindings = vec![Arc::new(binding)];
            config.monitor.servers = vec![dns.address];
            (config.monitor.fcrdns, config.monitor.ipv6_names) = (true, policy);
            let clock = ManualClock::at(Wall::from_millis(1_800_000_000_000));
            let heard = Arc::new(Mutex::new(0));
            let sink: Sink = {
                let heard = Arc::clone(&heard);
                Arc::new(move |e| {
                    *heard.lock() += usize::from(matches!(e, Evidence::ReverseDns { confirmed: false, .. }))
                })
            };
            let monitor = Monitor::new(&config, Arc::new(clock.clone()), sink).unwrap();
            for proof in 1..=proofs {
                assert_eq!(*heard.lock(), 0, "{policy:?} before proof {proof}");
                monitor.round().await;
                clock.advance(Duration::from_secs(60));
            }
            assert_eq!(*heard.lock(), 1, "{policy:?}");
        }
    }

    #[tokio::test]
    async fn while_the_resolver_lies_no_name_is_judged() {
        let dns = healthy().await;
        let bench = bench(&dns, true);
        bench.monitor.distrust(Some("nxdomain"));
        for _ in 0..3 {
            bench.monitor.round().await;
            bench.later();
        }
        assert!(bench.evidence.lock().is_empty());
        assert_eq!(bench.zone_health(), "resolver");
        let reverse = bench.monitor.snapshot().reverse;
        assert!(reverse[0].detail.contains("not to be believed") && reverse[0].checks.is_empty(), "{reverse:?}");
        bench.monitor.distrust(None);
        bench.monitor.round().await;
        bench.later();
        bench.monitor.confirm().await;
        assert!(!bench.evidence.lock().is_empty(), "and then they are");
    }

    #[tokio::test]
    async fn reverse_dns_is_judged_by_proof_only() {
        let dns = healthy().await;
        dns.set("1.2.0.192.in-addr.arpa.", Reply::Ptr("relay.example.net."));
        dns.set("relay.example.net.", Reply::A(vec![[192, 0, 2, 1]]));
        dns.set("2.2.0.192.in-addr.arpa.", Reply::ServFail);
        let bench = bench(&dns, true);
        let proven = |bench: &Bench| -> Vec<(String, bool)> {
            let all = std::mem::take(&mut *bench.evidence.lock());
            all.into_iter()
                .filter_map(|e| match e {
                    Evidence::ReverseDns { binding, confirmed, .. } => Some((binding.to_string(), confirmed)),
                    _ => None,
                })
                .collect()
        };
        bench.monitor.round().await;
        assert_eq!(proven(&bench), [("a".to_owned(), true)]);
        let reverse = bench.monitor.snapshot().reverse;
        assert_eq!((reverse[0].ehlo_agrees, reverse[1].confirmed), (Some(true), None));

        dns.set("relay.example.net.", Reply::A(vec![[192, 0, 2, 77]]));
        dns.set("2.2.0.192.in-addr.arpa.", Reply::NxDomain);
        bench.later();
        bench.monitor.round().await;
        assert!(proven(&bench).is_empty());
        bench.later();
        bench.monitor.confirm().await;
        assert_eq!(proven(&bench), [("a".to_owned(), false), ("b".to_owned(), false)]);
    }

    #[tokio::test]
    async fn a_restored_listing_is_in_the_first_snapshot_and_stands_while_the_zone_is_silent() {
        let dns = Responder::start(Reply::ServFail).await;
        let bench = bench(&dns, false);
        let listing = Listing { zone: "z".into(), weight: 3.0, certain: false, codes: "127.0.0.2".into() };
        bench.monitor.restore(&"a".into(), &[listing]);
        assert_eq!(bench.states(), [1, -1]);
        bench.monitor.round().await;
        assert_eq!(bench.states(), [1, -1]);
        assert!(bench.listed_a().is_empty());
    }

    #[tokio::test]
    async fn run_looks_at_once_serves_triggers_and_stops() {
        let dns = healthy().await;
        dns.set(A, Reply::A(vec![[127, 0, 0, 2]]));
        let bench = bench(&dns, false);
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let clock = bench.clock.clone();
        let drive = async {
            while bench.monitor.snapshot().rounds == 0 {
                tokio::task::yield_now().await;
            }
            // A minute later a reply names the list: the question that this triggers confirms the listing.
            clock.advance(Duration::from_secs(60));
            bench.monitor.check_now(&"a".into());
            bench.monitor.check_now(&"unknown".into());
            while bench.states() != [1, 0] {
                tokio::task::yield_now().await;
            }
            let _ = stop.send(());
        };
        let shutdown = async {
            let _ = stopped.await;
        };
        let both = async { tokio::join!(bench.monitor.run(shutdown), drive) };
        tokio::time::timeout(Duration::from_secs(20), both).await.unwrap();
        assert_eq!(bench.listed_a().len(), 1, "told once, when the listing was confirmed");
    }

    #[test]
    fn the_dns_name_of_a_zone_is_not_printed() {
        let mut config = fixtures::config(&["a"], &[]);
        config.monitor.zones = vec![zone("z")];
        config.monitor.zones[0].zone = "secretkey.z.example".into();
        config.monitor.servers = vec!["127.0.0.1:9".parse().unwrap()];
        let clock = Arc::new(ManualClock::at(Wall::from_millis(0)));
        let monitor = Monitor::new(&config, clock, Arc::new(|_| {})).unwrap();
        let text = format!("{monitor:?} {}", serde_json::to_string(&monitor.snapshot()).unwrap());
        assert!(!text.contains("secretkey"), "{text}");
    }
}
