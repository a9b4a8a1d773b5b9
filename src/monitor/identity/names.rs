//! What the names of one binding are worth, check by check: PTR, its way back, EHLO.
//!
//! Only one of these takes a binding out, and only when it is proven over time
//! ([`ReverseState`](crate::monitor::reverse::ReverseState)): reverse DNS that does not lead back. The others are told,
//! because receivers weigh them: an EHLO name that neither is the PTR name nor leads to the address, several PTR records
//! (some receivers look at the first only), a name that looks generic.

use std::net::IpAddr;

use serde::Serialize;
use utoipa::ToSchema;

use super::generic::generic;
use crate::monitor::reverse::{Found, Seen, judge};

/// Most names or addresses named in one sentence.
const NAMED: usize = 4;

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Default, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = NameGrade)]
pub enum Grade {
    /// As it should be.
    Good,
    /// Proven not to be.
    Bad,
    /// Nothing proven: no answer, or nothing to judge by.
    #[default]
    Unknown,
}

impl Grade {
    /// 1 good, 0 bad, −1 unknown: as metrics say it.
    pub fn value(self) -> i64 {
        match self {
            Self::Good => 1,
            Self::Bad => 0,
            Self::Unknown => -1,
        }
    }

    /// Stable text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Unknown => "unknown",
        }
    }
}

/// One of the checks of a binding's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NameCheck {
    /// The address has a PTR record.
    Ptr,
    /// A PTR name leads back to the address (RFC 8601 §3, iprev).
    Fcrdns,
    /// It has not more than one.
    SinglePtr,
    /// No PTR name looks generic.
    OwnName,
    /// The EHLO name can be a host's: not an address, not `localhost`, of the public DNS (RFC 5321 §4.1.1.1).
    EhloForm,
    /// The EHLO name is a PTR name that leads back, or leads to the address itself.
    Ehlo,
}

impl NameCheck {
    /// All, in the order of the documentation.
    pub const ALL: [Self; 6] = [Self::Ptr, Self::Fcrdns, Self::SinglePtr, Self::OwnName, Self::EhloForm, Self::Ehlo];

    /// Stable text, as in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ptr => "ptr",
            Self::Fcrdns => "fcrdns",
            Self::SinglePtr => "single_ptr",
            Self::OwnName => "own_name",
            Self::EhloForm => "ehlo_form",
            Self::Ehlo => "ehlo",
        }
    }

    /// What to do about it, in words.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Ptr => "have whoever owns the address (provider, data centre) set a PTR record to the EHLO name",
            Self::Fcrdns => {
                "give the PTR name an A or AAAA record with this address, or let the PTR name one that has it"
            }
            Self::SinglePtr => "keep one PTR record: some receivers look at the first only",
            Self::OwnName => "have the PTR record set to a name of your own, such as mta1.example.org",
            Self::EhloForm => "set ehlo_hostname of the binding (or server.hostname) to a full name in public DNS",
            Self::Ehlo => "make ehlo_hostname the PTR name, or give it an A or AAAA record with this address",
        }
    }
}

/// What DNS said about one binding.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// The PTR names.
    pub ptr: Found<String>,
    /// Addresses of those.
    pub forward: Vec<(String, Found<IpAddr>)>,
    /// Addresses of the EHLO name; `None` where it varies or was not asked for.
    pub ehlo: Option<Found<IpAddr>>,
}

impl Observed {
    /// Whether reverse DNS holds.
    pub fn reverse(&self, address: IpAddr) -> Seen {
        judge(address, &self.ptr, &self.forward)
    }
}

/// A check and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = NameChecked)]
pub struct Checked {
    /// Which.
    pub check: NameCheck,
    /// What came of it.
    pub grade: Grade,
    /// What was seen, in words.
    pub detail: String,
}

