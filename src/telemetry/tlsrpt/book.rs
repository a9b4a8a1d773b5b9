//! Counts by day, domain, policy and kind of failure. Pure.
//!
//! Everything has a bound: what would go beyond is counted without its particulars, and past the last bound only its number
//! is known. Days are those of UTC (RFC 8460 §4.1).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::clock::Wall;
use crate::delivery::policy::ruling::Policy;
use crate::delivery::tls::policy::Excluded;
use crate::message::Domain;
use crate::store::{Batch, Op};

/// Kind of the facts.
pub const FACTS: &str = "tlsrpt/";

/// A session, or why there was none.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Domain of the recipients.
    pub domain: &'a Domain,
    /// The policy that the host was held to.
    pub policy: &'a Policy,
    /// The host.
    pub host: Option<&'a str>,
    /// Our address.
    pub local: Option<IpAddr>,
    /// The host's.
    pub remote: Option<IpAddr>,
    /// What was not as the policy has it.
    pub failure: Option<&'a Excluded>,
}

impl<'a> Seen<'a> {
    /// A policy that could not be fetched.
    pub fn unfetched(domain: &'a Domain, failure: &'a Excluded) -> Self {
        Self { domain, policy: &Policy::None, host: None, local: None, remote: None, failure: Some(failure) }
    }
}

/// A day of UTC.
pub type Day = jiff::civil::Date;

/// Days that counts are kept, today not counted.
pub const KEPT_DAYS: i32 = 7;
/// Domains of a day.
const DOMAINS_MAX: usize = 10_000;
/// Policies of a domain on one day.
const POLICIES_MAX: usize = 32;
/// Kinds of failures of a policy that are told apart.
const FAILURES_MAX: usize = 100;
/// Octets kept of an explanation.
const DETAIL_MAX: usize = 300;

/// What was counted of a domain on a day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// By policy.
    pub policies: Vec<PolicyCount>,
}

/// Of one policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyCount {
    /// `sts` or `tlsa`.
    pub kind: String,
    /// Whose policy it is: the domain, or the name of the TLSA records.
    pub domain: String,
    /// Its lines or records.
    pub strings: Vec<String>,
    /// Patterns of MX hosts; empty for TLSA.
    pub mx: Vec<String>,
    /// Sessions that kept to it.
    pub successful: u64,
    /// Sessions that did not, and policies that could not be fetched.
    pub failed: u64,
    /// The failures, told apart.
    pub failures: Vec<FailureCount>,
}

/// Of one kind of failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureCount {
    /// Result type (RFC 8460 §4.3).
    pub result: String,
    /// Our address.
    pub local: Option<IpAddr>,
    /// The host.
    pub host: Option<String>,
    /// Its address.
    pub remote: Option<IpAddr>,
    /// In words, of the first of them.
    pub detail: String,
    /// How many.
    pub count: u64,
}

/// All counts.
#[derive(Debug, Default)]
pub struct Book {
    days: BTreeMap<Day, BTreeMap<Domain, Counted>>,
    changed: BTreeSet<(Day, Domain)>,
    removed: Vec<String>,
    left_out: u64,
}

impl Book {
    /// Counts one.
    pub fn count(&mut self, seen: &Seen<'_>, now: Wall) {
        let day = day_of(now);
        let domains = self.days.entry(day).or_default();
        if domains.len() >= DOMAINS_MAX && !domains.contains_key(seen.domain) {
            self.left_out += 1;
            return;
        }
        if domains.entry(seen.domain.clone()).or_default().count(seen) {
            self.changed.insert((day, seen.domain.clone()));
        } else {
            self.left_out += 1;
        }
    }

    /// What was counted on a day, by domain.
    pub fn of(&self, day: Day) -> Vec<(Domain, Counted)> {
        let domains = self.days.get(&day);
        domains.into_iter().flatten().map(|(domain, counted)| (domain.clone(), counted.clone())).collect()
    }

    /// Days something was counted on, oldest first.
    pub fn days(&self) -> Vec<Day> {
        self.days.keys().copied().collect()
    }

    /// Sessions that were not counted since there were too many domains, or policies of one.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Takes over the facts of an earlier run; what cannot be read, in words.
    pub fn recall(&mut self, facts: &[(String, Vec<u8>)], now: Wall) -> Vec<String> {
        let (mut wrong, oldest) = (Vec::new(), oldest_at(now));
        for (key, value) in facts {
            match (place_of(key), serde_json::from_slice::<Counted>(value)) {
                (Some((day, domain)), Ok(counted)) if day >= oldest => {
                    self.days.entry(day).or_default().insert(domain, counted);
                }
                (Some(_), Ok(_)) => self.removed.push(key.clone()),
                (_, read) => {
                    let why = read.err().map_or_else(|| "no day and domain".to_owned(), |error| error.to_string());
                    wrong.push(format!("{key}: {why}"));
                    self.removed.push(key.clone());
                }
            }
        }
        wrong
    }

