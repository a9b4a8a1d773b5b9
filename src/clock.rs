//! Time as a value.
//!
//! Decisions take a [`Now`] as an argument and never read a clock. It carries both clocks because they answer
//! different questions: [`Wall`] (Unix time, can jump) is for what people and disks see — daily caps, expiry, `until`
//! of a suspension; [`Mono`] (never goes back) is for short rates. They are different types, so that one cannot be
//! taken for the other. [`SystemClock`] is the only place in the program that reads the machine's clocks;
//! [`ManualClock`] is what tests and the simulation turn by hand.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment of wall time: milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Wall(i64);

impl Wall {
    /// The moment `millis` milliseconds after (or before) the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This moment and `span` more; stops at the end of time instead of wrapping.
    pub fn plus(self, span: Duration) -> Self {
        let millis = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(millis))
    }

    /// How long ago `earlier` was; zero when it lies in the future.
    pub fn since(self, earlier: Wall) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// As a `jiff` timestamp. Moments outside jiff's range (years −9999 to 9999) stop at its ends.
    pub fn timestamp(self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.0).unwrap_or(if self.0 < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        })
    }
}

impl From<jiff::Timestamp> for Wall {
    fn from(t: jiff::Timestamp) -> Self {
        Self(t.as_millisecond())
    }
}

impl fmt::Display for Wall {
    /// RFC 3339 in UTC with milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.timestamp())
    }
}

impl fmt::Debug for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// [`Wall`] as RFC 3339 text, for what people read (`#[serde(with = "rfc3339")]`). On disk it stays a number.
pub mod rfc3339 {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Wall;

    /// Writes the moment as text.
    pub fn serialize<S: Serializer>(at: &Wall, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(at)
    }

    /// Reads it back.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Wall, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse::<jiff::Timestamp>().map(Wall::from).map_err(serde::de::Error::custom)
    }

    /// The same for a moment that may be missing.
    pub mod option {
        use super::{Deserialize, Deserializer, Serializer, Wall};

        /// Writes the moment as text, or null.
        pub fn serialize<S: Serializer>(at: &Option<Wall>, serializer: S) -> Result<S::Ok, S::Error> {
            match at {
                Some(at) => serializer.collect_str(at),
                None => serializer.serialize_none(),
            }
        }

        /// Reads it back.
        pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Wall>, D::Error> {
            let text = Option::<String>::deserialize(deserializer)?;
            text.map(|text| text.parse::<jiff::Timestamp>().map(Wall::from).map_err(serde::de::Error::custom))
                .transpose()
        }
    }
}

/// A moment of monotonic time: nanoseconds since the clock that made it was started.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Mono(u64);

impl Mono {
    /// The moment `nanos` nanoseconds after the clock's start.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock's start.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; zero when it lies in the future.
    pub fn since(self, earlier: Mono) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// One instant on both clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Now {
    /// Monotonic time, for short rates.
    pub mono: Mono,
    /// Wall time, for days, expiries and everything that is written down.
    pub wall: Wall,
}

/// Where `now` comes from. Shells hold one; pure code is handed its result.
pub trait Clock: Send + Sync + 'static {
    /// The present instant.
    fn now(&self) -> Now;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: std::time::Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { start: std::time::Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        Now {
            mono: Mono(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)),
            wall: Wall::from(jiff::Timestamp::now()),
        }
    }
}

/// A clock that stands still until it is told to move; clones share it.
#[derive(Clone, Debug)]
pub struct ManualClock {
    start_millis: i64,
    elapsed_nanos: Arc<AtomicU64>,
}

impl ManualClock {
    /// A clock that shows `start` and has just been started.
    pub fn at(start: Wall) -> Self {
        Self { start_millis: start.0, elapsed_nanos: Arc::default() }
    }

    /// Moves both clocks forward by `span`.
    pub fn advance(&self, span: Duration) {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        self.elapsed_nanos.fetch_add(nanos, Ordering::SeqCst);
    }

    /// Moves forward to `wall`; does nothing when it is already past.
    pub fn advance_to(&self, wall: Wall) {
        self.advance(wall.since(self.now().wall));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Now {
        let nanos = self.elapsed_nanos.load(Ordering::SeqCst);
        Now { mono: Mono(nanos), wall: Wall(self.start_millis).plus(Duration::from_nanos(nanos)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manual_clock_moves_both_clocks_together() {
        let clock = ManualClock::at(Wall::from_millis(1_000));
        clock.advance(Duration::from_millis(250));
        let now = clock.now();
        assert_eq!(now.wall, Wall::from_millis(1_250));
        assert_eq!(now.mono, Mono::from_nanos(250_000_000));
    }

    #[test]
    fn moments_are_text_for_people_and_come_back() {
        #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        struct Shown {
            #[serde(with = "rfc3339")]
            at: Wall,
            #[serde(with = "rfc3339::option")]
            until: Option<Wall>,
        }
        let shown = Shown { at: Wall::from_millis(1_250), until: None };
        let text = serde_json::to_string(&shown).expect("serialises");
        assert_eq!(text, r#"{"at":"1970-01-01T00:00:01.250Z","until":null}"#);
        assert_eq!(serde_json::from_str::<Shown>(&text).expect("reads"), shown);
    }

    #[test]
    fn wall_arithmetic_saturates() {
        assert_eq!(Wall::from_millis(5).since(Wall::from_millis(9)), Duration::ZERO);
        assert_eq!(Wall::from_millis(i64::MAX).plus(Duration::from_secs(1)), Wall::from_millis(i64::MAX));
        assert_eq!(Wall::from_millis(0).to_string(), "1970-01-01T00:00:00.000Z");
    }
}
