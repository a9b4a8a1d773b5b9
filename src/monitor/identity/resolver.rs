//! Whether a resolver tells the truth, from what it said to questions whose answers are known.
//!
//! Everything else the monitor concludes stands on this. Four things go wrong with resolvers of real hosts, and each
//! makes lists look clean or everybody look listed:
//!
//! * protection against DNS rebinding takes answers from 127/8 away, and with them every listing (`loopback`);
//! * a provider or captive portal answers names that do not exist with an address of its own (`nxdomain`);
//! * it is a public resolver, which most lists refuse to answer (`public`);
//! * it does not answer (`answers`), or takes too long (`speed`).
//!
//! What is not proven is not claimed. Protection takes the answer and leaves the name, so what it does shows as NODATA:
//! NXDOMAIN is how lists die, and proves nothing about the resolver. *One* list without its test entry is a broken list,
//! unless another resolver has it; several at once, with none to the contrary, is the resolver. To the contrary speaks every
//! list that still answers from 127/8, also one with a key and one of domains, and one that was well in its last round. A
//! list's domain that answers with a public address may have been sold; a name that no registry has handed out cannot. A
//! resolver that proves to lie is not to be believed about listings, in either direction; one that is silent merely says
//! nothing, and a slow one is a pity.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use serde::Serialize;

use super::names::Grade;
use crate::monitor::answer::DnsOutcome;

/// What is said where there is nothing to test answers from 127/8 by.
pub const NO_LISTS: &str = "no list with a test entry is configured";

/// One of the checks of a resolver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ResolverCheck {
    /// It answers at all.
    Answers,
    /// In good time.
    Speed,
    /// A name that does not exist does not exist.
    Nxdomain,
    /// Answers from 127/8 come through.
    Loopback,
    /// It is one that lists answer.
    Public,
}

impl ResolverCheck {
    /// All, in the order of the documentation.
    pub const ALL: [Self; 5] = [Self::Answers, Self::Speed, Self::Nxdomain, Self::Loopback, Self::Public];

    /// Stable text, as in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answers => "answers",
            Self::Speed => "speed",
            Self::Nxdomain => "nxdomain",
            Self::Loopback => "loopback",
            Self::Public => "public",
        }
    }

    /// What to do about it, in words.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Answers => {
                "see whether the name server runs and is reached, or name another in [dns] or [monitor] servers"
            }
            Self::Speed => {
                "see what it forwards to, its load and the way there; monitor.timeout can be raised, for questions that \
                 take too long count as not answered"
            }
            Self::Nxdomain => {
                "use a resolver of your own that recurses by itself: this one answers names that do not exist"
            }
            Self::Loopback => {
                "switch off its protection against rebinding for 127.0.0.0/8: in unbound take it out of private-address, \
                 or name the lists in private-domain; in dnsmasq drop stop-dns-rebind or add rebind-domain-ok"
            }
            Self::Public => {
                "lists refuse public resolvers: run one of your own (unbound) and name it in [monitor] servers"
            }
        }
    }

    /// Whether a listing, or its end, cannot be believed where this is proven bad.
    pub fn is_lie(self) -> bool {
        matches!(self, Self::Nxdomain | Self::Loopback)
    }
}

/// What one resolver said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Said {
    /// Its servers.
    pub servers: Vec<IpAddr>,
    /// Whether lists are asked through it.
    pub for_lists: bool,
    /// To a name that no registry has handed out.
    pub nowhere: Option<DnsOutcome>,
    /// To a random label below each list.
    pub random: Vec<DnsOutcome>,
    /// To the test entry of each list that has one and needs no key.
    pub test_points: Vec<TestPoint>,
    /// To the test entries of lists that prove nothing by having none: those with a key, those of domains.
    pub others: Vec<DnsOutcome>,
    /// A list that is asked through it alone was well in its last round.
    pub has_well_list: bool,
    /// How long a question takes that no list has a part in; one lost packet must not tell.
    pub pace: Option<Duration>,
    /// How long the slowest question took that was answered.
    pub slowest: Option<Duration>,
}

