//! What has been told about one message already, so that nothing counts twice and nobody is flooded.
//!
//! A report comes more than once: the reporter lost our `250`, two hosts of the receiver bounce the same mail, a mailbox
//! provider and its filter both complain. And a mark can be read off any message that was delivered, so that whoever got
//! one mail could send a thousand bounces about it, and, being tried again and again, collect a mark with each attempt.
//! So all marks of a message to one destination share their bounds, set by the largest number of recipients among them
//! (a message goes to each destination in attempts of its own, and a receiver sees only those to itself):
//!
//! | what | at most |
//! |---|---|
//! | bounces that are evidence | recipients |
//! | complaints that are evidence | recipients |
//! | bounces known by their recipient, evidence or not | recipients + [`MORE_BOUNCES`] |
//! | bounces and notes of delay passed on to the sender | recipients + [`MORE_REPORTS`] |
//! | other mail passed on to the sender | recipients + [`MORE_OTHERS`] |
//!
//! More bounces are passed on than believed, since an address may stand for several (an alias, a list) and a forger may
//! have been first. A report that claims more (`Incidents: 4000000000`) is believed as far as that.
//!
//! Recipients are kept as hashes: enough to know one again. A bounce that names none (RFC 6590, prose) is known again by
//! its mark and its text.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher24;

use crate::message::MessageId;

/// Bounces that are told apart beyond the recipients of the message.
pub const MORE_BOUNCES: u32 = 5;
/// Reports on deliveries passed on beyond the recipients of the message.
pub const MORE_REPORTS: u32 = 5;
/// Other mail passed on beyond the recipients of the message.
pub const MORE_OTHERS: u32 = 2;

/// What a bounce is after those that came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Not heard before.
    New,
    /// Heard before.
    Known,
    /// Not heard before, but more than there can be.
    TooMany,
}

/// What has been told about one message. On disk it is the fact [`Told::key`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// By the destination of the marks.
    by_destination: BTreeMap<u32, About>,
    /// The record could not be read: everything counts as told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    closed: bool,
}

/// About a message's attempts to reach one destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct About {
    /// Most recipients of any attempt.
    recipients: u32,
    /// Bounces heard.
    heard: u32,
    /// Those of them that are evidence.
    bounces: u32,
    complaints: u32,
    /// Reports and other mail passed on.
    reports: u32,
    others: u32,
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

    fn about(&mut self, mark: &Mark<'_>) -> &mut About {
        let about = self.by_destination.entry(mark.destination).or_default();
        about.recipients = about.recipients.max(u32::from(mark.recipients)).max(1);
        about
    }

    /// Hears a bounce on the word of `mark`, of the recipient with these `names` (original and final address, either may
    /// be missing); one without a name is known by its `text`.
    pub fn hears(&mut self, mark: &Mark<'_>, names: &[&str], text: &str) -> News {
        let hashes = match names {
            [] => vec![mark.hash(text)],
            _ => mark.hashes(names),
        };
        let mut all = self.by_destination.values();
        if self.closed || all.any(|about| hashes.iter().any(|hash| about.bounced.contains(hash))) {
            return News::Known;
        }
        let about = self.about(mark);
        if about.heard >= about.recipients + MORE_BOUNCES {
            return News::TooMany;
        }
        about.heard += 1;
        about.bounced.extend(hashes);
        News::New
    }

    /// Whether one more bounce is believed on the word of `mark`; then it is counted.
    pub fn believes(&mut self, mark: &Mark<'_>) -> bool {
        let about = self.about(mark);
        let believed = about.bounces < about.recipients;
        about.bounces += u32::from(believed);
        believed
    }

    /// Notes `incidents` complaints on the word of `mark`, by the people of these `names` where the report says who. How
    /// many of them are news.
    pub fn complaints(&mut self, mark: &Mark<'_>, names: &[&str], incidents: u32) -> u32 {
        let hashes = mark.hashes(names);
        let mut all = self.by_destination.values();
        if self.closed || all.any(|about| hashes.iter().any(|hash| about.complained.contains(hash))) {
            return 0;
        }
        let about = self.about(mark);
        let news = incidents.max(1).min(about.recipients.saturating_sub(about.complaints));
        about.complaints += news;
        if news > 0 {
            about.complained.extend(hashes);
        }
        news
    }

    /// Whether one more mail that came to `mark` is passed on, a `report` on a delivery or another; then it is counted.
    pub fn passes_on(&mut self, mark: &Mark<'_>, report: bool) -> bool {
        if self.closed {
            return false;
        }
        let about = self.about(mark);
        let (passed, more) = if report { (&mut about.reports, MORE_REPORTS) } else { (&mut about.others, MORE_OTHERS) };
        let passes = *passed < about.recipients + more;
        *passed += u32::from(passes);
        passes
    }
}

/// The mark on whose word something is told.
#[derive(Clone, Copy, Debug)]
pub struct Mark<'a> {
    /// Its text, in any case.
    pub text: &'a str,
    /// Its message.
    pub message: MessageId,
    /// Its destination, as it is sealed in it.
    pub destination: u32,
    /// Recipients of its attempt; 255 also stands for more, and is believed as 255.
    pub recipients: u8,
}

