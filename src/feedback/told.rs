//! What has been told about one message already, so that nothing counts twice.
//!
//! A report comes more than once: the reporter lost our `250`, two hosts of the receiver bounce the same mail, a mailbox
//! provider and its filter both complain. And a mark can be read off any message that was delivered, so that whoever got
//! one mail could send a thousand bounces about it. Both are bounded here, per message: one bounce for each recipient,
//! and for each mark no more bounces, and no more complaints, than the attempt had recipients. A report that claims more
//! (`Incidents: 4000000000`) is believed as far as that.
//!
//! Recipients are kept as hashes: enough to know one again. One that the report does not name (RFC 6590) is known again
//! by its mark alone.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher24;

use crate::message::MessageId;

/// What is believed of an attempt whose mark says "255 or more recipients".
pub const MANY: u32 = 1000;

/// Most reports of each kind that are believed about an attempt of that many recipients.
pub fn limit(recipients: u8) -> u32 {
    match recipients {
        0 => 1,
        u8::MAX => MANY,
        some => u32::from(some),
    }
}

/// What has been told about one message. On disk it is the fact [`Told::key`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// By the hash of the mark.
    marks: BTreeMap<u64, OfMark>,
    /// The record could not be read: everything counts as told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    closed: bool,
}

/// About one attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct OfMark {
    bounces: u32,
    complaints: u32,
    /// Hashes of the recipients that bounced.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    bounced: BTreeSet<u64>,
    /// Hashes of those that complained.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    complained: BTreeSet<u64>,
}

impl Told {
    /// What their keys begin with.
    pub const PREFIX: &str = "told/";

    /// The fact's key. Keys lie in order of the messages' acceptance.
    pub fn key(message: MessageId) -> String {
        format!("{}{message}", Self::PREFIX)
    }

    /// The fact as it was stored. One that cannot be read any more counts as all told: a report is rather lost than
    /// counted twice.
    pub fn read(stored: Option<&[u8]>) -> Self {
        match stored {
            None => Self::default(),
            Some(json) => serde_json::from_slice(json).unwrap_or_else(|_| Self::unreadable()),
        }
    }

    /// Everything is told.
    pub fn unreadable() -> Self {
        Self { closed: true, ..Self::default() }
    }

    /// The fact's value.
    pub fn to_json(&self) -> Vec<u8> {
        // Numbers under numbers always serialise.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Notes a bounce of the recipient with these `names` (original and final address, either may be missing) on the
    /// word of `mark`. Whether it is news.
    pub fn bounce(&mut self, about: &Mark<'_>, names: &[&str]) -> bool {
        let hashes = about.hashes(names);
        if self.closed || self.marks.values().any(|of| hashes.iter().any(|hash| of.bounced.contains(hash))) {
            return false;
        }
        let of = self.marks.entry(about.hash()).or_default();
        if of.bounces >= about.limit {
            return false;
        }
        of.bounces += 1;
        of.bounced.extend(hashes);
        true
    }

    /// Notes `incidents` complaints on the word of `mark`, by the people of these `names` where the report says who. How
    /// many of them are news.
    pub fn complaints(&mut self, about: &Mark<'_>, names: &[&str], incidents: u32) -> u32 {
        let hashes = if names.is_empty() { Vec::new() } else { about.hashes(names) };
        if self.closed || self.marks.values().any(|of| hashes.iter().any(|hash| of.complained.contains(hash))) {
            return 0;
        }
        let of = self.marks.entry(about.hash()).or_default();
        let news = incidents.max(1).min(about.limit.saturating_sub(of.complaints));
        of.complaints += news;
        if news > 0 {
            of.complained.extend(hashes);
        }
        news
    }
}

/// The mark on whose word something is told.
#[derive(Clone, Copy, Debug)]
pub struct Mark<'a> {
    /// Its text, in any case.
    pub text: &'a str,
    /// Its message.
    pub message: MessageId,
    /// See [`limit`].
    pub limit: u32,
}

impl Mark<'_> {
    fn hash(&self) -> u64 {
        hash(self.message, b'm', self.text)
    }

    /// Of each name; of the mark where there is none.
    fn hashes(&self, names: &[&str]) -> Vec<u64> {
        if names.is_empty() {
            return vec![self.hash()];
        }
        names.iter().map(|name| hash(self.message, b'r', name)).collect()
    }
}

