//! Whether the resolver tells the truth, and what the names of our addresses are worth.
//!
//! [`resolver`], [`names`] and [`generic`] judge and know no socket; [`selfcheck`] puts the questions about resolvers
//! (those about names are put by the monitor's rounds). [`Identity`] is the task that tests the resolvers at the start
//! and then once per `monitor.self_check`: what it finds goes to log, events and metrics, and while the monitor's resolver
//! is proven to lie, [`Monitor::distrust`] keeps its answers from listing or clearing anybody. [`look`] is for a single look
//! from the command line.

pub mod generic;
pub mod look;
pub mod names;
pub mod resolver;
pub mod selfcheck;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::clock::{Clock, Wall};
use crate::config::Config;

use super::Monitor;
use names::Grade;
use resolver::{Checked, ResolverCheck};
use selfcheck::{MONITOR, Report, Resolvers};

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
    resolvers: Resolvers,
    every: Option<Duration>,
    monitor: Arc<Monitor>,
    sink: Sink,
    clock: Arc<dyn Clock>,
    state: Mutex<Snapshot>,
    first: watch::Sender<bool>,
}

impl Identity {
    /// Sets everything up; asks nothing yet. Resolvers that cannot be set up are logged and left out.
    pub fn new(config: &Config, clock: Arc<dyn Clock>, monitor: Arc<Monitor>, sink: Sink) -> Self {
        let (resolvers, failed) = Resolvers::new(config, Arc::clone(&clock));
        for error in failed {
            warn!(error, "resolver is not tested");
        }
        let every = config.monitor.self_check;
        let (first, state) = (watch::Sender::new(every.is_none()), Mutex::default());
        Self { resolvers, every, monitor, sink, clock, state, first }
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

    /// Works until `stopped` turns true.
    pub async fn run(&self, mut stopped: watch::Receiver<bool>) {
        tokio::select! {
            () = self.again_and_again() => {}
            // An error means that the sender is gone, which is a stop as well.
            _ = stopped.wait_for(|stop| *stop) => {}
        }
    }

    async fn again_and_again(&self) {
        let Some(every) = self.every else { return std::future::pending().await };
        let mut distrust = None;
        loop {
            let random = super::rounds::random_label();
            let reports = self.resolvers.check(&random).await;
            distrust = self.conclude(reports, distrust);
            self.first.send_replace(true);
            let faulty = self.state.lock().resolvers.iter().any(|r| r.checks.iter().any(|c| c.grade == Grade::Bad));
            tokio::time::sleep(if faulty { every.min(AGAIN) } else { every }).await;
        }
    }

    /// Tells what is new and says whether the monitor's resolver is still believed.
    fn conclude(&self, reports: Vec<Report>, distrust: Option<ResolverCheck>) -> Option<ResolverCheck> {
        let before = std::mem::take(&mut self.state.lock().resolvers);
        for report in &reports {
            let old = before.iter().find(|old| old.purpose == report.purpose);
            for checked in news(old.map_or(&[], |old| &old.checks), &report.checks) {
                self.tell(&report.purpose, checked);
            }
        }
        let monitor = reports.iter().find(|report| report.purpose == MONITOR);
        let now_distrusted = resolver::belief(distrust, monitor.map_or(&[], |report| &report.checks));
        if now_distrusted != distrust {
            match now_distrusted {
                Some(check) => {
                    warn!(check = check.as_str(), "listings are neither made nor cleared until the resolver is mended")
                }
                None => info!("the resolver is believed again"),
            }
            self.monitor.distrust(now_distrusted.map(ResolverCheck::as_str));
        }
        *self.state.lock() = Snapshot { resolvers: reports, at: Some(self.clock.now().wall) };
        now_distrusted
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
}