/// What came back for one list's test entry.
#[derive(Clone, Debug, PartialEq)]
pub struct TestPoint {
    /// Through the resolver.
    pub here: DnsOutcome,
    /// From the list's own servers, where they are configured and this is not them.
    pub there: Option<DnsOutcome>,
    /// Another resolver has it.
    pub elsewhere: bool,
}

/// A check and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Which.
    pub check: ResolverCheck,
    /// What came of it.
    pub grade: Grade,
    /// What was seen, in words.
    pub detail: String,
}

/// Judges all checks, in the order of [`ResolverCheck::ALL`]. Answers that take longer than `slow` are too late.
pub fn judge(said: &Said, slow: Duration) -> Vec<Checked> {
    let of = |check, (grade, detail): (Grade, String)| Checked { check, grade, detail };
    vec![
        of(ResolverCheck::Answers, answers(said)),
        of(ResolverCheck::Speed, speed(said, slow)),
        of(ResolverCheck::Nxdomain, nxdomain(said)),
        of(ResolverCheck::Loopback, loopback(said)),
        of(ResolverCheck::Public, public(said)),
    ]
}

/// What several servers that are asked one after the other are worth together, in the order of [`ResolverCheck::ALL`]. One
/// that lies is not asked and one that is silent is passed over, so that is as good as the best of them, unless all lie, each in its way; a
/// list refuses whichever it is asked through.
pub fn together(servers: &[Vec<Checked>]) -> Vec<Checked> {
    let best = |grade: Grade| match grade {
        Grade::Good => 0,
        Grade::Unknown => 1,
        Grade::Bad => 2,
    };
    let all_lie = servers.iter().all(|checked| lie(checked).is_some());
    let of = |check: ResolverCheck| {
        let all = servers.iter().flatten().filter(|checked: &&Checked| checked.check == check);
        match check {
            _ if check.is_lie() && all_lie => all.min_by_key(|checked| 2 - best(checked.grade)),
            ResolverCheck::Public => all.min_by_key(|checked| 2 - best(checked.grade)),
            _ => all.min_by_key(|checked| best(checked.grade)),
        }
    };
    ResolverCheck::ALL.into_iter().filter_map(of).cloned().collect()
}

/// Whether the resolver is believed from now on (`None`) or not, and for which lie. One that lied and now says nothing is
/// not believed again for that.
pub fn belief(before: Option<ResolverCheck>, checked: &[Checked]) -> Option<ResolverCheck> {
    let grade = |check: ResolverCheck| checked.iter().find(|c| c.check == check).map_or(Grade::Unknown, |c| c.grade);
    lie(checked).or_else(|| before.filter(|check| grade(*check) == Grade::Unknown))
}

/// The first proven lie; `None` where there is none.
fn lie(checked: &[Checked]) -> Option<ResolverCheck> {
    checked.iter().find(|c| c.check.is_lie() && c.grade == Grade::Bad).map(|c| c.check)
}

fn answers(said: &Said) -> (Grade, String) {
    let points = said.test_points.iter().map(|point| &point.here);
    let all: Vec<&DnsOutcome> = said.nowhere.iter().chain(&said.random).chain(points).collect();
    if all.is_empty() {
        return (Grade::Unknown, "nothing was asked".to_owned());
    }
    if all.iter().any(|outcome| is_answer(outcome)) {
        return (Grade::Good, "answers".to_owned());
    }
    (Grade::Bad, format!("answered none of {} questions: {}", all.len(), word(all[0])))
}

fn speed(said: &Said, slow: Duration) -> (Grade, String) {
    match said.pace {
        Some(took) if took > slow => (Grade::Bad, format!("takes {:.1} s for a question", took.as_secs_f64())),
        Some(_) => (Grade::Good, "answers in good time".to_owned()),
        None => (Grade::Unknown, "nothing was answered".to_owned()),
    }
}

