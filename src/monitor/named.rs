//! Which lists a receiver's reply names.
//!
//! A refusal often says why: "blocked using zen.spamhaus.org", "see https://www.spamhaus.org/query/ip/192.0.2.1". That is
//! worth an immediate question, and it counts as one of the answers that confirm a listing — where the reply can only
//! mean this one list. It never counts alone: what a stranger writes into a reply suspends nobody.

use crate::config::Zone;

/// What a reply says about the zones of a configuration, by their number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// Zones that may be meant.
    pub meant: Vec<usize>,
    /// The one zone that is meant, where there is no doubt.
    pub exactly: Option<usize>,
}

/// Reads a reply.
pub fn named(reply: &str, zones: &[Zone]) -> Named {
    let reply = reply.to_lowercase();
    let with = |is: &dyn Fn(&Zone) -> bool| -> Vec<usize> {
        zones.iter().enumerate().filter(|(_, zone)| is(zone)).map(|(index, _)| index).collect()
    };
    let by_name = with(&|zone| holds(&reply, public_name(&zone.zone)));
    let meant = if by_name.is_empty() {
        with(&|zone| zone.aliases.iter().any(|alias| holds(&reply, &alias.to_lowercase())))
    } else {
        by_name
    };
    let exactly = if let [only] = meant[..] { Some(only) } else { None };
    Named { meant, exactly }
}

/// The name without the place of a key.
fn public_name(zone: &str) -> &str {
    zone.strip_prefix("{key}.").unwrap_or(zone)
}

/// Whether `text` holds `word` as a word: `xbl` is not in `pxblx`, and `bl.example` is not in `dbl.example`.
fn holds(text: &str, word: &str) -> bool {
    let word = word.trim();
    let inner = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric());
    !word.is_empty()
        && text
            .match_indices(word)
            .any(|(at, _)| !inner(text[..at].chars().next_back()) && !inner(text[at + word.len()..].chars().next()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zones() -> Vec<Zone> {
        let zone = |name: &str, domain: &str, aliases: &[&str]| Zone {
            aliases: aliases.iter().map(|a| (*a).to_owned()).collect(),
            ..Zone::new(name, domain)
        };
        vec![
            zone("zen", "zen.spamhaus.org", &["spamhaus"]),
            zone("keyed", "{key}.zen.dq.spamhaus.net", &["spamhaus"]),
            zone("cop", "bl.spamcop.net", &["spamcop"]),
            zone("own", "bl.example", &[]),
        ]
    }

    #[test]
    fn replies_name_lists_by_their_dns_name_or_by_what_people_call_them() {
        let table: &[(&str, &[usize], Option<usize>)] = &[
            ("550 5.7.1 blocked using ZEN.spamhaus.org, see https://example.org", &[0], Some(0)),
            ("554 Blocked - see https://www.spamcop.net/bl.shtml?192.0.2.1", &[2], Some(2)),
            ("550 Client host blocked using Spamhaus", &[0, 1], None),
            ("550 listed at key.zen.dq.spamhaus.net", &[1], Some(1)),
            ("550 blocked by bl.example", &[3], Some(3)),
            ("550 blocked by dbl.example, bl.examples", &[], None),
            ("550 notspamcopped", &[], None),
            ("550 no such user", &[], None),
            ("", &[], None),
            ("550 ünïcode Spamcöp spamcop", &[2], Some(2)),
        ];
        for (reply, meant, exactly) in table {
            let got = named(reply, &zones());
            assert_eq!((&got.meant[..], got.exactly), (*meant, *exactly), "{reply}");
        }
    }
}
