//! Whether the resolver tells the truth, and what the names of our addresses are worth.
//!
//! [`resolver`], [`names`] and [`generic`] judge and know no socket; [`selfcheck`] and `interview` put the questions about
//! resolvers (those about names are put by the monitor's rounds). [`Identity`] is the task that tests the resolvers at the
//! start and then once per `monitor.self_check`: what it finds goes to log, events and metrics. A server that is proven to lie is
//! not asked any more ([`Monitor::disbelieve`]); while all of the monitor's do, [`Monitor::distrust`] keeps what they say from
//! listing or clearing anybody. Where the configuration names others, they are tested before they are asked anything
//! ([`Identity::reconfigure`]). [`look`] is for a single look from the command line.

pub mod generic;
mod interview;
pub mod look;
pub mod names;
pub mod resolver;
pub mod selfcheck;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, watch};
use tracing::{info, warn};

use crate::clock::{Clock, Mono, Wall};
use crate::config::Config;

use super::Monitor;
use super::zone::ZoneHealth;
use names::Grade;
use resolver::{Checked, ResolverCheck};
use selfcheck::{Checkup, MONITOR, Report, Resolvers, SECOND};

/// Time after which a resolver with a fault is tested again, if not sooner: its mending should show.
const AGAIN: Duration = Duration::from_secs(5 * 60);

/// Where news goes: whose resolver, and the check whose outcome is new.
pub type Sink = Arc<dyn Fn(&str, &Checked) + Send + Sync>;

/// What is known about the resolvers.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Each purpose.
    pub resolvers: Vec<Report>,
    /// When they were last tested.
    pub at: Option<Wall>,
}

/// The checks of resolvers, again and again.
pub struct Identity {
    current: RwLock<Arc<Setup>>,
    /// Servers that lie, and when all were tested last.
    known: Mutex<Known>,
    monitor: Arc<Monitor>,
    sink: Sink,
    clock: Arc<dyn Clock>,
    state: Mutex<Snapshot>,
    first: watch::Sender<bool>,
    changed: Notify,
}

/// What a configuration asks for.
struct Setup {
    resolvers: Resolvers,
    every: Option<Duration>,
}

#[derive(Default)]
struct Known {
    liars: Liars,
    tested: Option<Mono>,
}

/// A configuration that can be put in force.
pub struct Prepared(Setup);

impl Setup {
    fn new(config: &Config, clock: &Arc<dyn Clock>) -> Self {
        let (resolvers, failed) = Resolvers::new(config, Arc::clone(clock));
        for error in failed {
            warn!(error, "resolver is not tested");
        }
        Self { resolvers, every: config.monitor.self_check }
    }

    /// The servers that say what is listed, and those that must agree.
    fn witnesses(&self) -> [&[SocketAddr]; 2] {
        [self.resolvers.servers(MONITOR), self.resolvers.servers(SECOND)]
    }
}

impl Identity {
    /// Sets everything up; asks nothing yet. Resolvers that cannot be set up are logged and left out.
    pub fn new(config: &Config, clock: Arc<dyn Clock>, monitor: Arc<Monitor>, sink: Sink) -> Self {
        let setup = Setup::new(config, &clock);
        let first = watch::Sender::new(setup.every.is_none());
        let (current, known, state) = (RwLock::new(Arc::new(setup)), Mutex::default(), Mutex::default());
        Self { current, known, monitor, sink, clock, state, first, changed: Notify::new() }
    }

    /// What is known now; costs a copy.
    pub fn snapshot(&self) -> Snapshot {
        self.state.lock().clone()
    }

    /// Waits until the resolvers were tested once, or are not to be. Who looks before that may look through a liar.
    pub async fn ready(&self) {
        // The sender lives as long as `self`.
        drop(self.first.subscribe().wait_for(|done| *done).await);
    }

    /// Sets up what `config` asks for, without a change to what is in force.
    pub fn prepare(&self, config: &Config) -> Prepared {
        Prepared(Setup::new(config, &self.clock))
    }

    /// Puts it in force. Where other servers say what is listed, the monitor asks nobody anything until they were tested.
    /// Returns whether what was said of the servers until now counts no more, for [`Monitor::reconfigure`], which is to
    /// follow.
    pub fn reconfigure(&self, prepared: Prepared) -> bool {
        let Prepared(setup) = prepared;
        // Nobody concludes from servers of before, once it is here.
        let mut current = self.current.write();
        let has_others = current.witnesses() != setup.witnesses();
        let is_tested = setup.every.is_some();
        let mut known = self.known.lock();
        if current.resolvers.purposes() != setup.resolvers.purposes() || !is_tested {
            known.tested = None;
        }
        let purposes = setup.resolvers.purposes();
        let is_known = |report: &Report| {
            let of = report.purpose.split('@').next().unwrap_or_default();
            is_tested && purposes.iter().any(|(name, _)| name == of)
        };
        self.state.lock().resolvers.retain(is_known);
        let is_void = has_others || !is_tested;
        if is_void {
            // What the others were worth says nothing of these.
            known.liars.clear();
            self.first.send_replace(!is_tested);
            self.monitor.wait_for_test(is_tested);
        } else {
            // Of a server that is in nobody's service any more.
            known.liars.retain(|server, _| purposes.iter().any(|(_, servers)| servers.contains(server)));
        }
        *current = Arc::new(setup);
        self.changed.notify_one();
        is_void
    }

