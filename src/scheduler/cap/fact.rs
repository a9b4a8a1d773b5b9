//! What is written down about one key: the one form in which ledger, spool and authority speak of a count.
//!
//! A fact says what was granted of a day, and how much of it was *open* when it was written — not known to be accepted
//! and done with. The first number is what a restart on that day counts as used. The second is what a restart on a later
//! day counts: a lease that was on the wire at midnight may have been accepted after it, and every such lease lies within
//! the open part of the last fact written before it (see [`Ledger`](super::Ledger)).
//!
//! The fact of a key is overwritten by the next one. So it also carries, where there is one, the total of *another* day
//! that must not be forgotten: of the day on which a clock that was far wrong for a while will be right again, and at an
//! authority of several holders the days that some of them have not left yet.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

/// Days between two dates from which one of them is taken for the work of a wrong clock.
const FAR: i32 = 2;

/// More than any limit, and far from where sums end.
const EVERYTHING: u64 = u64::MAX / 2;

/// What is, or shall be, granted of one key on one day. Value of the fact `grant/<key>`, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantFact {
    /// Text of the [`Owner`](super::Owner).
    pub key: String,
    /// The calendar day it is for.
    pub day: Date,
    /// Total of the day in accepted recipients, everything granted before included.
    pub granted: u64,
    /// How much of it was not known to be accepted or given back for good when this was written. Absent in facts of
    /// earlier versions, which means 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub open: u64,
    /// Totals of other days, usually none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<(Date, u64)>,
}

/// A fact that has to be written before its allowance may be spent. The same shape as the fact itself.
pub type GrantRequest = GrantFact;

/// A record that is no fact of a grant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("count of a daily cap not readable: {detail}")]
pub struct Unreadable {
    /// What has to be assumed in its place: that everything is used up, for a cap must not be spent twice.
    pub fact: GrantFact,
    /// What is wrong with it.
    pub detail: String,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Whether two days lie so far apart that a clock must have been wrong on one of them, or the program away for days.
pub(super) fn are_far(a: Date, b: Date) -> bool {
    a.since(b).map_or(a != b, |span| span.get_days().abs() > FAR)
}

impl GrantFact {
    /// What the keys of all these facts begin with.
    pub const PREFIX: &str = "grant/";

    /// A fact with nothing open.
    pub fn new(key: impl Into<String>, day: Date, granted: u64) -> Self {
        Self { key: key.into(), day, granted, open: 0, others: Vec::new() }
    }

    /// Key of the durable fact.
    pub fn fact_key(&self) -> String {
        format!("{}{}", Self::PREFIX, self.key)
    }

    /// Value of the durable fact.
    pub fn to_json(&self) -> Vec<u8> {
        // Text, dates and numbers always serialise.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads the value of the fact of `key` (without its prefix).
    ///
    /// # Errors
    /// Where it is none (an empty value stands for a corrupt record); the error says what to count instead.
    pub fn read(key: &str, value: &[u8]) -> Result<Self, Unreadable> {
        match serde_json::from_slice::<Self>(value) {
            Ok(fact) => Ok(Self { key: key.to_owned(), ..fact }),
            Err(error) => Err(Unreadable { fact: Self::new(key, Date::MAX, EVERYTHING), detail: error.to_string() }),
        }
    }

    /// How much of `day` has to be counted as used when this fact is all that is known.
    ///
    /// Of a day shortly before the fact's own, of which it says nothing, everything: who asks is late.
    pub fn counts_on(&self, day: Date) -> u64 {
        if day == self.day {
            return self.granted;
        }
        let known = self.others.iter().find(|(other, _)| *other == day).map(|(_, total)| *total);
        match (are_far(self.day, day), known) {
            // The clock was wrong in between: what was granted meanwhile may have been accepted on this very day.
            (true, Some(total)) => total.saturating_add(self.granted).min(EVERYTHING),
            (false, Some(total)) => total,
            (_, None) if self.day < day => self.open.min(self.granted),
            (true, None) => self.granted,
            (false, None) => EVERYTHING,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    fn fact(text: &str) -> GrantFact {
        GrantFact::read("route/mta1/gmail", text.as_bytes()).expect("fact")
    }

    #[test]
    fn facts_are_json_with_a_plain_date_and_say_no_more_than_there_is() {
        let mut known = GrantFact::new("route/mta1/gmail", date(2026, 11, 1), 160);
        let text = r#"{"key":"route/mta1/gmail","day":"2026-11-01","granted":160}"#;
        assert_eq!(String::from_utf8(known.to_json()).expect("text"), text);
        assert_eq!(fact(text), known);
        assert_eq!(known.fact_key(), "grant/route/mta1/gmail");
        (known.open, known.others) = (16, vec![(date(2026, 10, 1), 7)]);
        let text =
            r#"{"key":"route/mta1/gmail","day":"2026-11-01","granted":160,"open":16,"others":[["2026-10-01",7]]}"#;
        assert_eq!(String::from_utf8(known.to_json()).expect("text"), text);
        assert_eq!(fact(text), known);
    }

    #[test]
    fn what_cannot_be_read_counts_as_used_up_on_every_day() {
        for value in [&b""[..], b"rubbish", br#"{"key":"x","day":"2026-11-01"}"#, br#"{"day":"yesterday","granted":1}"#]
        {
            let unreadable = GrantFact::read("tenant/acme", value).expect_err("unreadable");
            assert_eq!(unreadable.fact.key, "tenant/acme");
            assert!(unreadable.fact.counts_on(date(2026, 11, 1)) > u64::MAX / 4);
        }
    }

    #[test]
    fn the_count_of_a_day_by_the_last_fact_of_the_key() {
        let mut known = GrantFact::new("binding/mta1", date(2026, 5, 20), 100);
        known.open = 16;
        for (day, expected) in [
            (date(2026, 5, 20), 100),
            (date(2026, 5, 21), 16),
            (date(2026, 5, 22), 16),
            (date(2027, 5, 22), 16),
            (date(2026, 5, 19), EVERYTHING),
            (date(2026, 5, 1), 100),
        ] {
            assert_eq!(known.counts_on(day), expected, "{day}");
        }
        known.others = vec![(date(2026, 5, 19), 40), (date(2020, 1, 1), 30)];
        assert_eq!(known.counts_on(date(2026, 5, 19)), 40);
        assert_eq!(known.counts_on(date(2020, 1, 1)), 130, "back from a wrong clock");
    }
}