fn nxdomain(said: &Said) -> (Grade, String) {
    match &said.nowhere {
        Some(outcome) if let Some(address) = first(outcome) => {
            return (Grade::Bad, format!("a name that does not exist was answered with {address}"));
        }
        _ => {}
    }
    // Lists below which every name leads to one and the same public address: no two lists are sold to one buyer at once.
    let strange: Vec<Ipv4Addr> = said.random.iter().filter_map(outside).collect();
    if strange.len() >= 2 && strange.len() == said.random.len() && strange.iter().all(|a| *a == strange[0]) {
        let all = strange.len();
        return (Grade::Bad, format!("random names below all {all} lists were answered with {}", strange[0]));
    }
    match &said.nowhere {
        Some(DnsOutcome::NxDomain | DnsOutcome::NoData) => {
            (Grade::Good, "a name that does not exist does not exist".to_owned())
        }
        Some(other) => (Grade::Unknown, format!("no answer about a name that does not exist: {}", word(other))),
        None => (Grade::Unknown, "not asked".to_owned()),
    }
}

fn loopback(said: &Said) -> (Grade, String) {
    let through =
        |outcome: &DnsOutcome| matches!(outcome, DnsOutcome::Addresses(all) if all.iter().any(Ipv4Addr::is_loopback));
    // NXDOMAIN does not count: lists die that way, and the resolver may not know one that only its own servers have.
    let taken = |outcome: &DnsOutcome| match outcome {
        DnsOutcome::NoData => true,
        DnsOutcome::Addresses(all) => all.is_empty(),
        _ => false,
    };
    let all = || said.test_points.iter().map(|point| &point.here).chain(&said.others);
    if all().any(through) {
        return (Grade::Good, "answers from 127/8 come through".to_owned());
    }
    let gone: Vec<&TestPoint> = said.test_points.iter().filter(|point| taken(&point.here)).collect();
    if gone.iter().any(|point| point.there.as_ref().is_some_and(through)) {
        return (Grade::Bad, "a list's own servers give its test entry, this resolver does not".to_owned());
    }
    if gone.iter().any(|point| point.elsewhere) {
        return (Grade::Bad, "another resolver gives a list's test entry, this one does not".to_owned());
    }
    match (said.test_points.len(), gone.len()) {
        (0, _) => (Grade::Unknown, NO_LISTS.to_owned()),
        (_, 2..) if said.has_well_list => (
            Grade::Unknown,
            format!("the test entries of {} lists are taken away, but a list was well in its last round", gone.len()),
        ),
        (_, 2..) => {
            (Grade::Bad, format!("the test entries of {} lists are taken away, and no list has one", gone.len()))
        }
        _ if all().any(is_answer) => (Grade::Unknown, "no list has its test entry, which may be the lists".to_owned()),
        _ => (Grade::Unknown, "no list answered about its test entry".to_owned()),
    }
}

fn public(said: &Said) -> (Grade, String) {
    if !said.for_lists {
        return (Grade::Good, "no list is asked through it".to_owned());
    }
    let refusal = Ipv4Addr::new(127, 255, 255, 254);
    // A list with servers of its own may have them because of this.
    let refused = said
        .test_points
        .iter()
        .filter(|point| point.there.is_none())
        .any(|point| matches!(&point.here, DnsOutcome::Addresses(all) if all.contains(&refusal)));
    if let Some(server) = said.servers.iter().find(|server| is_well_known(**server)) {
        return (Grade::Bad, format!("{server} is a public resolver"));
    }
    if refused {
        return (Grade::Bad, format!("a list answered {refusal}: it takes this resolver for a public one"));
    }
    match said.servers.is_empty() {
        true => (Grade::Unknown, "its servers are not known".to_owned()),
        false => (Grade::Good, "none of the well-known public ones".to_owned()),
    }
}

