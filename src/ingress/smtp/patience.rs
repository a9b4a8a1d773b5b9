//! How long a silent client is waited for: as long as the listener says, and shorter while places are scarce.
//!
//! Idle sessions are no harm until they take the places of others. So the limit is looked at again and again while a client is
//! silent, not only when its silence begins: when three quarters of the places are taken — of the listener, or of the whole
//! program — those who have been silent for longest lose theirs first. A message on its way is given the full time.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

use super::seats::Seats;
use crate::ingress::{IngressStats, Intake};

/// How often is looked whether places have become scarce.
const LOOK: Duration = Duration::from_secs(5);
/// Fewer places than that are never scarce: with so few, all of them in use is what was meant.
const FEW: u64 = 8;

/// How many places are taken.
pub(super) struct Load {
    seats: Arc<Seats>,
    stats: Arc<IngressStats>,
    intake: Arc<dyn Intake>,
}

/// How long a client may be silent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Otherwise.
    pub(super) calm: Duration,
    /// While places are scarce.
    pub(super) busy: Duration,
}

impl Load {
    pub(super) fn new(seats: &Arc<Seats>, stats: &Arc<IngressStats>, intake: &Arc<dyn Intake>) -> Self {
        Self { seats: Arc::clone(seats), stats: Arc::clone(stats), intake: Arc::clone(intake) }
    }

    fn is_high(&self) -> bool {
        let (taken, most) = self.seats.taken();
        is_scarce(taken as u64, most as u64)
            || is_scarce(self.stats.sessions_open.load(Ordering::Relaxed), self.intake.max_sessions())
    }

    /// Reads what comes next into `input`; `None` when the client was silent for too long.
    pub(super) async fn read<S: AsyncRead + Unpin>(
        &self,
        stream: &mut S,
        input: &mut BytesMut,
        limits: Limits,
    ) -> Option<io::Result<usize>> {
        let mut silent = Duration::ZERO;
        loop {
            let most = if self.is_high() { limits.busy.min(limits.calm) } else { limits.calm };
            let left = most.checked_sub(silent).filter(|left| !left.is_zero())?;
            let while_looking = left.min(LOOK);
            match timeout(while_looking, stream.read_buf(input)).await {
                Ok(read) => return Some(read),
                Err(_) => silent += while_looking,
            }
        }
    }
}

/// Whether three quarters are taken.
fn is_scarce(taken: u64, most: u64) -> bool {
    most >= FEW && taken >= most - most / 4
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Listener;
    use crate::ingress::{Accepting, Admission, Refusal, Transaction};
    use crate::message::MessageId;

    struct Nobody;

    impl Admission for Nobody {
        fn ready(&self) -> Result<(), Refusal> {
            Ok(())
        }

        fn max_sessions(&self) -> u64 {
            100
        }
    }

    impl Intake for Nobody {
        fn accept(&self, _: Transaction) -> Accepting<'_> {
            Box::pin(async { Ok(MessageId(1)) })
        }
    }

    #[test]
    fn places_are_scarce_when_three_quarters_are_taken() {
        for (taken, most, scarce) in
            [(0, 100, false), (74, 100, false), (75, 100, true), (100, 100, true), (7, 7, false), (6, 8, true)]
        {
            assert_eq!(is_scarce(taken, most), scarce, "{taken} of {most}");
        }
        assert!(!is_scarce(1 << 40, u64::MAX));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_borne_for_a_shorter_time_while_places_are_scarce() {
        let listener = Listener { max_connections: 10, ..Listener::at("127.0.0.1:0".parse().expect("valid")) };
        let (seats, stats) = (Arc::new(Seats::new(&listener)), Arc::<IngressStats>::default());
        let intake: Arc<dyn Intake> = Arc::new(Nobody);
        let load = Load::new(&seats, &stats, &intake);
        let limits = Limits { calm: Duration::from_secs(300), busy: Duration::from_secs(10) };
        let silence = async || {
            let (mut ours, _theirs) = tokio::io::duplex(10);
            let began = tokio::time::Instant::now();
            assert!(load.read(&mut ours, &mut BytesMut::with_capacity(10), limits).await.is_none());
            began.elapsed().as_secs()
        };
        assert_eq!(silence().await, 300);
        let taken: Vec<_> = (1..=8u8).map(|n| Seats::take(&seats, [192, 0, 2, n].into())).collect();
        assert_eq!(silence().await, 10);
        drop(taken);
        stats.sessions_open.store(75, Ordering::Relaxed);
        assert_eq!(silence().await, 10);
        // Whoever was silent before places became scarce is the first to go.
        stats.sessions_open.store(0, Ordering::Relaxed);
        let later = async {
            tokio::time::sleep(Duration::from_secs(100)).await;
            stats.sessions_open.store(75, Ordering::Relaxed);
        };
        let (lasted, ()) = tokio::join!(silence(), later);
        assert!((100..=105).contains(&lasted), "{lasted}");
    }
}
