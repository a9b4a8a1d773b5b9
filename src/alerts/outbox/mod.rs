//! (pure) What is still to be told to one target, and when to try.
//!
//! An Alertmanager is told states ([`States`]), a webhook changes ([`Deliveries`]); both wait in the same way after a
//! failure ([`Patience`]). Neither ever sends what is no longer true: a state is made at the moment of sending, and of the
//! changes of one alert only the last waits.

mod deliveries;
mod patience;
mod states;
#[cfg(test)]
mod tests;

pub use deliveries::{Deliveries, Delivery, Event};
pub use patience::Patience;
pub use states::{PART, Push, States};

use std::time::Duration;

/// How a push ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The target has it (2xx).
    Accepted,
    /// It wants us to wait (429, 503), perhaps so long.
    Throttled(Option<Duration>),
    /// It wants no more of this, ever (410).
    Gone,
    /// It refused what was sent (another 4xx).
    Refused,
    /// No answer, an answer that says nothing (3xx), or its own fault (5xx).
    Failed,
    /// Our own fault: a file that cannot be read.
    Unready,
}

impl Outcome {
    /// All, for what lists them.
    pub const ALL: [Self; 6] =
        [Self::Accepted, Self::Throttled(None), Self::Gone, Self::Refused, Self::Failed, Self::Unready];

    /// What an HTTP status means; `retry_after` is the header of that name.
    pub fn of_status(status: u16, retry_after: Option<Duration>) -> Self {
        match status {
            200..=299 => Self::Accepted,
            410 => Self::Gone,
            429 | 503 => Self::Throttled(retry_after),
            408 | 425 => Self::Failed,
            400..=499 => Self::Refused,
            _ => Self::Failed,
        }
    }

    /// Of several at the same time the highest says how long to wait.
    pub fn rank(self) -> u8 {
        match self {
            Self::Accepted => 0,
            Self::Refused => 1,
            Self::Unready => 2,
            Self::Failed => 3,
            Self::Throttled(_) => 4,
            Self::Gone => 5,
        }
    }

    /// Stable text, as in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Throttled(_) => "throttled",
            Self::Gone => "gone",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Unready => "unready",
        }
    }
}
