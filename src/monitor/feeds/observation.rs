//! What somebody else said of an address, a range, a domain, a tenant or a binding, and how much it is worth.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::{Wall, rfc3339};

/// Characters of a raw row that are kept.
const RAW_CHARS: usize = 500;
/// Characters of a name that somebody else chose.
const NAME_CHARS: usize = 255;

/// Whom an observation is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// An address.
    Address(IpAddr),
    /// First and last address of a range, of one family and in order.
    Range(IpAddr, IpAddr),
    /// A domain, in lower case.
    Domain(String),
    /// A tenant of ours, by name.
    Tenant(String),
    /// A binding of ours, by name.
    Binding(String),
}

// `Scope` as the document of the interface has it, where addresses are text.
/// Whom an observation is about.
#[derive(ToSchema)]
#[schema(as = ObservationScope, rename_all = "snake_case")]
#[expect(dead_code, reason = "only its form is asked for")]
enum ScopeText {
    /// An address.
    Address(String),
    /// First and last address of a range.
    Range(Vec<String>),
    /// A domain, in lower case.
    Domain(String),
    /// A tenant of ours, by name.
    Tenant(String),
    /// A binding of ours, by name.
    Binding(String),
}

impl Scope {
    /// A range, if it is one.
    pub fn range(first: IpAddr, last: IpAddr) -> Option<Self> {
        (first.is_ipv4() == last.is_ipv4() && first <= last).then_some(Self::Range(first, last))
    }

    /// Whether it is about this address.
    pub fn holds(&self, address: IpAddr) -> bool {
        match self {
            Self::Address(own) => *own == address,
            Self::Range(first, last) => first.is_ipv4() == address.is_ipv4() && (*first..=*last).contains(&address),
            Self::Domain(_) | Self::Tenant(_) | Self::Binding(_) => false,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Range(first, last) => write!(f, "{first}-{last}"),
            Self::Domain(name) | Self::Tenant(name) | Self::Binding(name) => f.write_str(name),
        }
    }
}

/// How a number is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ObservationBound)]
pub enum Bound {
    /// It is the value.
    Exact,
    /// The value is less ("< 0.1%").
    Below,
    /// The value is more.
    Above,
}

/// A value, or a bound of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = ObservationValue)]
pub struct Value {
    /// Always finite. Shares are from 0 to 1.
    pub number: f64,
    /// How it is meant.
    pub bound: Bound,
}

impl Value {
    /// This very value.
    pub fn exact(number: f64) -> Self {
        Self { number, bound: Bound::Exact }
    }

    /// Whether it is above `limit` for certain.
    pub fn is_above(self, limit: f64) -> bool {
        match self.bound {
            Bound::Exact => self.number > limit,
            Bound::Above => self.number >= limit,
            Bound::Below => false,
        }
    }

    /// Whether it is below `limit` for certain.
    pub fn is_below(self, limit: f64) -> bool {
        match self.bound {
            Bound::Exact => self.number < limit,
            Bound::Below => self.number <= limit,
            Bound::Above => false,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.bound {
            Bound::Exact => "",
            Bound::Below => "< ",
            Bound::Above => "> ",
        };
        write!(f, "{sign}{}", self.number)
    }
}

/// By this name it is not taken for any JSON.
type Measured = Value;

/// One thing that was said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = FeedObservation)]
pub struct Observation {
    /// Of whom.
    #[schema(value_type = ScopeText)]
    pub scope: Scope,
    /// What was measured.
    pub metric: String,
    /// What came of it.
    #[schema(value_type = Measured)]
    pub value: Value,
    /// Begin of the period it is about.
    #[serde(with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub begins: Wall,
    /// End of it: from here on it ages. Never later than `fetched`.
    #[serde(with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub ends: Wall,
    /// When we were told.
    #[serde(with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub fetched: Wall,
    /// The row as it came, clipped and without control characters.
    pub raw: String,
}

impl Observation {
    /// An observation about a period; one that ends in the future ends now, or it would never age.
    pub fn new(scope: Scope, metric: &str, value: Value, (begins, ends): (Wall, Wall), raw: &str, now: Wall) -> Self {
        let ends = ends.min(now);
        Self { scope, metric: metric.to_owned(), value, begins: begins.min(ends), ends, fetched: now, raw: clip(raw) }
    }
}

/// As much of a text as is kept; nothing in it may move a terminal's cursor.
pub(super) fn clip(text: &str) -> String {
    visible(text, RAW_CHARS)
}

/// A name that somebody else chose.
pub(super) fn clip_name(text: &str) -> String {
    visible(text.trim(), NAME_CHARS)
}

fn visible(text: &str, most: usize) -> String {
    // Besides controls, marks that turn the direction of writing.
    let is_odd = |c: char| {
        c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().take(most).map(|c| if is_odd(c) { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_proves_only_what_lies_on_its_side() {
        let below = Value { number: 0.001, bound: Bound::Below };
        let above = Value { number: 0.001, bound: Bound::Above };
        assert!(!below.is_above(0.0) && below.is_below(0.001) && !below.is_below(0.0005));
        assert!(above.is_above(0.001) && !above.is_above(0.002) && !above.is_below(9.0));
        assert!(!Value::exact(0.001).is_above(0.001) && Value::exact(0.002).is_above(0.001));
    }

    #[test]
    fn ranges_are_of_one_family_and_in_order() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(Scope::range(ip("192.0.2.9"), ip("192.0.2.1")), None);
        assert_eq!(Scope::range(ip("192.0.2.1"), ip("2001:db8::1")), None);
        let range = Scope::range(ip("192.0.2.1"), ip("192.0.2.9")).unwrap();
        assert!(range.holds(ip("192.0.2.9")) && !range.holds(ip("192.0.2.10")) && !range.holds(ip("::1")));
    }

    #[test]
    fn what_is_kept_of_a_row_is_short_and_harmless() {
        let now = Wall::from_millis(1000);
        let odd = "\u{1b}[2J\u{202e}".repeat(400);
        let seen = Observation::new(
            Scope::Domain("a".into()),
            "m",
            Value::exact(1.0),
            (now, now.plus(std::time::Duration::MAX)),
            &odd,
            now,
        );
        assert_eq!((seen.raw.chars().count(), seen.ends), (500, now), "nothing ends in the future");
        assert!(!seen.raw.chars().any(|c| c.is_control() || c == '\u{202e}'));
    }
}
