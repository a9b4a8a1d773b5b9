//! The blast radius: how many of our addresses a list may newly name before it is the list that is doubted.
//!
//! A list that dies loudly names everybody; so does one that lists a whole network of ours, and rightly. The two are told
//! apart by what is *not* listed: the probes and the sentinels are clean (that is checked before), the listed addresses
//! lie side by side in one or two networks, nothing clean between those of a run, and somebody else was seen clean in the
//! same time. Such a listing is believed, after twice the confirmations. Everything else above the limit counts against
//! the list.
//!
//! Where all of our addresses lie in the network that is listed, nobody is left to be seen clean. Then a receiver's reply
//! that names just this list for one of them stands in: somebody believes it and refuses our mail. The probes alone do not,
//! for however long they are good: a broken list that spares its test entries looks just so, and a listing for which nobody
//! refuses anything costs nothing while it waits.
//!
//! Bindings behind one address are one address; a domain and those below it are one domain.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::cell::{Cell, NAMED_FOR};
use super::{Note, Seen, Watched};
use crate::clock::Wall;
use crate::config;
use crate::monitor::answer::AnswerClass;
use crate::monitor::subject::Subject;

/// Newly listed subjects that are always believed.
const ALWAYS: usize = 3;

/// Networks (/24, /48) that may be listed at the same time and still be a listing of networks.
const NETWORKS_MAX: usize = 2;

/// Listed addresses per run of neighbours, on average; with fewer they are single addresses here and there.
const PER_RUN: usize = 3;

/// Who is listed and who is not, of all subjects of a zone. Of several that are one, the greatest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// Listed for long, or not known.
    Other,
    /// Seen clean lately.
    Clean,
    /// On the list, newly.
    New,
    /// The same, and a receiver's reply has named the list.
    Named,
}

impl Standing {
    fn is_new(self) -> bool {
        self >= Self::New
    }
}

/// What the number of new listings means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Blast {
    /// Few: single addresses.
    Few,
    /// These networks, as it seems.
    Networks(String),
    /// More than is believable.
    TooMany { new: usize, all: usize },
}

/// Judges how many are new. `address` is `None` for what is no address; `sentinels` of our own were seen clean.
pub(super) fn judge(standings: &[(Option<IpAddr>, Standing)], sentinels: usize, share: f64) -> Blast {
    let (all, new) = (standings.len(), standings.iter().filter(|(_, standing)| standing.is_new()).count());
    if new as f64 <= (share * all as f64).max(ALWAYS as f64) {
        return Blast::Few;
    }
    match networks(standings, sentinels) {
        Some(networks) => Blast::Networks(networks),
        None => Blast::TooMany { new, all },
    }
}

/// The networks that are listed, if it is networks that are.
fn networks(standings: &[(Option<IpAddr>, Standing)], sentinels: usize) -> Option<String> {
    let clean = standings.iter().filter(|(_, standing)| *standing == Standing::Clean).count();
    let named = standings.iter().any(|(_, standing)| *standing == Standing::Named);
    // Somebody must be there to tell a listing of networks from one of everybody.
    if sentinels == 0 && !named && clean * 2 < standings.len() {
        return None;
    }
    let known = standings.iter().filter(|(_, standing)| *standing != Standing::Other);
    let mut known: Vec<(IpAddr, bool)> = known.filter_map(|(a, s)| Some(((*a)?.to_canonical(), s.is_new()))).collect();
    known.sort_unstable();
    let runs = runs(&known)?;
    let new = known.iter().filter(|(_, is_new)| *is_new).count();
    let mut wide: Vec<IpNet> = runs.iter().map(|run| run.wide).collect();
    wide.dedup();
    if runs.is_empty() || wide.len() > NETWORKS_MAX || new < PER_RUN * runs.len() {
        return None;
    }
    let is_clean = |network: &IpNet| known.iter().any(|(address, is_new)| !is_new && network.contains(address));
    let text = |run: &Run| match run.tightest() {
        Some(network) if !is_clean(&network) => network.to_string(),
        _ => format!("{} to {}", run.first, run.last),
    };
    Some(runs.iter().map(text).collect::<Vec<_>>().join(", "))
}

