//! Finding what a filter means: the words of a request, the walk through the queue, the look at the disk.
//!
//! What the last attempt was answered is known to the disk alone. So the other conditions are asked first, and of what they
//! leave the records are read one after the other, oldest first, until the time or the number of looks is used up; the
//! answer then says where it stopped.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::Sources;
use crate::admin::problem::Problem;
use crate::admin::status::SLICE;
use crate::clock::Wall;
use crate::config::DomainPattern;
use crate::config::units::parse_duration;
use crate::message::{DestinationName, Domain, Entry, EntryId, PoolName, TenantName};
use crate::queue::core::select::{Filter, Found};

/// Ids in one request at most.
const IDS_MAX: usize = 10_000;
/// Octets of a condition at most.
const TEXT_MAX: usize = 500;

/// Which entries. All conditions that are given must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FilterText {
    /// Whose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// From which pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Where to: a provider's name, or that of a site as the listing shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// The recipients' domain: a name, or all below one (`*.example.org`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// In the queue for at least this long: `90m`, `2d`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub older_than: Option<String>,
    /// Why it waits, as the listing shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Part of what the last attempt was answered, in any case of letters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply: Option<String>,
}

impl FilterText {
    fn named(&self) -> [(&'static str, &Option<String>); 7] {
        [
            ("tenant", &self.tenant),
            ("pool", &self.pool),
            ("destination", &self.destination),
            ("domain", &self.domain),
            ("older than", &self.older_than),
            ("waits for", &self.reason),
            ("reply", &self.reply),
        ]
    }

    /// Whether there is no condition at all.
    pub(super) fn is_empty(&self) -> bool {
        self.named().iter().all(|(_, text)| text.is_none())
    }

    /// In words, for people.
    pub(super) fn words(&self) -> String {
        let conditions = self.named().into_iter().filter_map(|(name, text)| Some(format!("{name} {}", text.as_ref()?)));
        conditions.collect::<Vec<_>>().join(", ")
    }
}

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    /// Answered from memory.
    pub(super) filter: Filter,
    /// Answered from disk: lower case.
    pub(super) reply: Option<String>,
    /// Only what came after this one.
    pub(super) after: Option<EntryId>,
    /// Nothing that came after this one.
    pub(super) until: Option<EntryId>,
}

/// How much is looked at on disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effort {
    looks: usize,
    time: Duration,
}