/// Whether this address belongs to a resolver that is open to everybody: Google, Cloudflare, Quad9, OpenDNS, Level 3,
/// Verisign, Comodo, AdGuard, CleanBrowsing, ControlD, DNS4EU, Yandex, AliDNS, DNSPod, 114DNS, DNS.SB, Hurricane Electric.
pub fn is_well_known(server: IpAddr) -> bool {
    match server.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            matches!(
                (a, b, c, d),
                (8, 8, 8, 8)
                    | (8, 8, 4, 4)
                    | (1, 1, 1, 1..=3)
                    | (1, 0, 0, 1..=3)
                    | (9, 9, 9, 9..=12)
                    | (149, 112, 112, 9..=12 | 112)
                    | (208, 67, 222 | 220, 120..=123 | 220 | 222)
                    | (4, 2, 2, 1..=6)
                    | (209, 244, 0, 3 | 4)
                    | (64, 6, 64 | 65, 6)
                    | (8, 26, 56, 26)
                    | (8, 20, 247, 20)
                    | (94, 140, 14 | 15, 14..=16 | 140 | 141)
                    | (185, 228, 168 | 169, 9..=11 | 168)
                    | (76, 76, 2 | 10, 0..=5)
                    | (86, 54, 11, 1 | 11..=13 | 100 | 200 | 201 | 211..=213)
                    | (77, 88, 8, 1..=3 | 7 | 8 | 88)
                    | (223, 5 | 6, 5 | 6, 5 | 6)
                    | (119, 29, 29, 29)
                    | (114, 114, 114 | 115, 110 | 114 | 115 | 119)
                    | (185, 222, 222, 222)
                    | (45, 11, 45, 11)
                    | (74, 82, 42, 42)
            )
        }
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            matches!(
                (a, b, c, d),
                (0x2001, 0x4860, 0x4860, 0)
                    | (0x2606, 0x4700, 0x4700, 0)
                    | (0x2620, 0xfe, 0, 0)
                    | (0x2620, 0x119, 0x35 | 0x53, 0)
                    | (0x2620, 0x74, 0x1b | 0x1c, 0)
                    | (0x2a10, 0x50c0, 0, 0)
                    | (0x2a0d, 0x2a00, 1 | 2, 0)
                    | (0x2606, 0x1a40, 0 | 1, 0)
                    | (0x2a02, 0x6b8, 0, 0)
                    | (0x2400, 0x3200, 0 | 0xbaba, 0)
                    | (0x2a09, 0, 0, 0)
                    | (0x2a11, 0, 0, 0)
                    | (0x2001, 0x470, 0x20, 0)
            )
        }
    }
}

fn is_answer(outcome: &DnsOutcome) -> bool {
    // REFUSED and SERVFAIL come from a server that is there, but it answers nothing.
    matches!(outcome, DnsOutcome::Addresses(_) | DnsOutcome::NxDomain | DnsOutcome::NoData)
}

fn first(outcome: &DnsOutcome) -> Option<Ipv4Addr> {
    if let DnsOutcome::Addresses(all) = outcome { all.first().copied() } else { None }
}

fn outside(outcome: &DnsOutcome) -> Option<Ipv4Addr> {
    first(outcome).filter(|address| !address.is_loopback())
}

