//! The name of a destination that is no provider: its set of hosts, folded to one short text.
//!
//! Domains with the same hosts share one queue and one set of limits, without any list of providers. Different sets have
//! different names: common parts are written once, in signs that no host name holds.
//!
//! - Labels that all hosts end with are written once: `{a,b}.example.net`.
//! - Hosts that differ in one number are written as one: `mx[1-3].example.net`, `mx[1,4]…`; a number with leading
//!   zeros stays as it is spelt.
//! - A text over [`LONGEST`] octets is cut and ends with a hash of the whole.

use std::collections::BTreeMap;
use std::hash::Hasher;

use siphasher::sip::SipHasher13;

/// Octets of the longest site name, `site:` not counted.
pub const LONGEST: usize = 195;

/// Folds `hosts` into one text; their order and repetitions do not matter.
pub fn fold<S: AsRef<str>>(hosts: &[S]) -> String {
    let mut hosts: Vec<&str> = hosts.iter().map(AsRef::as_ref).collect();
    hosts.sort_unstable();
    hosts.dedup();
    let text = match hosts.as_slice() {
        [] => String::new(),
        [one] => (*one).to_owned(),
        _ => fold_many(&hosts),
    };
    shorten(text)
}

fn fold_many(hosts: &[&str]) -> String {
    let suffix = common_labels(hosts);
    let heads: Vec<&str> = hosts.iter().map(|host| &host[..host.len() - suffix.len()]).collect();
    let items = fold_numbers(&heads);
    if items.len() == 1 { format!("{}{suffix}", items[0]) } else { format!("{{{}}}{suffix}", items.join(",")) }
}

/// The longest end, starting with a dot, that all hosts share and that leaves each of them something.
fn common_labels<'a>(hosts: &[&'a str]) -> &'a str {
    let first = hosts[0];
    let ends = memchr::memchr_iter(b'.', first.as_bytes()).map(|dot| &first[dot..]);
    ends.into_iter().find(|end| hosts.iter().all(|host| host.len() > end.len() && host.ends_with(end))).unwrap_or("")
}

/// Writes heads that differ only in their last number as one.
fn fold_numbers(heads: &[&str]) -> Vec<String> {
    let mut groups: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for head in heads {
        let (before, digits, behind) = around_last_number(head);
        groups.entry((before, behind)).or_default().push(digits);
    }
    groups
        .into_iter()
        .map(|((before, behind), mut numbers)| {
            numbers.sort_unstable_by_key(|digits| (digits.len(), *digits));
            match numbers.as_slice() {
                [one] => format!("{before}{one}{behind}"),
                many => format!("{before}[{}]{behind}", ranges(many)),
            }
        })
        .collect()
}

fn around_last_number(head: &str) -> (&str, &str, &str) {
    let Some(last) = head.rfind(|c: char| c.is_ascii_digit()) else { return (head, "", "") };
    let first = head[..=last].rfind(|c: char| !c.is_ascii_digit()).map_or(0, |before| before + 1);
    (&head[..first], &head[first..=last], &head[last + 1..])
}

/// `1-3,7,010`: at least three in a row become a range. Sorted by length, then text, which is by value.
fn ranges(numbers: &[&str]) -> String {
    let value = |digits: &str| digits.parse::<u64>().ok().filter(|value| value.to_string() == digits);
    let mut out: Vec<String> = Vec::new();
    let mut rest = numbers;
    while let Some((&first, behind)) = rest.split_first() {
        let start = value(first);
        let follows = |(at, digits): (usize, &&str)| {
            start.and_then(|start| start.checked_add(at as u64 + 1)).is_some_and(|next| value(digits) == Some(next))
        };
        let run = behind.iter().enumerate().take_while(|&item| follows(item)).count();
        if run >= 2 {
            out.push(format!("{first}-{}", behind[run - 1]));
            rest = &behind[run..];
        } else {
            out.push(first.to_owned());
            rest = behind;
        }
    }
    out.join(",")
}

fn shorten(text: String) -> String {
    if text.len() <= LONGEST {
        return text;
    }
    let mut hasher = SipHasher13::new();
    hasher.write(text.as_bytes());
    let head: String = text.chars().take(LONGEST - 17).collect();
    format!("{head}~{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn common_parts_are_written_once() {
        for (hosts, name) in [
            (vec!["mx.example.org"], "mx.example.org"),
            (vec!["b.example.org", "a.example.org", "b.example.org"], "{a,b}.example.org"),
            (vec!["mx1.example.org", "mx2.example.org"], "mx[1,2].example.org"),
            (vec!["mx3.x.org", "mx1.x.org", "mx10.x.org", "mx2.x.org"], "mx[1-3,10].x.org"),
            (vec!["mx01.x.org", "mx02.x.org", "mx1.x.org"], "mx[1,01,02].x.org"),
            (
                vec![
                    "gmail-smtp-in.l.google.com",
                    "alt1.gmail-smtp-in.l.google.com",
                    "alt2.gmail-smtp-in.l.google.com",
                    "alt3.gmail-smtp-in.l.google.com",
                    "alt4.gmail-smtp-in.l.google.com",
                ],
                "{alt[1-4].gmail-smtp-in,gmail-smtp-in}.l.google.com",
            ),
            (vec!["a.x.org", "b.y.net"], "{a.x.org,b.y.net}"),
            (vec!["mx.x", "x"], "{mx.x,x}"),
            (vec!["127.0.0.1:2525", "127.0.0.2:2525"], "{127.0.0.1:2525,127.0.0.2:2525}"),
        ] {
            assert_eq!(fold(&hosts), name, "{hosts:?}");
        }
    }

    #[test]
    fn a_long_name_is_cut_and_stays_its_own() {
        let hosts: Vec<String> = (0..40).map(|at| format!("host-{}.example{at}.org", "x".repeat(at))).collect();
        let name = fold(&hosts);
        assert_eq!(name.len(), LONGEST);
        assert_ne!(name, fold(&hosts[..39]));
        assert_eq!(name, fold(&hosts));
    }

    proptest! {
        #[test]
        fn different_sets_have_different_names(
            a in proptest::collection::btree_set("([a01]{1,3}\\.){1,2}x", 1..5),
            b in proptest::collection::btree_set("([a01]{1,3}\\.){1,2}x", 1..5),
        ) {
            let name = |set: &std::collections::BTreeSet<String>| fold(&set.iter().collect::<Vec<_>>());
            prop_assert_eq!(a == b, name(&a) == name(&b));
            prop_assert!(name(&a).len() <= LONGEST);
        }
    }
}
