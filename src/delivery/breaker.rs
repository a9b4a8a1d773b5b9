//! Fails fast while name servers are silent. Pure.
//!
//! hickory caches answers but no time-outs, so with dead name servers each look-up would hold its place among the
//! questions in flight for the full time. After [`TRIPS_AT`] time-outs in a row the breaker refuses look-ups for
//! [`OPEN_FOR`]; then they are let through again, and one more time-out opens it again. Any answer, also a bad one,
//! closes it.

use std::time::Duration;

use crate::clock::Mono;

/// Time-outs in a row that open the breaker.
pub const TRIPS_AT: u32 = 10;
/// How long it stays open.
pub const OPEN_FOR: Duration = Duration::from_secs(5);

/// Counts silence.
#[derive(Debug, Default)]
pub struct Breaker {
    silent: u32,
    opened: Option<Mono>,
}

impl Breaker {
    /// Whether a question may be asked.
    pub fn allows(&self, now: Mono) -> bool {
        self.opened.is_none_or(|opened| now.since(opened) >= OPEN_FOR)
    }

    /// A question was answered, however.
    pub fn answered(&mut self) {
        *self = Self::default();
    }

    /// A question timed out.
    pub fn timed_out(&mut self, now: Mono) {
        self.silent = self.silent.saturating_add(1);
        if self.silent >= TRIPS_AT {
            self.opened = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn silence_in_a_row_opens_it_and_an_answer_closes_it() {
        let mut breaker = Breaker::default();
        for _ in 1..TRIPS_AT {
            breaker.timed_out(at(0));
        }
        assert!(breaker.allows(at(0)));
        breaker.answered();
        for _ in 1..TRIPS_AT {
            breaker.timed_out(at(1));
        }
        assert!(breaker.allows(at(1)), "the row was broken");
        breaker.timed_out(at(1));
        assert!(!breaker.allows(at(5)));
        assert!(breaker.allows(at(6)));
        breaker.timed_out(at(6));
        assert!(!breaker.allows(at(7)), "one more time-out is enough");
        breaker.answered();
        assert!(breaker.allows(at(7)));
    }
}