fn word(outcome: &DnsOutcome) -> &'static str {
    match outcome {
        DnsOutcome::Addresses(_) => "addresses",
        DnsOutcome::NxDomain => "nxdomain",
        DnsOutcome::NoData => "nodata",
        DnsOutcome::ServFail => "servfail",
        DnsOutcome::Refused => "refused",
        DnsOutcome::Timeout => "timeout",
        DnsOutcome::Other(why) => why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: Duration = Duration::from_secs(2);

    fn at(octets: [u8; 4]) -> DnsOutcome {
        DnsOutcome::Addresses(vec![octets.into()])
    }

    fn point(here: DnsOutcome) -> TestPoint {
        TestPoint { here, there: None, elsewhere: false }
    }

    /// A resolver of one's own that is well, with two lists.
    fn well() -> Said {
        Said {
            servers: vec![[192, 0, 2, 53].into()],
            for_lists: true,
            nowhere: Some(DnsOutcome::NxDomain),
            random: vec![DnsOutcome::NxDomain, DnsOutcome::NxDomain],
            test_points: vec![point(at([127, 0, 0, 2])), point(at([127, 0, 0, 2]))],
            pace: Some(Duration::from_millis(30)),
            slowest: Some(SLOW * 2),
            ..Said::default()
        }
    }

    /// Grades in the order of [`ResolverCheck::ALL`].
    fn grades(said: &Said) -> String {
        let sign = |c: &Checked| ["-", "+", "?"][usize::try_from(c.grade.value()).unwrap_or(2)];
        let checked = judge(said, SLOW);
        assert_eq!(checked.iter().map(|c| c.check).collect::<Vec<_>>(), ResolverCheck::ALL);
        checked.iter().map(sign).collect()
    }

    #[test]
    fn each_lie_is_proven_or_not_claimed() {
        use DnsOutcome::{NoData, NxDomain, Refused, ServFail, Timeout};
        let parked = [203, 0, 113, 80];
        let with = |change: &dyn Fn(&mut Said)| {
            let mut said = well();
            change(&mut said);
            said
        };
        let rows: Vec<(&str, Said, &str)> = vec![
            ("well", well(), "+++++"),
            ("no list at all", with(&|s| (s.random, s.test_points) = (vec![], vec![])), "+++?+"),
            (
                "well known, for delivery only",
                with(&|s| {
                    (s.random, s.test_points, s.for_lists, s.servers) =
                        (vec![], vec![], false, vec![[8, 8, 8, 8].into()])
                }),
                "+++?+",
            ),
            ("127/8 stripped", with(&|s| s.test_points.iter_mut().for_each(|p| p.here = NoData)), "+++-+"),
            ("two dead lists", with(&|s| s.test_points.iter_mut().for_each(|p| p.here = NxDomain)), "+++?+"),
            (
                "four dead ones, one as if stripped",
                with(&|s| s.test_points = vec![point(NxDomain), point(NoData), point(NxDomain), point(NxDomain)]),
                "+++?+",
            ),
            (
                "stripped, and one that is dead",
                with(&|s| s.test_points = vec![point(NoData), point(NxDomain), point(NoData)]),
                "+++-+",
            ),
            (
                "a list with a key has its entry",
                with(&|s| {
                    s.test_points.iter_mut().for_each(|p| p.here = NoData);
                    s.others = vec![ServFail, at([127, 0, 0, 2])];
                }),
                "+++++",
            ),
            (
                "a list with a key has none either",
                with(&|s| {
                    s.test_points.iter_mut().for_each(|p| p.here = NoData);
                    s.others = vec![NoData];
                }),
                "+++-+",
            ),
            (
                "lists without entry while one was well just now",
                with(&|s| {
                    s.test_points.iter_mut().for_each(|p| p.here = NoData);
                    s.has_well_list = true;
                }),
                "+++?+",
            ),
            (
                "another resolver has what this one has not",
                with(&|s| s.test_points = vec![TestPoint { elsewhere: true, ..point(NoData) }]),
                "+++-+",
            ),
            ("one list hollow", with(&|s| s.test_points[0].here = NoData), "+++++"),
            ("the only list hollow", with(&|s| s.test_points = vec![point(NoData)]), "+++?+"),
            ("one hollow, one silent", with(&|s| s.test_points = vec![point(NoData), point(Timeout)]), "+++?+"),
            (
                "its own servers know better",
                with(&|s| s.test_points = vec![TestPoint { there: Some(at([127, 0, 0, 2])), ..point(NoData) }]),
                "+++-+",
            ),
            (
                "a list that only its own servers know",
                with(&|s| s.test_points = vec![TestPoint { there: Some(at([127, 0, 0, 2])), ..point(NxDomain) }]),
                "+++?+",
            ),
            ("rewritten", with(&|s| s.nowhere = Some(at(parked))), "++-++"),
            ("rewritten to loopback", with(&|s| s.nowhere = Some(at([127, 0, 0, 1]))), "++-++"),
            ("rewritten below lists only", with(&|s| s.random = vec![at(parked), at(parked)]), "++-++"),
            ("one list sold", with(&|s| s.random[0] = at(parked)), "+++++"),
            ("the only list sold", with(&|s| s.random = vec![at(parked)]), "+++++"),
            ("two sold to two", with(&|s| s.random = vec![at(parked), at([203, 0, 113, 81])]), "+++++"),
            ("two that list the world", with(&|s| s.random = vec![at([127, 0, 0, 2]), at([127, 0, 0, 2])]), "+++++"),
            ("well known", with(&|s| s.servers.push([8, 8, 8, 8].into())), "++++-"),
            ("refused as public", with(&|s| s.test_points[0].here = at([127, 255, 255, 254])), "++++-"),
            ("refused for too many questions", with(&|s| s.test_points[0].here = at([127, 255, 255, 255])), "+++++"),
            ("slow", with(&|s| s.pace = Some(SLOW * 2)), "+-+++"),
            (
                "dead",
                Said {
                    nowhere: Some(Timeout),
                    random: vec![Timeout],
                    test_points: vec![point(Timeout)],
                    for_lists: true,
                    ..Said::default()
                },
                "-????",
            ),
            ("authoritative only, for its lists", with(&|s| s.nowhere = Some(Refused)), "++?++"),
            (
                "broken",
                Said { nowhere: Some(ServFail), random: vec![ServFail], test_points: vec![point(Refused)], ..well() },
                "-+??+",
            ),
        ];
        for (what, said, expected) in rows {
            assert_eq!(grades(&said), expected, "{what}: {:#?}", judge(&said, SLOW));
        }
    }

    #[test]
    fn only_a_proven_lie_takes_belief_away() {
        let of = |check, grade| Checked { check, grade, detail: String::new() };
        let all = |grade| ResolverCheck::ALL.map(|check| of(check, grade)).to_vec();
        assert_eq!(lie(&all(Grade::Good)), None);
        assert_eq!(lie(&all(Grade::Unknown)), None);
        assert_eq!(lie(&all(Grade::Bad)), Some(ResolverCheck::Nxdomain));
        let beside: Vec<Checked> = [ResolverCheck::Answers, ResolverCheck::Speed, ResolverCheck::Public]
            .map(|check| of(check, Grade::Bad))
            .to_vec();
        assert_eq!(lie(&beside), None, "silence and refusals are no lies");
        let stripped = Some(ResolverCheck::Loopback);
        assert_eq!(belief(None, &all(Grade::Unknown)), None);
        assert_eq!(belief(stripped, &all(Grade::Unknown)), stripped, "it says nothing now");
        assert_eq!(belief(stripped, &all(Grade::Good)), None);
        assert_eq!(belief(stripped, &all(Grade::Bad)), Some(ResolverCheck::Nxdomain));
    }

    #[test]
    fn several_servers_are_as_good_as_the_best_but_refused_as_the_worst() {
        let with = |change: &dyn Fn(&mut Said)| {
            let mut said = well();
            change(&mut said);
            judge(&said, SLOW)
        };
        let good = judge(&well(), SLOW);
        let lying = with(&|s| s.nowhere = Some(at([203, 0, 113, 80])));
        let silent = judge(&Said { nowhere: Some(DnsOutcome::Timeout), ..Said::default() }, SLOW);
        let public = with(&|s| s.servers = vec![[8, 8, 8, 8].into()]);
        let all = |servers: &[&Vec<Checked>]| -> Vec<Grade> {
            let servers: Vec<Vec<Checked>> = servers.iter().map(|one| (*one).clone()).collect();
            together(&servers).iter().map(|checked| checked.grade).collect()
        };
        use Grade::{Bad, Good, Unknown};
        assert_eq!(all(&[&lying, &good]), [Good; 5]);
        assert_eq!(all(&[&lying, &lying]), [Good, Good, Bad, Good, Good]);
        assert_eq!(all(&[&lying, &silent])[2], Unknown);
        let stripping = with(&|s| s.test_points.iter_mut().for_each(|p| p.here = DnsOutcome::NoData));
        assert_eq!(all(&[&lying, &stripping]), [Good, Good, Bad, Bad, Good], "nobody is left to be believed");
        assert_eq!(all(&[&good, &public])[4], Bad);
        assert_eq!(all(&[&silent, &good])[0], Good);
    }

    #[test]
    fn public_resolvers_are_known_and_neighbours_are_not() {
        for public in
            ["8.8.8.8", "1.1.1.1", "9.9.9.9", "208.67.222.222", "2001:4860:4860::8844", "2620:fe::fe", "::ffff:8.8.4.4"]
        {
            assert!(is_well_known(public.parse().unwrap()), "{public}");
        }
        for own in ["127.0.0.1", "::1", "192.0.2.53", "8.8.8.9", "10.0.0.1", "2001:db8::53"] {
            assert!(!is_well_known(own.parse().unwrap()), "{own}");
        }
    }
}