    /// Changes that are not on disk yet; they count as written now. Days that are over for long are forgotten.
    pub fn changes(&mut self, now: Wall) -> Batch {
        let kept = self.days.split_off(&oldest_at(now));
        for (day, domains) in std::mem::replace(&mut self.days, kept) {
            self.removed.extend(domains.keys().map(|domain| key_of(day, domain)));
        }
        let mut batch: Batch = self.removed.drain(..).map(Op::RemoveFact).collect();
        for (day, domain) in std::mem::take(&mut self.changed) {
            let counted = self.days.get(&day).and_then(|domains| domains.get(&domain));
            let json = counted.and_then(|counted| serde_json::to_vec(counted).ok());
            batch.extend(json.map(|json| Op::PutFact(key_of(day, &domain), json)));
        }
        batch
    }

    /// They are not: `changes` gives them again.
    pub fn not_written(&mut self, batch: &Batch) {
        for op in batch {
            match op {
                Op::PutFact(key, _) => self.changed.extend(place_of(key)),
                Op::RemoveFact(key) => self.removed.push(key.clone()),
                _ => {}
            }
        }
    }
}

impl Counted {
    /// Whether there was room for it.
    fn count(&mut self, seen: &Seen<'_>) -> bool {
        let (kind, domain, strings, mx) = match seen.policy {
            Policy::Sts(kept) => {
                let mx = kept.policy.mx.iter().map(ToString::to_string).collect();
                ("sts", seen.domain.to_string(), kept.policy.lines(), mx)
            }
            Policy::Tlsa { base, records } => ("tlsa", base.clone(), records.clone(), Vec::new()),
            // A policy that is there by its record and could not be fetched.
            Policy::None => ("sts", seen.domain.to_string(), Vec::new(), Vec::new()),
        };
        let known = self.policies.iter().position(|p| p.kind == kind && p.domain == domain && p.strings == strings);
        let at = known.unwrap_or(self.policies.len());
        if at == self.policies.len() && at < POLICIES_MAX {
            let kind = kind.to_owned();
            self.policies.push(PolicyCount { kind, domain, strings, mx, ..PolicyCount::default() });
        }
        let Some(policy) = self.policies.get_mut(at) else { return false };
        let Some(failure) = seen.failure else {
            policy.successful += 1;
            return true;
        };
        policy.failed += 1;
        policy.fail(&FailureCount {
            result: failure.result.as_str().to_owned(),
            local: seen.local,
            host: seen.host.map(str::to_owned),
            remote: seen.remote,
            detail: plain(&failure.detail),
            count: 1,
        });
        true
    }
}

impl PolicyCount {
    fn fail(&mut self, failure: &FailureCount) {
        let is_same = |one: &&mut FailureCount| {
            (&one.result, one.local, &one.host, one.remote)
                == (&failure.result, failure.local, &failure.host, failure.remote)
        };
        if let Some(known) = self.failures.iter_mut().find(is_same) {
            known.count += 1;
        } else if self.failures.len() < FAILURES_MAX {
            self.failures.push(failure.clone());
        } else if let Some(like) = self.failures.iter_mut().rfind(|one| one.result == failure.result) {
            like.count += 1;
        }
    }
}

/// Without control characters, and of bounded length.
fn plain(text: &str) -> String {
    let mut plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    while plain.len() > DETAIL_MAX {
        plain.pop();
    }
    plain
}

/// The day of a moment.
pub fn day_of(now: Wall) -> Day {
    now.timestamp().to_zoned(jiff::tz::TimeZone::UTC).date()
}

fn oldest_at(now: Wall) -> Day {
    let today = day_of(now);
    today.checked_sub(jiff::Span::new().days(KEPT_DAYS)).unwrap_or(today)
}

fn key_of(day: Day, domain: &Domain) -> String {
    format!("{FACTS}{day}/{domain}")
}

