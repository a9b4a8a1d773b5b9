//! What every match of a pattern has to contain.
//!
//! A pattern is taken apart into the branches of its outermost alternation. For each up to three sets are chosen of which
//! every match has one word each: the beginnings of what stands at one place ("(this|your) ip" → `this ip`, `your ip`),
//! those first that are met by chance least often, and no two from the same place.

use std::cmp::Reverse;

use super::shape::{Part, Sequence, branches};
use super::word::{SHORTEST, Set, Word, chance, product, tidy};

/// Sets of words kept for a branch.
const SETS: usize = 3;
/// Words that are made by putting words together; more are cut short.
const MADE: usize = 100;
/// Words in a set; a larger one says little.
const MOST: usize = 600;

/// For each branch of `pattern` its sets; `None` if there is a branch without, or if the pattern is not understood.
pub(super) fn needs_of(pattern: &str) -> Option<Vec<Vec<Set>>> {
    let mut needs = Vec::new();
    branches(pattern)?.iter().all(|branch| outermost(branch, &mut needs)).then_some(needs)
}

fn outermost(branch: &Sequence, needs: &mut Vec<Vec<Set>>) -> bool {
    if let [Part::Choice(all)] = branch.as_slice() {
        return all.iter().all(|one| outermost(one, needs));
    }
    let mut found = sets_of(branch);
    // Of equals the later: phrases begin alike.
    found.sort_by_key(|found| (chance(&found.set), Reverse(found.from)));
    let mut chosen: Vec<Found> = Vec::with_capacity(SETS);
    for one in found {
        if chosen.len() < SETS && chosen.iter().all(|other| one.to <= other.from || other.to <= one.from) {
            chosen.push(one);
        }
    }
    let some = !chosen.is_empty();
    needs.push(chosen.into_iter().map(|found| found.set).collect());
    some
}

/// A set, and from where to where in its sequence the parts stand that it was taken from.
struct Found {
    set: Set,
    from: usize,
    to: usize,
}

/// All sets of `parts`.
fn sets_of(parts: &[Part]) -> Vec<Found> {
    let exact: Vec<Option<Set>> = parts.iter().map(exact).collect();
    let mut found = Vec::new();
    for (from, part) in parts.iter().enumerate() {
        let (set, parts) = beginning(&parts[from..], &exact[from..]);
        if is_good(&set) {
            found.push(Found { set, from, to: from + parts });
        }
        if let Some(set) = inside(part) {
            found.push(Found { set, from, to: from + 1 });
        }
    }
    found
}

fn is_good(set: &Set) -> bool {
    !set.is_empty() && set.len() <= MOST && set.iter().all(|word| word.len() >= SHORTEST)
}

/// Words of which one stands in every match of a choice.
fn inside(part: &Part) -> Option<Set> {
    let (Part::Choice(all) | Part::Repeated(all)) = part else { return None };
    if all.iter().any(Vec::is_empty) {
        return None;
    }
    let mut set = Set::new();
    for one in all {
        set.extend(sets_of(one).into_iter().map(|found| found.set).min_by_key(chance)?);
    }
    tidy(&mut set);
    is_good(&set).then_some(set)
}

/// All that `part` matches, cut to the length of a word; `None` if that is open or too much.
fn exact(part: &Part) -> Option<Set> {
    match part {
        Part::Text(word) => Some(Set::from_slice(&[*word])),
        Part::Choice(all) => {
            let mut set = Set::new();
            for one in all {
                let start = Set::from_slice(&[Word::EMPTY]);
                set.extend(one.iter().try_fold(start, |set, part| product(&set, &exact(part)?, MADE))?);
            }
            tidy(&mut set);
            (set.len() <= MADE).then_some(set)
        }
        Part::Repeated(_) | Part::Open => None,
    }
}

/// Words with which every match of `parts` begins, and how many parts they are taken from; `exact` as of those.
fn beginning(parts: &[Part], exact: &[Option<Set>]) -> (Set, usize) {
    let mut set = Set::from_slice(&[Word::EMPTY]);
    for (at, (part, exact)) in parts.iter().zip(exact).enumerate() {
        if set.iter().all(|word| word.is_full()) {
            return (set, at);
        }
        let whole = exact.as_ref().and_then(|exact| product(&set, exact, MADE));
        if let Some(whole) = whole {
            set = whole;
            continue;
        }
        // What comes behind an open part is not at the beginning any more.
        return match opening(part).and_then(|open| product(&set, &open, MADE)) {
            Some(longer) => (longer, at + 1),
            None => (set, at),
        };
    }
    (set, parts.len())
}

/// Words with which every match of a part begins that is not exact.
fn opening(part: &Part) -> Option<Set> {
    let (Part::Choice(all) | Part::Repeated(all)) = part else { return None };
    let mut set = Set::new();
    for one in all {
        let exact: Vec<Option<Set>> = one.iter().map(exact).collect();
        set.extend(beginning(one, &exact).0);
    }
    tidy(&mut set);
    Some(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_need_words() {
        for (pattern, needs) in [
            ("user unknown", "user unk; nown"),
            ("(my|your) ip\\b.*blocked", "blocked; my ip,your ip"),
            ("(ham|egg)|spam", "ham | egg | spam"),
            ("no( such)? user", "no such ,no user"),
            ("(is )?listed+ (on|in|at) (my|the)", "listed;  at my, at the, in my, in the, on my, on the"),
            ("a.*(block|bann)ed", "banned,blocked"),
            ("(too many )+mails", "too many; mails"),
            // Cut where it is open.
            ("(mail.*x|box)es full", "es full; box,mail"),
        ] {
            let drawn = needs_of(pattern).map(|branches| {
                let set = |set: &Set| set.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
                let sets = |sets: &Vec<Set>| sets.iter().map(set).collect::<Vec<_>>().join("; ");
                branches.iter().map(sets).collect::<Vec<_>>().join(" | ")
            });
            assert_eq!(drawn.as_deref(), Some(needs), "{pattern}");
        }
    }

    #[test]
    fn a_branch_without_words_makes_the_pattern_one_for_every_text() {
        for pattern in ["", "[0-9]+", "spam|ab", "(spam)?", "(spam|)", "spam|(?i)ham"] {
            assert_eq!(needs_of(pattern), None, "{pattern}");
        }
    }

    /// Eight choices one behind the other would be a thousand and a half of words.
    #[test]
    fn too_many_words_are_cut_short() {
        let needs = needs_of(&"(b|c|d)".repeat(8)).expect("words");
        assert!(needs[0].iter().flatten().all(|word| word.len() == 4), "{needs:?}");
        assert!(needs[0].iter().all(|set| set.len() == 81), "{needs:?}");
    }
}