    /// Works until `stopped` turns true.
    pub async fn run(&self, mut stopped: watch::Receiver<bool>) {
        tokio::select! {
            () = self.again_and_again() => {}
            // An error means that the sender is gone, which is a stop as well.
            _ = stopped.wait_for(|stop| *stop) => {}
        }
    }

    async fn again_and_again(&self) {
        loop {
            let setup = Arc::clone(&self.current.read());
            let Some(pause) = self.pause(&setup) else {
                self.changed.notified().await;
                continue;
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.changed.notified() => continue,
            }
            let random = super::rounds::random_label();
            let zones = self.monitor.snapshot().zones.into_iter();
            let well = zones.filter(|zone| zone.health == ZoneHealth::Healthy.as_str()).map(|zone| zone.zone).collect();
            tokio::select! {
                checkup = setup.resolvers.check(&random, &well) => self.conclude_under(&setup, checkup),
                // What these servers are worth is not asked any more.
                () = self.changed.notified() => {}
            }
        }
    }

    /// Time until the next test; `None` where none is to be made.
    fn pause(&self, setup: &Setup) -> Option<Duration> {
        let every = setup.every?;
        let Some(tested) = self.known.lock().tested else { return Some(Duration::ZERO) };
        let faulty = self.state.lock().resolvers.iter().any(|r| r.checks.iter().any(|c| c.grade == Grade::Bad));
        let every = if faulty { every.min(AGAIN) } else { every };
        Some(every.saturating_sub(self.clock.now().mono.since(tested)))
    }

    /// Concludes, unless another setup is in force since.
    fn conclude_under(&self, setup: &Arc<Setup>, checkup: Checkup) {
        let current = self.current.read();
        if Arc::ptr_eq(&current, setup) {
            let mut known = self.known.lock();
            self.conclude(setup, checkup, &mut known.liars);
            known.tested = Some(self.clock.now().mono);
            self.first.send_replace(true);
            self.monitor.wait_for_test(false);
        }
    }

    /// Tells what is new and says which servers are believed from now on. `liars` are those that were not, and for which
    /// lie.
    fn conclude(&self, setup: &Setup, checkup: Checkup, liars: &mut Liars) {
        let Checkup { reports, servers } = checkup;
        let before = std::mem::take(&mut self.state.lock().resolvers);
        for report in &reports {
            let old = before.iter().find(|old| old.purpose == report.purpose);
            for checked in news(old.map_or(&[], |old| &old.checks), &report.checks) {
                self.tell(&report.purpose, checked);
            }
        }
        let purposes = setup.witnesses();
        let old = purposes.map(|servers| all_lie(servers, liars));
        *liars = disbelieved(liars, &servers);
        let new = purposes.map(|servers| all_lie(servers, liars));
        self.monitor.disbelieve(liars.keys().copied().collect());
        if new[0] != old[0] {
            match new[0] {
                Some(check) => {
                    warn!(check = check.as_str(), "listings are neither made nor cleared until the resolver is mended")
                }
                None => info!("the resolver is believed again"),
            }
            self.monitor.distrust(new[0].map(ResolverCheck::as_str));
        }
        match (old[1], new[1]) {
            (None, Some(check)) => {
                warn!(check = check.as_str(), "listings are confirmed without the second resolver until it is mended")
            }
            (Some(_), None) => info!("the second resolver is believed again"),
            _ => {}
        }
        *self.state.lock() = Snapshot { resolvers: reports, at: Some(self.clock.now().wall) };
    }

    fn tell(&self, purpose: &str, checked: &Checked) {
        let (check, detail) = (checked.check.as_str(), checked.detail.as_str());
        if checked.grade == Grade::Bad {
            warn!(purpose, check, detail, remedy = checked.check.remedy(), "resolver is not as it should be");
        } else {
            info!(purpose, check, detail, "resolver is as it should be again");
        }
        (self.sink)(purpose, checked);
    }
}

/// Servers that are proven to lie, and how.
type Liars = BTreeMap<SocketAddr, ResolverCheck>;

/// Who is not believed after this check-up.
fn disbelieved(before: &Liars, servers: &[(SocketAddr, Vec<Checked>)]) -> Liars {
    let lie = |(server, checks): &(SocketAddr, Vec<Checked>)| {
        resolver::belief(before.get(server).copied(), checks).map(|check| (*server, check))
    };
    servers.iter().filter_map(lie).collect()
}

/// Whether none of the servers of a purpose is to be believed, and for which lie.
fn all_lie(servers: &[SocketAddr], liars: &Liars) -> Option<ResolverCheck> {
    let lies: Option<Vec<ResolverCheck>> = servers.iter().map(|server| liars.get(server).copied()).collect();
    lies?.first().copied()
}