/// All checks of `address` with the EHLO name `ehlo` (`None` where it varies with the message), in the order of
/// [`NameCheck::ALL`].
pub fn checks(address: IpAddr, ehlo: Option<&str>, observed: &Observed) -> Vec<Checked> {
    let of = |check, (grade, detail): (Grade, String)| Checked { check, grade, detail };
    vec![
        of(NameCheck::Ptr, ptr(address, &observed.ptr)),
        of(NameCheck::Fcrdns, fcrdns(address, observed)),
        of(NameCheck::SinglePtr, single(&observed.ptr)),
        of(NameCheck::OwnName, own_name(address, &observed.ptr)),
        of(NameCheck::EhloForm, ehlo.map_or_else(varies, ehlo_form)),
        of(NameCheck::Ehlo, ehlo.map_or_else(varies, |ehlo| agreement(address, ehlo, observed))),
    ]
}

/// [`checks`] of all addresses of a binding: of each the worst, with its words and those of the others that came out alike.
pub fn checks_of_all(ehlo: Option<&str>, observed: &[(IpAddr, Observed)]) -> Vec<Checked> {
    let severity = |grade: Grade| match grade {
        Grade::Good => 0,
        Grade::Unknown => 1,
        Grade::Bad => 2,
    };
    let of_one = |(address, seen): &(IpAddr, Observed)| {
        let mut checked = checks(*address, ehlo, seen);
        let unnamed =
            |checked: &&mut Checked| checked.grade != Grade::Good && !checked.detail.contains(&address.to_string());
        // Which of several it is has to be said.
        for checked in checked.iter_mut().filter(|_| observed.len() > 1).filter(unnamed) {
            checked.detail = format!("{address}: {}", checked.detail);
        }
        checked
    };
    let mut all = observed.iter().map(of_one);
    let mut worst = all.next().unwrap_or_default();
    for (one, other) in all.flat_map(|others| others.into_iter().enumerate()) {
        let Some(known) = worst.get_mut(one) else { continue };
        if severity(other.grade) > severity(known.grade) {
            *known = other;
        } else if other.grade == known.grade && !known.detail.contains(&other.detail) {
            known.detail = format!("{}; {}", known.detail, other.detail);
        }
    }
    worst
}

fn varies() -> (Grade, String) {
    (Grade::Unknown, "the EHLO name varies with the message".to_owned())
}

fn ptr(address: IpAddr, ptr: &Found<String>) -> (Grade, String) {
    match ptr {
        Found::Records(names) => (Grade::Good, listed(names)),
        Found::Absent => (Grade::Bad, format!("{address} has no PTR record")),
        Found::Failed(why) => (Grade::Unknown, format!("PTR of {address}: {why}")),
    }
}

fn fcrdns(address: IpAddr, observed: &Observed) -> (Grade, String) {
    match observed.reverse(address) {
        Seen::Confirmed(names) => (Grade::Good, format!("confirmed by {}", listed(&names))),
        Seen::Broken(why) => (Grade::Bad, why),
        Seen::Unknown(why) => (Grade::Unknown, why),
    }
}

fn single(ptr: &Found<String>) -> (Grade, String) {
    match ptr {
        Found::Records(names) if names.len() > 1 => {
            (Grade::Bad, format!("{} PTR records: {}", names.len(), listed(names)))
        }
        Found::Records(_) => (Grade::Good, "one PTR record".to_owned()),
        Found::Absent => (Grade::Unknown, "there is no PTR record".to_owned()),
        Found::Failed(why) => (Grade::Unknown, (*why).to_owned()),
    }
}

fn own_name(address: IpAddr, ptr: &Found<String>) -> (Grade, String) {
    let names = match ptr {
        Found::Records(names) => names,
        Found::Absent => return (Grade::Unknown, "there is no PTR record".to_owned()),
        Found::Failed(why) => return (Grade::Unknown, (*why).to_owned()),
    };
    match names.iter().find_map(|name| generic(name, address).map(|why| (name, why))) {
        Some((name, why)) => (Grade::Bad, format!("{name} looks generic: {why}")),
        None => (Grade::Good, listed(names)),
    }
}