fn place_of(key: &str) -> Option<(Day, Domain)> {
    let (day, domain) = key.strip_prefix(FACTS)?.split_once('/')?;
    Some((day.parse().ok()?, domain.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    use crate::delivery::policy::sts::{Kept, StsPolicy};
    use crate::delivery::tls::demand::TlsResult;

    /// 2027-01-15T08:00:00Z
    const START: Wall = Wall::from_millis(1_800_000_000_000);

    fn domain(name: &str) -> Domain {
        name.parse().unwrap()
    }

    fn sts() -> Policy {
        let text = b"version: STSv1\nmode: testing\nmx: *.example.org\nmax_age: 86400\n";
        let policy = StsPolicy::parse(text).unwrap();
        Policy::Sts(Arc::new(Kept { id: "1".to_owned(), policy, fetched: START }))
    }

    fn expired() -> Excluded {
        Excluded { result: TlsResult::CertificateExpired, detail: "old\u{1b}[1m".to_owned() }
    }

    fn seen<'a>(domain: &'a Domain, policy: &'a Policy, failure: Option<&'a Excluded>) -> Seen<'a> {
        let address = |last| Some(IpAddr::from([192, 0, 2, last]));
        Seen { domain, policy, host: Some("mx.example.org"), local: address(1), remote: address(25), failure }
    }

    fn later(days: u64) -> Wall {
        START.plus(Duration::from_secs(days * 86_400))
    }

    /// Another run's book after this one's changes.
    fn recalled(batch: &Batch, now: Wall) -> Book {
        let facts = batch.iter().filter_map(|op| match op {
            Op::PutFact(key, value) => Some((key.clone(), value.clone())),
            _ => None,
        });
        let mut book = Book::default();
        assert_eq!(book.recall(&facts.collect::<Vec<_>>(), now), Vec::<String>::new());
        book
    }

    #[test]
    fn equal_failures_are_one_with_a_count() {
        let (domain, policy, failure) = (domain("example.org"), sts(), expired());
        let mut book = Book::default();
        for failure in [None, Some(&failure), Some(&failure), None, None] {
            book.count(&seen(&domain, &policy, failure), START);
        }
        book.count(&Seen::unfetched(&domain, &failure), START);
        let counted = book.of(day_of(START));
        let [(_, Counted { policies })] = counted.as_slice() else { panic!("{counted:?}") };
        assert_eq!(policies.len(), 2, "one has no lines, since it could not be fetched");
        assert_eq!((policies[0].successful, policies[0].failed, policies[0].failures.len()), (3, 2, 1));
        let one = &policies[0].failures[0];
        assert_eq!((one.count, one.result.as_str(), one.detail.as_str()), (2, "certificate-expired", "old [1m"));
        assert_eq!((policies[1].failed, policies[1].strings.len()), (1, 0));
    }

    #[test]
    fn counts_survive_a_restart_and_end_after_a_week() {
        let (domain, policy) = (domain("example.org"), sts());
        let mut book = Book::default();
        book.count(&seen(&domain, &policy, None), START);
        let batch = book.changes(START);
        assert_eq!(batch.len(), 1);
        assert!(book.changes(START).is_empty(), "written once");
        book.not_written(&batch);
        assert_eq!(book.changes(START), batch);
        let mut book = recalled(&batch, later(7));
        book.count(&seen(&domain, &policy, None), START);
        assert_eq!(book.of(day_of(START))[0].1.policies[0].successful, 2, "it goes on where it was");
        assert_eq!(book.changes(later(7)).len(), 1);
        assert_eq!(book.changes(later(8)), [Op::RemoveFact("tlsrpt/2027-01-15/example.org".to_owned())]);
        assert!(book.days().is_empty());
        let mut late = recalled(&batch, later(9));
        assert!(late.days().is_empty());
        assert_eq!(late.changes(later(9)).len(), 1, "what came too late goes from the disk");
    }

    #[test]
    fn what_cannot_be_read_is_said_and_removed() {
        let mut book = Book::default();
        let facts =
            [("tlsrpt/2027-01-15/example.org".to_owned(), b"{".to_vec()), ("tlsrpt/x".to_owned(), b"{}".to_vec())];
        assert_eq!(book.recall(&facts, START).len(), 2);
        assert_eq!(book.changes(START).len(), 2);
    }

    #[test]
    fn a_flood_stays_within_bounds_and_is_still_counted() {
        let (domain, policy, failure) = (domain("example.org"), sts(), expired());
        let mut counted = Counted::default();
        for at in 0..1_000_u32 {
            let mut seen = seen(&domain, &policy, Some(&failure));
            seen.remote = Some(IpAddr::from(at.to_be_bytes()));
            assert!(counted.count(&seen));
        }
        let policy = &counted.policies[0];
        assert_eq!((policy.failed, policy.failures.len()), (1_000, FAILURES_MAX));
        assert_eq!(policy.failures.iter().map(|one| one.count).sum::<u64>(), 1_000);
        for at in 0..100 {
            let policy = Policy::Tlsa { base: format!("mx{at}.example.org"), records: Vec::new() };
            assert_eq!(counted.count(&seen(&domain, &policy, None)), at + 1 < POLICIES_MAX, "{at}");
        }
        assert_eq!(counted.policies.len(), POLICIES_MAX);
        assert!(counted.policies[1..].iter().all(|one| one.successful == 1), "nobody is given another's sessions");
        let mut book = Book::default();
        for at in 0..DOMAINS_MAX + 5 {
            book.count(&seen(&format!("d{at}.example").parse().unwrap(), &Policy::None, None), START);
        }
        assert_eq!((book.of(day_of(START)).len(), book.left_out()), (DOMAINS_MAX, 5));
    }
}