/// Checks that are bad and were not, or are good and were bad.
fn news<'a>(before: &[Checked], now: &'a [Checked]) -> Vec<&'a Checked> {
    let old = |check: ResolverCheck| before.iter().find(|c| c.check == check).map(|c| c.grade);
    let is_new = |new: &&Checked| match new.grade {
        Grade::Bad => old(new.check) != Some(Grade::Bad),
        Grade::Good => old(new.check) == Some(Grade::Bad),
        Grade::Unknown => false,
    };
    now.iter().filter(is_new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purpose_is_distrusted_where_all_its_servers_lie() {
        let servers: [SocketAddr; 2] = ["192.0.2.1:53".parse().unwrap(), "192.0.2.2:53".parse().unwrap()];
        let said = |grade| vec![Checked { check: ResolverCheck::Loopback, grade, detail: String::new() }];
        let with = |grades: [Grade; 2]| [(servers[0], said(grades[0])), (servers[1], said(grades[1]))];
        let one = disbelieved(&Liars::new(), &with([Grade::Bad, Grade::Good]));
        assert_eq!(one.keys().collect::<Vec<_>>(), [&servers[0]]);
        assert_eq!(all_lie(&servers, &one), None);
        let both = disbelieved(&one, &with([Grade::Unknown, Grade::Bad]));
        assert_eq!(
            all_lie(&servers, &both),
            Some(ResolverCheck::Loopback),
            "one that says nothing is not believed for that"
        );
        assert_eq!(all_lie(&[], &both), None);
        assert!(disbelieved(&both, &with([Grade::Good, Grade::Good])).is_empty());
    }

    #[test]
    fn only_faults_and_their_mending_are_news() {
        let of = |grade| vec![Checked { check: ResolverCheck::Nxdomain, grade, detail: String::new() }];
        for (before, now, told) in [
            (vec![], Grade::Good, 0),
            (vec![], Grade::Unknown, 0),
            (vec![], Grade::Bad, 1),
            (of(Grade::Bad), Grade::Bad, 0),
            (of(Grade::Good), Grade::Bad, 1),
            (of(Grade::Unknown), Grade::Bad, 1),
            (of(Grade::Bad), Grade::Good, 1),
            (of(Grade::Bad), Grade::Unknown, 0),
            (of(Grade::Unknown), Grade::Good, 0),
        ] {
            assert_eq!(news(&before, &of(now)).len(), told, "{before:?} → {now:?}");
        }
    }

    #[tokio::test]
    async fn other_name_servers_are_tested_before_they_are_believed() {
        use crate::clock::SystemClock;
        use crate::monitor::responder::{Reply, Responder};

        let liar = Responder::start(Reply::A(vec![[198, 51, 100, 1]])).await;
        let honest = Responder::start(Reply::NxDomain).await;
        let config = |server: SocketAddr| {
            let mut config = crate::reputation::fixtures::config(&["a"], &[]);
            (config.monitor.servers, config.dns.servers) = (vec![server], vec![server]);
            (config.monitor.fcrdns, config.monitor.timeout) = (false, Duration::from_millis(600));
            config
        };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let monitor = Arc::new(Monitor::new(&config(liar.address), Arc::clone(&clock), Arc::new(|_| {})).unwrap());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let news = Arc::clone(&heard);
        let sink: Sink = Arc::new(move |purpose: &str, checked: &Checked| {
            news.lock().push(format!("{purpose} {} {}", checked.check.as_str(), checked.grade == Grade::Bad));
        });
        let identity = Arc::new(Identity::new(&config(liar.address), clock, Arc::clone(&monitor), sink));
        let (_stop, stopped) = watch::channel(false);
        let running = Arc::clone(&identity);
        tokio::spawn(async move { running.run(stopped).await });
        let change = |to: &Config| {
            let prepared = (identity.prepare(to), monitor.prepare(to).unwrap());
            let is_void = identity.reconfigure(prepared.0);
            monitor.reconfigure(prepared.1, is_void);
            (is_void, monitor.is_waiting_for_test(), monitor.distrusted().is_some())
        };
        identity.ready().await;
        assert_eq!(monitor.distrusted(), Some("nxdomain"));
        assert_eq!(change(&config(liar.address)), (false, false, true), "nothing is different");
        assert_eq!(change(&config(honest.address)), (true, true, false), "not heard yet");
        identity.ready().await;
        assert_eq!((monitor.is_waiting_for_test(), monitor.distrusted()), (false, None));
        assert_eq!(change(&config(liar.address)), (true, true, false));
        identity.ready().await;
        assert_eq!((monitor.is_waiting_for_test(), monitor.distrusted()), (false, Some("nxdomain")));
        let told: Vec<String> =
            heard.lock().iter().filter(|told| told.starts_with("monitor nxdomain")).cloned().collect();
        assert_eq!(told, ["monitor nxdomain true", "monitor nxdomain false", "monitor nxdomain true"]);
        // Without a test nobody waits for one, and nothing is held against anybody.
        let mut off = config(liar.address);
        off.monitor.self_check = None;
        assert_eq!(change(&off), (true, false, false));
        identity.ready().await;
        assert!(identity.snapshot().resolvers.is_empty());
    }
}
