//! Places for questions in flight.
//!
//! Name servers and socket buffers drop what comes in floods, so all zones together have 256 places. Each zone
//! has a part of them for its own and waits for one of those first: a list that answers slowly has all of its own taken
//! and none of the others'.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

/// Places over all zones.
pub(super) const IN_FLIGHT: usize = 256;

/// Bounds of the places of one zone.
const OF_A_ZONE: (usize, usize) = (4, 64);

/// The places that one zone may take.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    own: Arc<Semaphore>,
    shared: Arc<Semaphore>,
}

impl Gate {
    /// The way to `shared`, for one of so many zones.
    pub(super) fn new(shared: Arc<Semaphore>, zones: usize) -> Self {
        let (least, most) = OF_A_ZONE;
        Self { own: Arc::new(Semaphore::new((IN_FLIGHT / zones.max(1)).clamp(least, most))), shared }
    }

    /// The same for one of so many zones.
    pub(super) fn one_of(&self, zones: usize) -> Self {
        Self::new(Arc::clone(&self.shared), zones)
    }

    /// Waits for a place, which is free again when what this returns is dropped.
    pub(super) async fn pass(&self) -> [Option<SemaphorePermit<'_>>; 2] {
        // Never closed; were they, an unlimited question is still a question.
        let own = self.own.acquire().await.ok();
        [own, self.shared.acquire().await.ok()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes places until there are no more at once.
    async fn all_of(gate: &Gate) -> Vec<[Option<SemaphorePermit<'_>>; 2]> {
        let mut taken = Vec::new();
        while let Ok(place) = tokio::time::timeout(std::time::Duration::from_millis(20), gate.pass()).await {
            taken.push(place);
        }
        taken
    }

    #[tokio::test]
    async fn a_zone_that_has_taken_all_it_can_leaves_the_others_their_places() {
        for (zones, each) in [(1, 64), (8, 32), (64, 4)] {
            let shared = Arc::new(Semaphore::new(IN_FLIGHT));
            let gates: Vec<Gate> = (0..zones).map(|_| Gate::new(Arc::clone(&shared), zones)).collect();
            let mut held = Vec::new();
            for gate in &gates[1..] {
                // Not by waiting, for there may be many.
                for _ in 0..each {
                    held.push(gate.pass().await);
                }
            }
            assert_eq!(all_of(&gates[0]).await.len(), each, "{zones} zones, {} places taken", held.len());
        }
    }
}