impl Mark<'_> {
    fn hash(&self, text: &str) -> u64 {
        hash(self.message, b'm', &format!("{} {text}", self.text))
    }

    fn hashes(&self, names: &[&str]) -> Vec<u64> {
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

    fn mark(text: &str, recipients: u8) -> Mark<'_> {
        Mark { text, message: MessageId(5), destination: 1, recipients }
    }

    fn named(n: u32) -> String {
        format!("user{n}@x.example")
    }

    #[test]
    fn a_recipient_bounces_once_whatever_it_is_called() {
        let mut told = Told::default();
        let (first, second) = (mark("one", 3), Mark { destination: 2, ..mark("two", 3) });
        assert_eq!(told.hears(&first, &["a@x.example", "alias@x.example"], ""), News::New);
        assert_eq!(told.hears(&first, &["A@X.example "], "other words"), News::Known);
        assert_eq!(told.hears(&second, &["alias@x.example"], ""), News::Known, "not by another mark either");
        assert_eq!(told.hears(&second, &["b@x.example"], ""), News::New);
        // Those without a name are known by mark and text.
        let nameless = [(&first, "full"), (&second, "full"), (&first, "Full"), (&first, "unknown")];
        let heard = nameless.map(|(mark, text)| told.hears(mark, &[], text));
        assert_eq!(heard, [News::New, News::New, News::Known, News::New]);
    }

    #[test]
    fn all_marks_to_one_destination_share_the_bounds_of_the_largest() {
        for (recipients, believed) in [(0, 1), (1, 1), (2, 2), (254, 254), (255, 255)] {
            let mut told = Told::default();
            let texts: Vec<String> = (0..400).map(|n| n.to_string()).collect();
            let marks: Vec<Mark<'_>> = texts.iter().map(|text| mark(text, recipients)).collect();
            let heard = marks.iter().zip(0..).filter(|(mark, n)| told.hears(mark, &[&named(*n)], "") == News::New);
            assert_eq!(heard.count() as u32, believed + MORE_BOUNCES);
            assert_eq!(marks.iter().filter(|mark| told.believes(mark)).count() as u32, believed);
            assert_eq!(marks.iter().map(|mark| told.complaints(mark, &[], 9)).sum::<u32>(), believed);
            let passed =
                |told: &mut Told, report| marks.iter().filter(|mark| told.passes_on(mark, report)).count() as u32;
            assert_eq!(passed(&mut told, true), believed + MORE_REPORTS);
            assert_eq!(passed(&mut told, false), believed + MORE_OTHERS);
            // Another destination is another receiver.
            let elsewhere = Mark { destination: 2, ..mark("elsewhere", 1) };
            assert!(told.believes(&elsewhere) && told.passes_on(&elsewhere, true));
        }
        let mut told = Told::default();
        assert!(told.believes(&mark("one", 1)) && !told.believes(&mark("two", 1)) && told.believes(&mark("three", 2)));
    }

    #[test]
    fn the_same_person_complains_once() {
        let mut told = Told::default();
        let many = mark("one", 200);
        assert_eq!(told.complaints(&many, &["a@x.example"], 1), 1);
        assert_eq!(told.complaints(&many, &["a@x.example"], 1), 0);
        assert_eq!(told.complaints(&many, &[], 0), 1, "nobody is named: another");
        assert_eq!(told.complaints(&many, &[], 4_000_000_000), 198);
    }

    #[test]
    fn what_is_stored_is_read_back_and_rubbish_counts_as_told() {
        let mut told = Told::default();
        told.hears(&mark("one", 3), &["a@x.example"], "");
        told.complaints(&mark("two", 3), &[], 2);
        told.passes_on(&mark("two", 3), true);
        assert_eq!(Told::read(Some(&told.to_json())), told);
        assert_eq!(Told::read(None), Told::default());
        for bad in [&b""[..], b"{}x", b"{\"marks\":{}}", b"{\"by_destination\":7}"] {
            let mut told = Told::read(Some(bad));
            assert_eq!(told.hears(&mark("one", 3), &["a@x.example"], ""), News::Known);
            assert_eq!(told.complaints(&mark("one", 3), &[], 1), 0);
            assert!(!told.passes_on(&mark("one", 3), false));
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
        fn never_more_than_the_recipients_is_believed(
            tellings in proptest::collection::vec((0u32..4, any::<bool>(), any::<u32>()), 0..60),
            recipients in any::<u8>(),
        ) {
            let mut told = Told::default();
            let (mut bounces, mut complaints) = (0, 0);
            for (who, is_named, incidents) in tellings {
                let mark = mark("one", recipients);
                let name = named(who);
                let names: &[&str] = if is_named { &[&name] } else { &[] };
                if told.hears(&mark, names, "text") == News::New {
                    bounces += u32::from(told.believes(&mark));
                }
                complaints += told.complaints(&mark, names, incidents);
                told = Told::read(Some(&told.to_json()));
            }
            let most = u32::from(recipients.max(1));
            prop_assert!(bounces <= most.min(5) && complaints <= most);
        }
    }
}
