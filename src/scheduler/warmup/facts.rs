//! What is written down of a ladder, so that a restart goes on from there.
//!
//! One fact for each ladder, `warmup/BINDING` or `warmup/BINDING/PROVIDER` with slashes and per cent signs of names written
//! as `%2F` and `%25`, so that no two names share a key. The value is JSON and repeats the names.
//!
//! A tally is written at most every few minutes, so a crash forgets some of it. What was accepted may be forgotten: the
//! day has then used less. What speaks against the address must not be, so it is written *ahead* ([`ahead`]), like a
//! grant: the fact says a quarter more blame than there was, and is written anew when there is more than it says. A clean
//! stop writes the exact figures.

use serde::{Deserialize, Serialize};

use super::reserve::Reserve;
use super::stage::{Progress, Tally};
use crate::message::{BindingName, ProviderName};
use crate::reputation::BadFact;

/// Prefix of the keys.
pub const PREFIX: &str = "warmup/";

/// A fact's value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Whose ladder.
    pub binding: BindingName,
    /// Towards whom; `None` for the binding as a whole.
    pub provider: Option<ProviderName>,
    /// Where it stands.
    #[serde(flatten)]
    pub progress: Progress,
    /// What is known of the binding's engaged mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engaged: Option<Reserve>,
}

impl Record {
    /// Key of the fact.
    pub fn key(&self) -> String {
        key(&self.binding, self.provider.as_ref())
    }

    /// Value of the fact.
    pub fn bytes(&self) -> Vec<u8> {
        // Names, dates and numbers always serialise; an empty fact would be reported as unreadable, and begin anew.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// Key of a ladder's fact.
pub fn key(binding: &BindingName, provider: Option<&ProviderName>) -> String {
    let mut key = PREFIX.to_owned();
    push(&mut key, binding.as_str());
    if let Some(provider) = provider {
        key.push('/');
        push(&mut key, provider.as_str());
    }
    key
}

/// Adds a name in which no slash is left.
pub(in crate::scheduler) fn push(key: &mut String, name: &str) {
    for c in name.chars() {
        match c {
            '/' => key.push_str("%2F"),
            '%' => key.push_str("%25"),
            c => key.push(c),
        }
    }
}

/// Reads a fact back.
pub fn read(key: &str, bytes: &[u8]) -> Result<Record, BadFact> {
    serde_json::from_slice(bytes).map_err(|source| BadFact { key: key.to_owned(), source })
}

/// The tally with more against the address than there is yet.
pub fn ahead(tally: Tally) -> Tally {
    let more = |count: u64| count + count / 4;
    Tally { blamed: more(tally.blamed), deferred: more(tally.deferred), ..tally }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::WarmupStart;
    use crate::scheduler::warmup::ladder::Ladder;
    use jiff::civil::date;

    fn record(binding: &str, provider: Option<&str>) -> Record {
        let ladder = Ladder::new(&[200, 500], 1.5);
        let progress = Progress::begin(WarmupStart::Started(date(2026, 11, 1)), &ladder, date(2026, 11, 3));
        Record { binding: binding.into(), provider: provider.map(ProviderName::new), progress, engaged: None }
    }

    #[test]
    fn a_fact_is_plain_json_and_comes_back() {
        let record = record("mta1", Some("gmail"));
        let text = String::from_utf8(record.bytes()).expect("text");
        assert_eq!(
            text,
            "{\"binding\":\"mta1\",\"provider\":\"gmail\",\"origin\":{\"started\":\"2026-11-01\"},\"stage\":0,\
             \"allowance\":200,\"day\":\"2026-11-03\",\"accepted\":0,\"blamed\":0,\"deferred\":0,\"is_struck\":false,\
             \"is_barred\":false,\"last_mail\":\"2026-11-03\",\"cooled\":0,\"is_suspended\":false,\"is_held\":false}"
        );
        assert_eq!(read("k", text.as_bytes()).expect("fact"), record);
        assert!(read("k", b"{}").is_err());
    }

    #[test]
    fn no_two_ladders_share_a_key() {
        let names = ["a", "a/b", "b", "a%2Fb", "a/", "/b", "%"];
        let mut keys = std::collections::BTreeSet::new();
        for binding in names {
            for provider in std::iter::once(None).chain(names.map(Some)) {
                assert!(keys.insert(record(binding, provider).key()), "{binding} {provider:?}");
            }
        }
        assert_eq!(record("mta1", Some("gmail")).key(), "warmup/mta1/gmail");
    }

    #[test]
    fn the_disk_knows_of_more_blame_than_there_is() {
        for (counted, written) in [(0, 0), (1, 1), (3, 3), (4, 5), (100, 125)] {
            let tally = ahead(Tally { accepted: 7, blamed: counted, deferred: counted, ..Tally::default() });
            assert_eq!((tally.accepted, tally.blamed, tally.deferred), (7, written, written));
        }
    }
}