/// Listed addresses of one wide network with nothing clean among them.
struct Run {
    wide: IpNet,
    first: IpAddr,
    last: IpAddr,
}

impl Run {
    /// The smallest network that holds it.
    fn tightest(&self) -> Option<IpNet> {
        let lengths = self.wide.prefix_len()..=self.wide.max_prefix_len();
        let of = |length| IpNet::new(self.first, length).ok().map(|network| network.trunc());
        lengths.rev().filter_map(of).find(|network| network.contains(&self.last))
    }
}

/// The runs of listed ones among `known`, which is sorted.
fn runs(known: &[(IpAddr, bool)]) -> Option<Vec<Run>> {
    let mut runs: Vec<Run> = Vec::new();
    let mut goes_on = false;
    for &(address, is_new) in known {
        if is_new {
            let wide = IpNet::new(address, if address.is_ipv4() { 24 } else { 48 }).ok()?.trunc();
            match runs.last_mut().filter(|run| goes_on && run.wide == wide) {
                Some(run) => run.last = address,
                None => runs.push(Run { wide, first: address, last: address }),
            }
        }
        goes_on = is_new;
    }
    Some(runs)
}

impl Watched {
    fn cycle(&self, rules: &config::Monitor) -> Duration {
        self.rules.round_every(self.cells.len()).mul_f64(1.0 + rules.jitter.clamp(0.0, 1.0))
    }

    pub(super) fn blast(
        &self,
        seen: &Seen,
        addresses: &BTreeMap<Subject, IpAddr>,
        rules: &config::Monitor,
        now: Wall,
    ) -> Blast {
        let cycle = self.cycle(rules);
        let listed_now: BTreeMap<&Subject, bool> = seen
            .answers
            .iter()
            .map(|(subject, answer)| (subject, matches!(answer, AnswerClass::Listed { .. })))
            .collect();
        let named_for = NAMED_FOR.max(cycle.saturating_mul(4));
        let new = |cell: &Cell| if cell.is_named(named_for, now) { Standing::Named } else { Standing::New };
        let standing = |subject: &Subject, cell: &Cell| {
            let lately = |at: Option<Wall>| at.is_some_and(|at| now.since(at) <= cycle);
            match listed_now.get(subject) {
                Some(true) if !cell.is_listed() => new(cell),
                _ if lately(cell.on_list_since()) => new(cell),
                Some(false) => Standing::Clean,
                None if lately(cell.last_clean) && !cell.is_listed() => Standing::Clean,
                _ => Standing::Other,
            }
        };
        let mut standings: BTreeMap<(Option<IpAddr>, &str), Standing> = BTreeMap::new();
        for (subject, cell) in &self.cells {
            let who = match subject {
                Subject::Binding(binding) | Subject::Second(binding, _) => match addresses.get(subject) {
                    Some(address) => (Some(address.to_canonical()), ""),
                    None => (None, binding.as_str()),
                },
                Subject::Domain(domain) => (None, self.topmost(domain)),
            };
            let standing = standing(subject, cell);
            standings.entry(who).and_modify(|known| *known = standing.max(*known)).or_insert(standing);
        }
        let standings: Vec<(Option<IpAddr>, Standing)> =
            standings.into_iter().map(|((address, _), standing)| (address, standing)).collect();
        let clean_sentinels = seen.sentinels.iter().filter(|(_, answer)| *answer == AnswerClass::NotListed).count();
        judge(&standings, clean_sentinels, rules.blast_radius)
    }

