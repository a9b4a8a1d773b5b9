//! Grants on the spool: the durable [`Grants`].
//!
//! ```text
//!   grant/<key>                our own, as the dispatcher writes it and the start reads it
//!   grant-of/<key> <holder>    anyone else's, on a spool that several share
//! ```
//!
//! A key has no space in it, so the first one ends it, whatever the holder is called; all holders of one key lie side by
//! side, which is what a raise has to read. Reading and writing need `&mut`: nobody else may write grants to this spool
//! meanwhile.
//!
//! The dispatcher does not go through here. It submits the same facts ([`GrantFact::to_json`]) to the committer, where
//! grants of many keys, new mail and results share one sync; a raise here costs a read and a sync of its own, and answers
//! a question that a single holder never has: what the others took. What both need — form, and what a fact says of a day
//! — is in one place, [`GrantFact`].

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Op, Spool, SpoolError};
use crate::scheduler::cap::grants::{allot, record, total_on};
use crate::scheduler::cap::{GrantFact, GrantRequest, Grants};

const OF_OTHERS: &str = "grant-of/";

/// Grants as facts of a spool. See the [module](self).
pub struct SpoolGrants {
    spool: Arc<dyn Spool>,
    own: String,
}

impl SpoolGrants {
    /// Grants on `spool`, where `own` is the holder whose facts are those of this host.
    pub fn new(spool: Arc<dyn Spool>, own: impl Into<String>) -> Self {
        Self { spool, own: own.into() }
    }

    fn fact_key(&self, key: &str, holder: &str) -> String {
        if holder == self.own { format!("{}{key}", GrantFact::PREFIX) } else { format!("{OF_OTHERS}{key} {holder}") }
    }

    /// Everyone's last record of a key.
    fn records(&self, key: &str) -> Result<BTreeMap<String, GrantFact>, SpoolError> {
        let mut records = BTreeMap::new();
        let own = self.fact_key(key, &self.own);
        if let Some(value) = self.spool.fact(&own)? {
            records.insert(self.own.clone(), read(key, &own, &value)?);
        }
        let prefix = format!("{OF_OTHERS}{key} ");
        for (fact, value) in self.spool.facts(&prefix)? {
            records.insert(fact[prefix.len()..].to_owned(), read(key, &fact, &value)?);
        }
        Ok(records)
    }
}

fn read(key: &str, fact: &str, value: &[u8]) -> Result<GrantFact, SpoolError> {
    GrantFact::read(key, value).map_err(|error| SpoolError::Corrupt { key: fact.to_owned(), detail: error.detail })
}

impl Grants for SpoolGrants {
    type Error = SpoolError;

    /// See the trait. Nothing is given where one of the key's records cannot be read.
    fn raise(&mut self, holder: &str, limit: u64, request: &GrantRequest) -> Result<GrantFact, SpoolError> {
        let records = self.records(&request.key)?;
        let before = records.get(holder);
        let granted = allot(holder, limit, request, &records);
        let Some(after) = record(before, request, granted) else {
            return Ok(GrantFact::new(&*request.key, request.day, total_on(before, request.day)));
        };
        if before != Some(&after) {
            let fact = Op::PutFact(self.fact_key(&request.key, holder), after.to_json());
            self.spool.commit(&[vec![fact]])?;
        }
        Ok(after)
    }