/// Whether `name` can be the EHLO name of a host on the Internet.
fn ehlo_form(name: &str) -> (Grade, String) {
    /// Top-level names that are not of the public DNS (RFC 6761, RFC 6762, RFC 8375 and common practice).
    const PRIVATE: [&str; 9] =
        ["corp", "home", "internal", "invalid", "lan", "local", "localdomain", "localhost", "private"];
    let name = name.trim_end_matches('.');
    let last = name.rsplit('.').next().unwrap_or_default();
    let bad = |why: &str| (Grade::Bad, format!("{name} {why}"));
    if name.starts_with('[') || name.parse::<IpAddr>().is_ok() {
        bad("is an address, not a name")
    } else if name.eq_ignore_ascii_case("localhost") {
        bad("is every host's name for itself")
    } else if !name.contains('.') {
        bad("has no dot: it is not a full name")
    } else if PRIVATE.iter().any(|private| last.eq_ignore_ascii_case(private)) || ends_with(name, ".home.arpa") {
        bad("is not a name of the public DNS")
    } else if name.contains('_') {
        bad("has an underscore, which no host name may have")
    } else if last.bytes().all(|b| b.is_ascii_digit()) {
        bad("ends in a number, as only addresses do")
    } else {
        (Grade::Good, name.to_owned())
    }
}

fn ends_with(name: &str, end: &str) -> bool {
    name.to_ascii_lowercase().ends_with(end)
}

fn agreement(address: IpAddr, ehlo: &str, observed: &Observed) -> (Grade, String) {
    let reverse = observed.reverse(address);
    if let Seen::Confirmed(names) = &reverse
        && names.iter().any(|name| name.eq_ignore_ascii_case(ehlo.trim_end_matches('.')))
    {
        return (Grade::Good, format!("{ehlo} is the PTR name"));
    }
    match &observed.ehlo {
        Some(Found::Records(all)) if all.iter().any(|a| a.to_canonical() == address.to_canonical()) => {
            (Grade::Good, format!("{ehlo} leads to {address}, though it is not the PTR name"))
        }
        Some(Found::Failed(why)) => (Grade::Unknown, format!("{ehlo}: {why}")),
        None => (Grade::Unknown, format!("{ehlo} was not looked up")),
        // A PTR that was not answered may yet turn out to be this name.
        _ if matches!(reverse, Seen::Unknown(_)) => (Grade::Unknown, format!("PTR of {address} is not known")),
        Some(Found::Absent) => (Grade::Bad, format!("{ehlo} is not the PTR name and has no address")),
        Some(Found::Records(all)) => {
            let all: Vec<String> = all.iter().map(ToString::to_string).collect();
            (Grade::Bad, format!("{ehlo} is not the PTR name and leads to {}", listed(&all)))
        }
    }
}

