//! (shell) Looks at the record of a domain and fetches its policy, as a task of its own.
//!
//! One look at a domain at a time, which goes on whoever waits for it: mail waits [`MAIL_WAITS`] from when the look began and
//! then goes by what is known, so that web hosts that do not answer hold up neither attempts nor the mail of others. What
//! comes later holds for the next mail. Fetches at the same time are bounded; one that finds no place in [`SLOT_WAITS`] is
//! put off until the record is looked at again, and counts as nobody's failure.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::fetch::Fetcher;
use super::sts::{Cell, record};
use crate::clock::{Clock, Mono, Wall};
use crate::delivery::mx::Resolver;
use crate::delivery::plan::Found;
use crate::delivery::tls::policy::Excluded;
use crate::message::Domain;
use crate::telemetry::tlsrpt::{Seen, Tlsrpt};

/// How long mail waits for a look at a domain nothing is known of, from when it began: a web host that works has answered, and
/// RFC 8461 §5.1 lets mail go where nothing is cached.
pub const MAIL_WAITS: Duration = Duration::from_secs(5);
/// How long a fetch waits for others.
const SLOT_WAITS: Duration = Duration::from_secs(10);
/// Fetches at the same time.
const FETCHES: usize = 16;

/// What is known of a domain, and who looks.
#[derive(Debug, Default)]
pub(super) struct Place {
    pub(super) cell: Mutex<Cell>,
    /// Whoever looks holds it.
    turn: Arc<tokio::sync::Mutex<()>>,
    began: Mutex<Option<Mono>>,
}

impl Place {
    pub(super) fn of(cell: Cell) -> Self {
        Self { cell: Mutex::new(cell), ..Self::default() }
    }
}

/// Looks.
pub(super) struct Looks {
    pub(super) resolver: Arc<Resolver>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) changed: Mutex<BTreeSet<Domain>>,
    pub(super) reports: Arc<Tlsrpt>,
    fetches: Semaphore,
}

impl fmt::Debug for Looks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Looks").field("free", &self.fetches.available_permits()).finish_non_exhaustive()
    }
}

impl Looks {
    pub(super) fn new(resolver: Arc<Resolver>, clock: Arc<dyn Clock>, reports: Arc<Tlsrpt>) -> Self {
        Self { resolver, clock, changed: Mutex::default(), reports, fetches: Semaphore::new(FETCHES) }
    }

    pub(super) fn now(&self) -> Wall {
        self.clock.now().wall
    }

    /// Begins a look where one is due and nobody looks.
    pub(super) fn begin(self: &Arc<Self>, domain: &Domain, place: &Arc<Place>, by: &Fetcher) -> Option<JoinHandle<()>> {
        let turn = Arc::clone(&place.turn).try_lock_owned().ok()?;
        let now = self.clock.now();
        if !place.cell.lock().is_due(now.wall) {
            return None;
        }
        *place.began.lock() = Some(now.mono);
        let (this, domain, place, by) = (Arc::clone(self), domain.clone(), Arc::clone(place), by.clone());
        Some(tokio::spawn(async move {
            this.look(&domain, &place, &by).await;
            drop(turn);
        }))
    }

    /// Waits for the look at a domain that is under way, if one is, as long as mail does.
    pub(super) async fn wait_for(&self, place: &Place) {
        let began = *place.began.lock();
        let gone = began.map_or(Duration::ZERO, |began| self.clock.now().mono.since(began));
        // Nobody under way is the same as one that is done; that it takes longer is what the time is for.
        let _ = tokio::time::timeout(MAIL_WAITS.saturating_sub(gone), place.turn.lock()).await;
    }

    async fn look(&self, domain: &Domain, place: &Place, fetcher: &Fetcher) {
        let Ok(name) = format!("_mta-sts.{domain}").parse::<Domain>() else {
            place.cell.lock().seen(None, self.now());
            return;
        };
        let records = match self.resolver.txt(&name).await {
            Found::Some(records) => records,
            Found::NoData | Found::NxDomain | Found::Failed(_) => Vec::new(),
        };
        let id = record::id_of(&records);
        if !place.cell.lock().seen(id, self.now()) {
            return;
        }
        let Some(id) = id else { return };
        let Ok(Ok(_slot)) = tokio::time::timeout(SLOT_WAITS, self.fetches.acquire()).await else {
            tracing::warn!(%domain, id, "MTA-STS policy not fetched: too many others do not come");
            return;
        };
        match fetcher.fetch(domain).await {
            Ok(policy) => {
                tracing::info!(%domain, id, mode = policy.mode.as_str(), "MTA-STS policy fetched");
                place.cell.lock().fetched(id, policy, self.now());
                self.changed.lock().insert(domain.clone());
            }
            Err(why) => {
                let detail = why.detail.as_str();
                tracing::warn!(%domain, id, result = why.result.as_str(), detail, "MTA-STS policy not fetched");
                let excluded = Excluded { result: why.result, detail: why.detail.clone() };
                self.reports.count(&Seen::unfetched(domain, &excluded), self.now());
                place.cell.lock().unfetched(id, why, self.now());
            }
        }
    }
}