    /// The uppermost of the domains asked about that stands above `domain`, or itself.
    fn topmost<'d>(&self, domain: &'d str) -> &'d str {
        let is_asked = |name: &str| self.cells.contains_key(&Subject::Domain(name.to_owned()));
        let above = domain.match_indices('.').map(|(at, _)| &domain[at + 1..]);
        above.rev().find(|name| is_asked(name)).unwrap_or(domain)
    }

    /// It is doubted because it names too many at once, not because it is dead: what it has said since before the doubt
    /// and goes on saying does not lapse.
    pub(super) fn still_says(&mut self, seen: &Seen, now: Wall) {
        for (subject, answer) in &seen.answers {
            if let Some(cell) = self.cells.get_mut(subject) {
                cell.stands(answer, now);
            }
        }
    }

    pub(super) fn note_networks(&mut self, blast: &Blast, notes: &mut Vec<Note>) {
        let networks = if let Blast::Networks(networks) = blast { networks.as_str() } else { "" };
        if self.networks != networks {
            self.networks = networks.to_owned();
            if !networks.is_empty() {
                notes.push(Note::Networks { zone: self.name.clone(), networks: networks.to_owned() });
            }
        }
    }

    /// It is distrusted: what it said within the same cycle goes, what it had said before stands.
    pub(super) fn doubt(&mut self, rules: &config::Monitor, now: Wall) {
        let cycle = self.cycle(rules);
        for cell in self.cells.values_mut() {
            if cell.seen.is_some_and(|(first, _)| now.since(first) <= cycle) {
                cell.forget();
            }
            cell.pending = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 192.0.2.1 to .50, of which those from `from` to `to` are newly listed.
    fn herd(from: u8, to: u8) -> Vec<(Option<IpAddr>, Standing)> {
        let standing = |n: u8| if (from..=to).contains(&n) { Standing::New } else { Standing::Clean };
        (1..=50).map(|n| (Some(IpAddr::from([192, 0, 2, n])), standing(n))).collect()
    }

    #[test]
    fn a_network_is_believed_where_somebody_outside_is_clean() {
        let networks = |text: &str| Blast::Networks(text.to_owned());
        let many = |new| Blast::TooMany { new, all: 50 };
        // (herd, sentinels seen clean, what it is)
        let with_hole = || {
            let mut herd = herd(16, 31);
            herd[19].1 = Standing::Clean;
            herd
        };
        let spread = || {
            let far = |n: u8| (Some(IpAddr::from([10, n, 0, 1])), Standing::New);
            let clean = |n: u8| (Some(IpAddr::from([192, 0, 2, n])), Standing::Clean);
            (0..20).map(far).chain((0..30).map(clean)).collect::<Vec<_>>()
        };
        let marked = |new: &dyn Fn(u8) -> bool| {
            let standing = |n: u8| if new(n) { Standing::New } else { Standing::Clean };
            (1..=50).map(|n| (Some(IpAddr::from([192, 0, 2, n])), standing(n))).collect::<Vec<_>>()
        };
        let two_runs = || marked(&|n| (8..16).contains(&n) || (32..=40).contains(&n));
        let here_and_there = || marked(&|n| n % 3 == 0 || n == 50);
        let all_named = || {
            let mut herd = herd(1, 50);
            herd[7].1 = Standing::Named;
            herd
        };
        let unknown = || {
            let mut herd = herd(16, 31);
            herd.iter_mut().filter(|(_, s)| *s == Standing::Clean).for_each(|(_, s)| *s = Standing::Other);
            herd
        };
        let table = [
            (herd(1, 3), 0, Blast::Few),
            (herd(1, 15), 0, Blast::Few),
            (herd(16, 31), 0, networks("192.0.2.16/28")),
            (herd(17, 32), 0, networks("192.0.2.17 to 192.0.2.32")),
            (two_runs(), 0, networks("192.0.2.8/29, 192.0.2.32 to 192.0.2.40")),
            (here_and_there(), 0, many(17)),
            (all_named(), 0, networks("192.0.2.0/26")),
            (with_hole(), 2, Blast::Few),
            (herd(1, 50), 0, many(50)),
            (herd(1, 50), 2, networks("192.0.2.0/26")),
            (unknown(), 0, many(16)),
            (unknown(), 1, networks("192.0.2.16/28")),
            (spread(), 2, many(20)),
        ];
        for (herd, sentinels, expected) in table {
            assert_eq!(judge(&herd, sentinels, 0.3), expected, "{sentinels} {herd:?}");
        }
    }

    #[test]
    fn domains_are_no_networks() {
        let all = vec![(None, Standing::New); 5];
        assert_eq!(judge(&all, 3, 0.3), Blast::TooMany { new: 5, all: 5 });
        assert_eq!(judge(&all[..3], 0, 0.3), Blast::Few);
    }
}