    fn holdings(&self, holder: &str) -> Result<Vec<GrantFact>, SpoolError> {
        let is_own = holder == self.own;
        let facts = self.spool.facts(if is_own { GrantFact::PREFIX } else { OF_OTHERS })?;
        let of_holder = |(fact, value): (String, Vec<u8>)| {
            let key = if is_own {
                fact.strip_prefix(GrantFact::PREFIX)?
            } else {
                fact.strip_prefix(OF_OTHERS)?.split_once(' ').filter(|(_, name)| *name == holder)?.0
            };
            Some(GrantFact::read(key, &value).unwrap_or_else(|unreadable| unreadable.fact))
        };
        Ok(facts.into_iter().filter_map(of_holder).collect())
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::clock::Wall;
    use crate::config;
    use crate::scheduler::cap::grants::{Subject, contract};
    use crate::scheduler::cap::{Calendar, Ledger, Owner};
    use crate::store::fjall::{FjallOptions, FjallSpool};
    use crate::store::memory::MemorySpool;

    struct InMemory(Arc<MemorySpool>);

    impl Subject for InMemory {
        type Grants = SpoolGrants;
        fn open(&self) -> SpoolGrants {
            SpoolGrants::new(self.0.clone(), "a")
        }
    }

    struct OnDisk(tempfile::TempDir);

    impl Subject for OnDisk {
        type Grants = SpoolGrants;
        fn open(&self) -> SpoolGrants {
            let spool = FjallSpool::open(self.0.path(), FjallOptions::default()).expect("opens");
            SpoolGrants::new(Arc::new(spool), "a")
        }
    }

    #[test]
    fn on_the_spool_in_memory_it_keeps_the_contract() {
        contract(|| InMemory(Arc::new(MemorySpool::new())));
    }

    #[test]
    fn on_disk_it_keeps_the_contract_with_a_restart_between_all_requests() {
        contract(|| OnDisk(tempfile::tempdir().expect("directory")));
    }

    #[test]
    fn a_raise_that_could_not_be_written_gave_nothing() {
        let spool = Arc::new(MemorySpool::new());
        let mut grants = SpoolGrants::new(spool.clone(), "a");
        let ask = |granted| GrantRequest::new("tenant/x", date(2026, 5, 1), granted);
        spool.set_broken(Some("cable"));
        assert_eq!(grants.raise("b", 100, &ask(40)), Err(SpoolError::Io("cable".into())));
        spool.set_broken(None);
        assert_eq!(grants.raise("a", 100, &ask(100)).expect("raise").granted, 100);
        let commits = spool.commits();
        assert_eq!(grants.raise("a", 100, &ask(100)).expect("raise").granted, 100);
        assert_eq!(spool.commits(), commits, "nothing new is nothing to write");
    }

    #[test]
    fn what_cannot_be_read_gives_nothing_and_counts_as_used_up() {
        let spool = Arc::new(MemorySpool::new());
        let rubbish = |key: &str| Op::PutFact(key.to_owned(), b"rubbish".to_vec());
        spool.commit(&[vec![rubbish("grant/tenant/x"), rubbish("grant-of/tenant/y b")]]).expect("commits");
        let mut grants = SpoolGrants::new(spool, "a");
        for key in ["tenant/x", "tenant/y"] {
            let refused = grants.raise("a", 100, &GrantRequest::new(key, date(2026, 5, 1), 1));
            assert!(matches!(refused, Err(SpoolError::Corrupt { .. })), "{refused:?}");
        }
        for holder in ["a", "b"] {
            let holdings = grants.holdings(holder).expect("holdings");
            assert!(holdings[0].counts_on(date(2026, 5, 1)) > u64::MAX / 4, "{holdings:?}");
        }
    }

    /// The ledger's own requests, given by the spool, and a crash after each.
    #[test]
    fn a_ledger_goes_on_from_the_spool_after_every_crash() {
        let calendar = || Calendar::new(&config::Day { timezone: jiff::tz::TimeZone::UTC, starts: Default::default() });
        let noon = Wall::from_millis(1_779_280_200_000);
        let disk = OnDisk(tempfile::tempdir().expect("directory"));
        let mut sent = 0;
        for _ in 0..12 {
            let mut grants = disk.open();
            let mut ledger = Ledger::new(calendar(), &grants.holdings("a").expect("holdings"), noon);
            let id = ledger.open(Owner::Tenant("acme".into()), 100);
            ledger.ask_for_first();
            for request in ledger.take_requests() {
                ledger.granted(&grants.raise("a", 100, &request).expect("raise"));
            }
            while let Some(reservation) = ledger.reserve(id, 7) {
                sent += ledger.account(id).reserved();
                ledger.settle(reservation, 7);
                for request in ledger.take_requests().into_iter().filter(|_| sent % 3 > 0) {
                    ledger.granted(&grants.raise("a", 100, &request).expect("raise"));
                }
            }
        }
        assert!((44..=100).contains(&sent), "{sent}");
    }
}
