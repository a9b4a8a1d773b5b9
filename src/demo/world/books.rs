//! Who got what, once or more often: what the sum at the end is made of.
//!
//! A demo may run for days, so the logs of the receivers are emptied as it goes and each message of the traffic leaves one
//! bit.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::receivers::Receiver;
use crate::demo::sink::{Sink, Taken};

/// What arrived so far.
#[derive(Debug, Default)]
pub(super) struct Books {
    seen: Vec<u64>,
    /// Addresses that bindings of the relay have or had, with their names. Mail from elsewhere is another relay's business.
    pub(super) ours: BTreeMap<IpAddr, String>,
    /// Recipients of the traffic's messages, each counted once.
    pub(super) arrived: u64,
    /// Messages that arrived again.
    pub(super) twice: u64,
    /// Recipients of mail that somebody else sent through the relay.
    pub(super) others: u64,
    /// Reports of failed delivery.
    pub(super) reports: u64,
}

impl Books {
    /// Books what `receivers` and `elsewhere` took since the last time. `sent` are the numbers that the traffic has given
    /// out: an id beyond is somebody else's. `bindings` are those the relay has now: source address and name.
    pub(super) fn take(
        &mut self,
        receivers: &[Receiver],
        elsewhere: &Sink,
        bindings: impl IntoIterator<Item = (IpAddr, String)>,
        sent: u64,
    ) {
        self.ours.extend(bindings);
        let sinks = receivers.iter().map(|receiver| &receiver.sink).chain([elsewhere]);
        for taken in sinks.flat_map(Sink::take_log) {
            self.book(&taken, sent);
        }
    }

    fn book(&mut self, taken: &Taken, sent: u64) {
        if !self.ours.contains_key(&taken.source) {
            return;
        }
        let recipients = taken.recipients.len() as u64;
        let id = taken.id.as_ref().and_then(|id| id.parse().ok()).filter(|id: &u64| *id < sent);
        match id {
            // A report has a message of its own, and no number.
            _ if taken.reverse_path.is_empty() => self.reports += recipients,
            None => self.others += recipients,
            Some(id) if self.is_new(id) => self.arrived += recipients,
            Some(_) => self.twice += 1,
        }
    }

    fn is_new(&mut self, id: u64) -> bool {
        let (word, bit) = ((id / 64) as usize, 1 << (id % 64));
        if self.seen.len() <= word {
            self.seen.resize(word + 1, 0);
        }
        let known = self.seen[word] & bit != 0;
        self.seen[word] |= bit;
        !known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_arrives_is_booked_once_as_what_it_is() {
        let taken = |id: Option<&str>, path: &str, recipients: usize| Taken {
            source: IpAddr::from([127, 0, 0, 11]),
            ehlo: "".into(),
            reverse_path: path.into(),
            parameters: "".into(),
            recipients: vec!["u@x.example".into(); recipients],
            size: 1,
            id: id.map(Into::into),
            body: None,
            connection: 0,
            acknowledged: true,
            tls: false,
        };
        let mut books = Books { ours: [(IpAddr::from([127, 0, 0, 11]), "mta1".into())].into(), ..Books::default() };
        let mail = [
            (Some("0"), "a@b.example", 1),
            (Some("64"), "a@b.example", 1),
            (Some("0"), "a@b.example", 1),
            (Some("18446744073709551615"), "a@b.example", 2),
            (Some("x"), "a@b.example", 1),
            (None, "a@b.example", 1),
            (None, "", 1),
        ];
        for (id, path, recipients) in mail {
            books.book(&taken(id, path, recipients), 100);
        }
        books.book(&Taken { source: IpAddr::from([127, 0, 0, 99]), ..taken(Some("7"), "a@b.example", 1) }, 100);
        assert_eq!((books.arrived, books.twice, books.others, books.reports), (2, 1, 4, 1));
    }
}
