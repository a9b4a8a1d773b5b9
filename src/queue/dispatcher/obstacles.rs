//! What stands in the way of mail that was just retried, for the answer to whoever asked for it.

use std::collections::HashMap;
use std::sync::Arc;

use super::Dispatcher;
use super::acts::{Acted, Came};
use crate::message::EntryId;

/// Entries of a retry of which each binding is asked what stands in the way.
const ASKED: usize = 200;
/// How many of them while the core is kept.
const ASKED_AT_ONCE: usize = 8;
/// How many of the others.
const LOOKED_AT: usize = 256;

impl Dispatcher {
    /// What keeps those that were retried from leaving.
    pub(super) async fn look_for_obstacles(self: &Arc<Self>, acted: &mut Acted) {
        let tried: Vec<_> = acted.came.iter().filter(|(_, came)| *came == Came::Done).map(|(id, _)| *id).collect();
        let this = Arc::clone(self);
        // Without it the answer is poorer, but still an answer.
        acted.obstacles = tokio::task::spawn_blocking(move || this.obstacles(&tried)).await.unwrap_or_default();
    }

    /// What keeps these entries from leaving now, with how many; of the first of them each binding is asked. Blocks; the
    /// core is let go on in between.
    fn obstacles(&self, ids: &[EntryId]) -> Vec<(&'static str, u64)> {
        let (asked, others) = ids.split_at(ids.len().min(ASKED));
        let mut counts: HashMap<&'static str, u64> = HashMap::new();
        let mut count = |why: Option<&'static str>| {
            if let Some(why) = why {
                *counts.entry(why).or_default() += 1;
            }
        };
        for ids in asked.chunks(ASKED_AT_ONCE) {
            let now = self.clock.now();
            let core = self.core.lock();
            ids.iter().for_each(|id| count(core.obstacle(*id, now)));
        }
        for ids in others.chunks(LOOKED_AT) {
            let core = self.core.lock();
            let why = |id: &EntryId| core.index().get(*id).map(|waiting| core.index().why(waiting).0);
            ids.iter().for_each(|id| count(why(id)));
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_unstable_by(|a, b| (b.1, a.0).cmp(&(a.1, b.0)));
        counts
    }
}
