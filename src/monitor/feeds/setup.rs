//! (shell) What a configuration makes of the feeds, and what of the one before goes on in it.
//!
//! A feed that is the same is the same [`Runner`]: its schedule, tokens and memory are not touched, so that a reload asks
//! nobody. One with other settings is another runner with the same state; it is asked at once where the answer could be
//! another, or the credentials are, but not for other thresholds.

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::credentials::Credentials;
use super::fetch::Fetcher;
use super::kept;
use super::runner::{Runner, recalled};
use super::whose::Herd;
use crate::clock::Clock;
use crate::config::{Config, Feed, FeedMetric};

/// The feeds, and whom they speak of.
pub(super) struct Setup {
    pub(super) runners: Vec<Arc<Runner>>,
    pub(super) herd: Arc<Herd>,
}

/// A configuration that can be put in force.
pub struct Prepared {
    pub(super) setup: Setup,
    /// Runners with other settings than before, and whether they are to ask at once.
    pub(super) due: Vec<(Arc<Runner>, bool)>,
    /// What will not work, in words.
    pub warnings: Vec<String>,
}

impl Setup {
    /// Whether it is this very one.
    pub(super) fn has(&self, runner: &Arc<Runner>) -> bool {
        self.runners.iter().any(|known| Arc::ptr_eq(known, runner))
    }
}

impl Prepared {
    pub(super) fn new(config: &Config, clock: &Arc<dyn Clock>, before: Option<&Setup>) -> Self {
        let herd = Arc::new(Herd::new(config));
        let directory = config.server.state_dir.join("feeds");
        let (mut runners, mut due, mut warnings) = (Vec::new(), Vec::new(), Vec::new());
        for feed in &config.feeds {
            let old = before.and_then(|before| before.runners.iter().find(|old| old.feed.name == feed.name));
            let new = runner(feed, &herd, &directory, clock, old);
            let is_same = |old: &&Arc<Runner>| {
                *old.feed == *feed
                    && old.credentials.is_as(&new.credentials)
                    && before.is_some_and(|before| before.herd.addresses(feed) == herd.addresses(feed))
            };
            if let Some(same) = old.filter(is_same) {
                runners.push(Arc::clone(same));
                continue;
            }
            for path in new.credentials.exposed() {
                tracing::warn!(feed = feed.name, path = %path.display(), "a secret that others than its owner can read; chmod 600 it");
            }
            let troubles = new.credentials.troubles().into_iter();
            warnings.extend(troubles.map(|trouble| format!("feed.{}: {trouble}", feed.name)));
            let new = Arc::new(new);
            if let Some(old) = old {
                let is_asked_anew = !old.credentials.is_as(&new.credentials) || question(&old.feed) != question(feed);
                due.push((Arc::clone(&new), is_asked_anew));
            }
            runners.push(new);
        }
        Self { setup: Setup { runners, herd }, due, warnings }
    }
}

fn runner(feed: &Feed, herd: &Herd, directory: &Path, clock: &Arc<dyn Clock>, old: Option<&Arc<Runner>>) -> Runner {
    let feed = Arc::new(feed.clone());
    let credentials = Credentials::new(Arc::clone(&feed), directory, Arc::clone(clock));
    let credentials = Arc::new(match old {
        Some(old) => credentials.after(&old.credentials),
        None => credentials,
    });
    let fetcher = Fetcher::new(Arc::clone(&feed), Arc::clone(&credentials), herd.addresses(&feed));
    let path = directory.join(kept::file_name(&feed.name, "json"));
    let (state, seat) = match old {
        Some(old) => (Arc::clone(&old.state), Arc::clone(&old.seat)),
        None => (Arc::new(Mutex::new(recalled(&feed, &path, clock.now().wall))), Arc::default()),
    };
    Runner { feed, credentials, fetcher, path, state, seat }
}

/// The feed without what only judges its answers: where two differ in this, the answers may.
fn question(feed: &Feed) -> Feed {
    let metrics = feed.metrics.iter().map(|(name, rules)| {
        let FeedMetric { value, .. } = rules.clone();
        (name.clone(), FeedMetric { value, ..FeedMetric::default() })
    });
    Feed {
        metrics: metrics.collect(),
        interval: std::time::Duration::ZERO,
        timeout: std::time::Duration::ZERO,
        half_life: std::time::Duration::ZERO,
        max_age: std::time::Duration::ZERO,
        blast_radius: 0.0,
        daily_budget: 0,
        provider: None,
        credential_expires: None,
        carried_by: feed.carried_by.keys().map(|domain| (domain.clone(), Vec::new())).collect(),
        ..feed.clone()
    }
}