/// The same on every machine and in every version: it is stored.
fn hash(message: MessageId, kind: u8, text: &str) -> u64 {
    let mut hasher = SipHasher24::new_with_keys(message.0, u64::from(kind));
    hasher.write(text.trim().to_ascii_lowercase().as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mark(text: &str, limit: u32) -> Mark<'_> {
        Mark { text, message: MessageId(5), limit }
    }

    #[test]
    fn a_recipient_bounces_once_whatever_it_is_called() {
        let mut told = Told::default();
        let (first, second) = (mark("one", 3), mark("two", 3));
        assert!(told.bounce(&first, &["a@x.example", "alias@x.example"]));
        assert!(!told.bounce(&first, &["A@X.example "]));
        assert!(!told.bounce(&second, &["alias@x.example"]), "not by another attempt's mark either");
        assert!(told.bounce(&second, &["b@x.example"]));
        // Those without a name are known by the mark.
        assert!(told.bounce(&first, &[]) && told.bounce(&second, &[]));
        assert!(!told.bounce(&first, &[]));
    }

    #[test]
    fn no_mark_is_believed_beyond_the_recipients_of_its_attempt() {
        let mut told = Told::default();
        let two = mark("one", limit(2));
        let new = (0..10).filter(|n| told.bounce(&two, &[&format!("user{n}@x.example")])).count();
        assert_eq!(new, 2);
        assert_eq!(told.complaints(&two, &[], 1), 1);
        assert_eq!(told.complaints(&two, &[], 4_000_000_000), 1);
        assert_eq!(told.complaints(&two, &[], 1), 0);
        assert_eq!([limit(0), limit(1), limit(254), limit(255)], [1, 1, 254, MANY]);
    }

    #[test]
    fn the_same_person_complains_once() {
        let mut told = Told::default();
        let many = mark("one", limit(200));
        assert_eq!(told.complaints(&many, &["a@x.example"], 1), 1);
        assert_eq!(told.complaints(&many, &["a@x.example"], 1), 0);
        assert_eq!(told.complaints(&many, &[], 0), 1, "nobody is named: another");
    }

    #[test]
    fn what_is_stored_is_read_back_and_rubbish_counts_as_told() {
        let mut told = Told::default();
        told.bounce(&mark("one", 3), &["a@x.example"]);
        told.complaints(&mark("two", 3), &[], 2);
        assert_eq!(Told::read(Some(&told.to_json())), told);
        assert_eq!(Told::read(None), Told::default());
        for bad in [&b""[..], b"{}x", b"{\"marks\":7}"] {
            let mut told = Told::read(Some(bad));
            assert!(!told.bounce(&mark("one", 3), &["a@x.example"]));
            assert_eq!(told.complaints(&mark("one", 3), &[], 1), 0);
        }
    }

    #[test]
    fn hashes_stay_what_they_are_on_disk() {
        assert_eq!(hash(MessageId(5), b'r', "A@x.example"), hash(MessageId(5), b'r', "a@X.example"));
        assert_ne!(hash(MessageId(5), b'r', "a@x.example"), hash(MessageId(6), b'r', "a@x.example"));
        assert_eq!(hash(MessageId(5), b'r', "a@x.example"), HASH);
    }

    const HASH: u64 = 9_970_513_807_515_435_655;

    proptest! {
        #[test]
        fn never_more_than_the_limit_is_news(
            tellings in proptest::collection::vec((0u8..4, any::<bool>(), any::<u32>()), 0..60),
            recipients in any::<u8>(),
        ) {
            let mut told = Told::default();
            let mark = mark("one", limit(recipients));
            let (mut bounces, mut complaints) = (0, 0);
            for (who, named, incidents) in tellings {
                let name = format!("user{who}@x.example");
                let names: &[&str] = if named { &[&name] } else { &[] };
                bounces += u32::from(told.bounce(&mark, names));
                complaints += told.complaints(&mark, names, incidents);
                told = Told::read(Some(&told.to_json()));
            }
            prop_assert!(bounces <= limit(recipients).min(5));
            prop_assert!(complaints <= limit(recipients));
        }
    }
}
