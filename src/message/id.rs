//! Names and numbers that say what they name.
//!
//! Names are cheap to clone (`Arc<str>`), compare by text and never mix: a pool's name does not fit where a binding's
//! is asked. Ids are 64-bit numbers that grow with time: the upper bits are milliseconds, the lower ones a counter, so
//! that records lie on disk in the order of their arrival. They are printed in base 32, 13 letters, as in `0dq3k7z9x2m1a`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Wall;

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(transparent)]
        #[schema(value_type = String)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Makes a name of `text` as it is; syntax is the configuration's business.
            pub fn new(text: impl AsRef<str>) -> Self {
                Self(Arc::from(text.as_ref()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self::new(text)
            }
        }
    )+};
}

names! {
    /// A binding: name + source address + EHLO name + limits (Momentum's word).
    BindingName,
    /// A pool of bindings.
    PoolName,
    /// Whose mail it is.
    TenantName,
    /// Kind of mail of a tenant: transactional, marketing, …
    StreamName,
    /// A group of MX patterns, such as gmail.
    ProviderName,
    /// A DNSBL zone, by its configured name (never by its DNS name: that may hold a key).
    ZoneName,
    /// The receiver as a limit key: a provider's name, or `site:` and the folded MX set.
    DestinationName,
}

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const COUNTER_BITS: u32 = 20;

fn write_base32(f: &mut fmt::Formatter<'_>, mut value: u64) -> fmt::Result {
    let mut text = [0u8; 13];
    for slot in text.iter_mut().rev() {
        *slot = ALPHABET[(value & 31) as usize];
        value >>= 5;
    }
    f.pad(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
}

fn read_base32(text: &str) -> Result<u64, BadId> {
    if text.len() != 13 {
        return Err(BadId);
    }
    text.bytes().try_fold(0u64, |value, byte| {
        let digit = ALPHABET.iter().position(|&c| c == byte.to_ascii_lowercase()).ok_or(BadId)?;
        value.checked_mul(32).map(|v| v | digit as u64).ok_or(BadId)
    })
}

/// Text that is no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id: expected 13 letters and digits as printed by `remuda queue list`")]
pub struct BadId;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_base32(f, self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_base32(f, self.0)
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                read_base32(text).map(Self)
            }
        }
    )+};
}

ids! {
    /// One accepted message: the key of its body in the spool.
    MessageId,
    /// One group of a message's recipients that share pool and recipient domain: the unit the queue moves.
    EntryId,
}

impl MessageId {
    /// When the message was accepted, to the millisecond; a little later where the clock had been set back.
    pub fn time(self) -> Wall {
        // 44 bits always fit.
        Wall::from_millis((self.0 >> COUNTER_BITS) as i64)
    }
}

/// Hands out ids that grow and never repeat, also when the wall clock is set back.
///
/// Pure: start it after recovery with the largest id found, so that a restart within the same millisecond or with a
/// clock that went back does not repeat one.
#[derive(Debug, Default, Clone)]
pub struct IdSource {
    last: u64,
}

impl IdSource {
    /// A source whose ids are all greater than `last`.
    pub fn after(last: u64) -> Self {
        Self { last }
    }

    /// The next id.
    pub fn next(&mut self, now: Wall) -> u64 {
        let by_time = u64::try_from(now.as_millis()).unwrap_or(0) << COUNTER_BITS;
        self.last = by_time.max(self.last.saturating_add(1));
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_print_and_parse_back() {
        for value in [0, 1, 31, 32, u64::MAX, 1_795_000_000_000 << COUNTER_BITS] {
            let id = EntryId(value);
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert_eq!("zzzzzzzzzzzzz".parse::<EntryId>(), Err(BadId));
        assert_eq!("".parse::<EntryId>(), Err(BadId));
    }

    #[test]
    fn a_message_id_knows_when_it_was_made() {
        let at = Wall::from_millis(1_795_000_000_123);
        assert_eq!(MessageId(IdSource::default().next(at)).time(), at);
    }

    #[test]
    fn ids_grow_even_when_the_clock_goes_back() {
        let mut source = IdSource::after(7);
        let first = source.next(Wall::from_millis(1_000));
        let second = source.next(Wall::from_millis(1));
        assert!(second > first && first > 7);
    }
}