impl Effort {
    /// For a listing.
    pub(super) const LOOK: Self = Self { looks: 50_000, time: Duration::from_secs(5) };
    /// For an act.
    pub(super) const ACT: Self = Self { looks: 100_000, time: Duration::from_secs(8) };
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Matched {
    /// Oldest first, each once.
    pub(super) all: Vec<Found>,
    /// The last entry that was looked at, where there are more, and why it stopped.
    pub(super) stopped: Option<(EntryId, String)>,
}

impl Asked {
    /// Reads the words of a request.
    pub(super) fn of(ids: &[String], text: &FilterText, now: Wall) -> Result<Self, Problem> {
        for (name, value) in text.named() {
            if value.as_ref().is_some_and(|value| value.is_empty() || value.len() > TEXT_MAX) {
                return Err(Problem::bad(format!("{name}: from 1 to {TEXT_MAX} octets")));
            }
        }
        if ids.len() > IDS_MAX {
            return Err(Problem::bad(format!("{} ids: at most {IDS_MAX} at a time", ids.len())));
        }
        let ids = ids.iter().map(|id| cursor(id).map(|id| id.0)).collect::<Result<_, _>>()?;
        let older_than = text.older_than.as_deref().map(parse_duration).transpose();
        let older_than = older_than.map_err(|error| Problem::bad(format!("older_than: {error}")))?;
        let before = |span: Duration| {
            let span = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
            Wall::from_millis(now.as_millis().saturating_sub(span))
        };
        let filter = Filter {
            ids: Some(ids).filter(|ids: &std::collections::HashSet<u64>| !ids.is_empty()),
            tenant: text.tenant.as_ref().map(TenantName::new),
            pool: text.pool.as_ref().map(PoolName::new),
            destination: text.destination.as_ref().map(DestinationName::new),
            domain: text.domain.as_deref().map(pattern).transpose()?,
            arrived_by: older_than.map(before),
            reason: text.reason.clone(),
        };
        Ok(Self { filter, reply: text.reply.as_ref().map(|reply| reply.to_lowercase()), after: None, until: None })
    }
}

/// An id, as the listing shows it.
pub(super) fn cursor(text: &str) -> Result<EntryId, Problem> {
    text.trim().parse().map_err(|error| Problem::bad(format!("{text:?}: {error}")))
}

fn pattern(text: &str) -> Result<DomainPattern, Problem> {
    let domain = |name: &str| {
        let wrong = || Problem::bad(format!("domain {text:?}: write a name, or *.name for all below it"));
        name.parse::<Domain>().map_err(|_| wrong())
    };
    match text.strip_prefix("*.") {
        _ if text == "*" => Ok(DomainPattern::Any),
        Some(below) => domain(below).map(DomainPattern::Below),
        None => domain(text).map(DomainPattern::Exact),
    }
}

/// All that is meant. Blocks; the core is let go on between two slices.
pub(super) fn all(sources: &Sources, asked: &Asked, effort: Effort) -> Matched {
    let mut all = in_memory(sources, &asked.filter);
    if let Some(after) = asked.after {
        all.retain(|found| found.id > after);
    }
    if let Some(until) = asked.until {
        all.retain(|found| found.id <= until);
    }
    match &asked.reply {
        None => Matched { all, stopped: None },
        Some(reply) => with_reply(sources, all, reply, effort),
    }
}

fn in_memory(sources: &Sources, filter: &Filter) -> Vec<Found> {
    let dispatcher = &sources.dispatcher;
    let mut found = Vec::new();
    if let Some(ids) = &filter.ids {
        let is_entry = |core: &crate::queue::core::Core| {
            let entries: Vec<EntryId> = ids.iter().copied().map(EntryId).filter(|id| core.has_entry(*id)).collect();
            let meant: Vec<Found> = entries.iter().filter_map(|id| core.select_one(filter, *id)).collect();
            (entries.len(), meant)
        };
        let (known, meant) = dispatcher.with_core(is_entry);
        found = meant;
        if known == ids.len() {
            return sorted(found);
        }
        // The others may be messages, whose entries are found by looking at all.
    }
    let mut before = usize::MAX;
    while before > 0 {
        before = dispatcher.with_core(|core| core.select(filter, before, SLICE, &mut found));
    }
    let mut last = None;
    while let Some(next) = dispatcher.with_core(|core| core.select_stranded(filter, last, SLICE, &mut found)) {
        last = Some(next);
    }
    sorted(found)
}

fn sorted(mut found: Vec<Found>) -> Vec<Found> {
    found.sort_unstable_by_key(|found| found.id);
    found.dedup_by_key(|found| found.id);
    found
}

fn with_reply(sources: &Sources, all: Vec<Found>, reply: &str, effort: Effort) -> Matched {
    let (began, count) = (sources.dispatcher.now().mono, all.len());
    let mut matched = Matched::default();
    for (at, found) in all.into_iter().enumerate() {
        if let Ok(Some(entry)) = sources.dispatcher.spool().entry(found.id)
            && has_reply(&entry, reply)
        {
            matched.all.push(found);
        }
        let looked = at + 1;
        let is_over = looked >= effort.looks || sources.dispatcher.now().mono.since(began) > effort.time;
        if is_over && looked < count {
            let why = format!("replies are read from the disk: {looked} of {count} entries were looked at");
            matched.stopped = Some((found.id, why));
            return matched;
        }
    }
    matched
}

fn has_reply(entry: &Entry, wanted: &str) -> bool {
    let replies = entry.recipients.iter().filter_map(|recipient| recipient.state.last_reply.as_deref());
    replies.into_iter().any(|reply| reply.to_lowercase().contains(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_and_wrong_ones_refused_in_words() {
        let now = Wall::from_millis(10_000_000);
        let read = |text: FilterText| Asked::of(&[], &text, now).map(|asked| asked.filter);
        let domain = |text: &str| FilterText { domain: Some(text.into()), ..FilterText::default() };
        let below = read(domain("*.Example.org")).expect("a pattern").domain.expect("given");
        assert!(below.matches("mail.example.org") && !below.matches("example.org"), "{below:?}");
        let exact = read(domain("example.org")).expect("a name").domain.expect("given");
        assert!(exact.matches("example.org") && !exact.matches("mail.example.org"));
        let old = FilterText { older_than: Some("1h30m".into()), ..FilterText::default() };
        assert_eq!(read(old).expect("a span").arrived_by, Some(Wall::from_millis(10_000_000 - 5_400_000)));
        let ancient = FilterText { older_than: Some("3650d".into()), ..FilterText::default() };
        assert!(read(ancient).is_ok(), "before time began");
        for (text, words) in [
            (domain("a..b"), "write a name"),
            (domain("*.*"), "write a name"),
            (FilterText { older_than: Some("5 parsecs".into()), ..FilterText::default() }, "older_than"),
            (FilterText { tenant: Some(String::new()), ..FilterText::default() }, "tenant"),
            (FilterText { reply: Some("x".repeat(501)), ..FilterText::default() }, "reply"),
        ] {
            let refused = read(text).expect_err("wrong");
            assert!(refused.detail.contains(words), "{}", refused.detail);
        }
        assert!(Asked::of(&["no id".into()], &FilterText::default(), now).is_err());
        assert!(Asked::of(&vec!["0000000000001".into(); IDS_MAX + 1], &FilterText::default(), now).is_err());
    }
}