fn listed(names: &[String]) -> String {
    let mut text = names.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > NAMED {
        text.push_str(&format!(" and {} more", names.len() - NAMED));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: [u8; 4] = [192, 0, 2, 17];

    fn address() -> IpAddr {
        HERE.into()
    }

    fn records<T: Clone>(all: &[T]) -> Found<T> {
        Found::Records(all.to_vec())
    }

    fn at(octets: [u8; 4]) -> Found<IpAddr> {
        records(&[IpAddr::from(octets)])
    }

    fn names(all: &[&str]) -> Found<String> {
        Found::Records(all.iter().map(|n| (*n).to_owned()).collect())
    }

    /// Grades in the order of [`NameCheck::ALL`]: `+` good, `-` bad, `?` unknown.
    fn grades(ehlo: Option<&str>, observed: &Observed) -> String {
        let sign = |checked: &Checked| match checked.grade {
            Grade::Good => '+',
            Grade::Bad => '-',
            Grade::Unknown => '?',
        };
        let all = checks(address(), ehlo, observed);
        assert_eq!(all.iter().map(|c| c.check).collect::<Vec<_>>(), NameCheck::ALL);
        all.iter().map(sign).collect()
    }

    #[test]
    fn of_two_addresses_the_worse_check_counts_and_says_which_it_is() {
        let (mta, six) = ("mta.example.org", IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]));
        let good = Observed { ptr: names(&[mta]), forward: vec![(mta.to_owned(), at(HERE))], ehlo: Some(at(HERE)) };
        let bad = Observed { ptr: Found::Absent, forward: Vec::new(), ehlo: Some(records(&[six])) };
        let all = checks_of_all(Some(mta), &[(address(), good.clone()), (six, bad)]);
        let grades: Vec<Grade> = all.iter().map(|checked| checked.grade).collect();
        let (yes, no, unknown) = (Grade::Good, Grade::Bad, Grade::Unknown);
        assert_eq!(grades, [no, no, unknown, unknown, yes, yes]);
        for checked in all.iter().filter(|checked| checked.grade != yes) {
            assert!(checked.detail.contains(&six.to_string()), "{checked:?}");
        }
        assert_eq!(checks_of_all(Some(mta), &[(address(), good.clone())]), checks(address(), Some(mta), &good));
    }

    #[test]
    fn each_fault_is_seen_where_it_is_and_silence_is_no_fault() {
        let other = [192, 0, 2, 99];
        let (mta, failed) = ("mta.example.org", Found::Failed("timeout"));
        let way = |name: &str, to: Found<IpAddr>| vec![(name.to_owned(), to)];
        let seen = |ptr, forward, ehlo| Observed { ptr, forward, ehlo: Some(ehlo) };
        let two = vec![("x.example.org".to_owned(), at(other)), (mta.to_owned(), at(HERE))];
        let rows = [
            ("all is well", seen(names(&[mta]), way(mta, at(HERE)), at(HERE)), "++++++"),
            ("no PTR", seen(Found::Absent, vec![], at(HERE)), "--??++"),
            ("no PTR, no EHLO", seen(Found::Absent, vec![], Found::Absent), "--??+-"),
            ("PTR to elsewhere", seen(names(&[mta]), way(mta, at(other)), at(other)), "+-+++-"),
            ("two PTRs", seen(names(&["x.example.org", mta]), two, at(HERE)), "++-+++"),
            (
                "generic",
                seen(names(&["static-17.example.net"]), way("static-17.example.net", at(HERE)), at(HERE)),
                "+++-++",
            ),
            (
                "EHLO by address only",
                seen(names(&["o.example.org"]), way("o.example.org", at(HERE)), at(HERE)),
                "++++++",
            ),
            ("EHLO elsewhere", seen(names(&["o.example.org"]), way("o.example.org", at(HERE)), at(other)), "+++++-"),
            ("PTR silent", seen(failed.clone(), vec![], Found::Absent), "????+?"),
            ("PTR silent, EHLO leads here", seen(failed, vec![], at(HERE)), "????++"),
            ("forward silent", seen(names(&[mta]), way(mta, Found::Failed("servfail")), Found::Absent), "+?+++?"),
            (
                "EHLO silent, PTR elsewhere",
                seen(names(&["o.example.org"]), way("o.example.org", at(HERE)), Found::Failed("servfail")),
                "+++++?",
            ),
        ];
        for (what, observed, expected) in rows {
            assert_eq!(grades(Some(mta), &observed), expected, "{what}");
        }
        let good = seen(names(&[mta]), way(mta, at(HERE)), at(HERE));
        assert_eq!(grades(None, &good), "++++??", "an EHLO name that varies");
        assert_eq!(grades(Some("MTA.example.org."), &good), "++++++", "names have no case");
    }

    #[test]
    fn an_ehlo_name_is_a_name_that_the_world_can_look_up() {
        for good in ["mta1.example.org", "a.co", "mta1.example.org.", "1.example.org", "relay.test"] {
            assert_eq!(ehlo_form(good).0, Grade::Good, "{good}");
        }
        for bad in [
            "localhost",
            "LocalHost",
            "relay",
            "[192.0.2.1]",
            "[IPv6:2001:db8::1]",
            "192.0.2.1",
            "mta.local",
            "mta.localdomain",
            "mta1.corp",
            "a.home.arpa",
            "mta_1.example.org",
            "mta.300",
            "",
        ] {
            assert_eq!(ehlo_form(bad).0, Grade::Bad, "{bad}");
        }
    }

    #[test]
    fn a_flood_of_names_is_cut_short() {
        let many: Vec<String> = (0..50).map(|n| format!("n{n}.example.org")).collect();
        assert_eq!(listed(&many), "n0.example.org, n1.example.org, n2.example.org, n3.example.org and 46 more");
    }
}
