//! Which patterns are worth trying on a text.
//!
//! Some two hundred patterns, most of them alternations of phrases with gaps, make an automaton too large to be built
//! at once and too varied to be kept when it is built on demand: measured, one set of all of them took a millisecond a
//! reply. So every pattern is taken apart into the branches of its outermost alternation, and for each branch up to three
//! sets of words are found of which every match has to contain one each. All words of all patterns are looked for in one
//! pass (Aho–Corasick), and only patterns with a branch whose sets were all met are tried, in their order: about four for
//! a usual reply.
//!
//! A branch and not the whole pattern is looked at because one phrase without a good word would otherwise have its
//! pattern tried on every text; sets from anywhere in the branch, because "who" and "what is said of him" stand on either
//! side of a gap and are each too common alone.

use std::cmp::Reverse;
use std::collections::HashMap;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use regex_syntax::hir::literal::{ExtractKind, Extractor};
use regex_syntax::hir::{Hir, HirKind};
use smallvec::SmallVec;

/// A word shorter than this tells too little to be looked for.
const SHORTEST: usize = 3;
/// Octets of a word that are looked for: enough to tell words apart, few enough that the automaton is small.
const LONGEST: usize = 8;
/// Sets of words kept for a branch.
const SETS: usize = 3;
/// Words in a set; a larger one says little.
const MOST: usize = 600;

/// Words of which one has to be there, in lower case.
type Set = Vec<Vec<u8>>;

/// Finds the patterns that a text may match.
#[derive(Debug)]
pub(super) struct Needles {
    words: AhoCorasick,
    /// For each word: the branches that look for it, and for which of their sets, as bit.
    wanted: Vec<Vec<(u16, u8)>>,
    /// For each branch: its pattern, and the bits of all its sets.
    branches: Vec<(u16, u8)>,
    /// Patterns with a branch without words: worth trying on any text.
    always: Vec<u16>,
    patterns: usize,
}

impl Needles {
    /// Takes the words out of `patterns`; `None` if there are too many.
    pub(super) fn new<'a>(patterns: impl Iterator<Item = &'a str>) -> Option<Self> {
        let (mut words, mut wanted) = (Vec::<Vec<u8>>::new(), Vec::<Vec<(u16, u8)>>::new());
        let mut places = HashMap::<Vec<u8>, usize>::new();
        let (mut branches, mut always, mut count) = (Vec::new(), Vec::new(), 0);
        for pattern in patterns {
            let at = u16::try_from(count).ok()?;
            count += 1;
            let needs = needs_of(pattern);
            if needs.is_empty() || needs.iter().any(Vec::is_empty) {
                always.push(at);
                continue;
            }
            for sets in needs {
                let branch = u16::try_from(branches.len()).ok()?;
                branches.push((at, (1 << sets.len()) - 1));
                for (bit, word) in
                    sets.into_iter().enumerate().flat_map(|(bit, set)| set.into_iter().map(move |w| (bit, w)))
                {
                    let place = *places.entry(word).or_insert_with_key(|word| {
                        words.push(word.clone());
                        wanted.push(Vec::new());
                        words.len() - 1
                    });
                    wanted[place].push((branch, 1 << bit));
                }
            }
        }
        let words = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(&words)
            .ok()?;
        Some(Self { words, wanted, branches, always, patterns: count })
    }

    /// Calls `check` with the patterns that `text` may match, in order, until it gives something.
    pub(super) fn first<T>(&self, text: &[u8], mut check: impl FnMut(usize) -> Option<T>) -> Option<T> {
        let mut met = SmallVec::<[u8; 2048]>::from_elem(0, self.branches.len());
        // One bit for each pattern.
        let mut candidates = SmallVec::<[u64; 16]>::from_elem(0, self.patterns.div_ceil(64));
        let admit = |candidates: &mut [u64], pattern: u16| candidates[usize::from(pattern) / 64] |= 1 << (pattern % 64);
        self.always.iter().for_each(|&pattern| admit(&mut candidates, pattern));
        for found in self.words.find_overlapping_iter(text) {
            for &(branch, bit) in &self.wanted[found.pattern().as_usize()] {
                let met = &mut met[usize::from(branch)];
                *met |= bit;
                let (pattern, all) = self.branches[usize::from(branch)];
                if *met == all {
                    admit(&mut candidates, pattern);
                }
            }
        }
        for (at, mut bits) in candidates.into_iter().enumerate() {
            while bits != 0 {
                if let Some(found) = check(at * 64 + bits.trailing_zeros() as usize) {
                    return Some(found);
                }
                bits &= bits - 1;
            }
        }
        None
    }
}

/// For each branch of `pattern` its sets; none for a pattern that cannot be read.
fn needs_of(pattern: &str) -> Vec<Vec<Set>> {
    let mut needs = Vec::new();
    // Read as case-sensitive, the words put in lower case: the search itself does not look at case.
    if let Ok(hir) = regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build().parse(pattern) {
        branches(&hir, &mut needs);
    }
    needs
}

fn branches(hir: &Hir, needs: &mut Vec<Vec<Set>>) {
    match bare(hir).kind() {
        HirKind::Alternation(all) => all.iter().for_each(|one| branches(one, needs)),
        HirKind::Concat(parts) => {
            let mut sets = sets_of(parts);
            // Its beginning as a whole is often longer than any part.
            sets.extend(beginning(parts));
            sets.sort_by_key(worth);
            sets.truncate(SETS);
            needs.push(sets);
        }
        _ => needs.push(words(hir).into_iter().collect()),
    }
}

/// One set for each of `parts` that has one; else, of neighbours that are too short alone, the first together.
fn sets_of(parts: &[Hir]) -> Vec<Set> {
    let mut sets: Vec<Set> = parts.iter().filter_map(words).collect();
    if sets.is_empty() {
        sets.extend((0..parts.len()).find_map(|at| beginning(&parts[at..])));
    }
    sets.sort_by_key(worth);
    sets
}

/// Long words before short ones, few before many.
fn worth(set: &Set) -> (Reverse<usize>, usize) {
    (Reverse(set.iter().map(Vec::len).min().unwrap_or(0)), set.len())
}

/// Words of which one stands in every match of `hir`.
fn words(hir: &Hir) -> Option<Set> {
    match bare(hir).kind() {
        HirKind::Literal(word) => good(vec![word.0.to_vec()]),
        HirKind::Alternation(all) => {
            let each: Option<Vec<Set>> = all.iter().map(words).collect();
            good(each?.concat())
        }
        HirKind::Concat(parts) => sets_of(parts).into_iter().next(),
        HirKind::Repetition(repeated) if repeated.min > 0 => words(&repeated.sub),
        _ => None,
    }
}

/// Words with which every match of the first few of `parts` begins.
fn beginning(parts: &[Hir]) -> Option<Set> {
    let some = Hir::concat(parts.iter().take(4).cloned().collect());
    let mut found = Extractor::new().kind(ExtractKind::Prefix).limit_total(100).extract(&some);
    found.keep_first_bytes(LONGEST);
    good(found.literals()?.iter().map(|word| word.as_bytes().to_vec()).collect())
}

fn good(words: Set) -> Option<Set> {
    let mut words: Set = words.iter().map(|word| word[..word.len().min(LONGEST)].to_ascii_lowercase()).collect();
    words.sort();
    words.dedup();
    let good = !words.is_empty() && words.len() <= MOST && words.iter().all(|word| word.len() >= SHORTEST);
    good.then_some(words)
}

fn bare(hir: &Hir) -> &Hir {
    match hir.kind() {
        HirKind::Capture(group) => bare(&group.sub),
        _ => hir,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(patterns: &[&str], text: &str) -> Vec<usize> {
        let needles = Needles::new(patterns.iter().copied()).expect("few patterns");
        let mut found = Vec::new();
        needles.first(text.as_bytes(), |at| {
            found.push(at);
            None::<()>
        });
        found
    }

    #[test]
    fn only_patterns_whose_words_are_there_are_tried() {
        let patterns = ["user.*unknown", "(mail|in)box (full|locked)", "[0-9]+", "\\bAUP#CX"];
        assert_eq!(candidates(&patterns, "USER is UNKNOWN"), [0, 2]);
        assert_eq!(candidates(&patterns, "user is known"), [2]);
        assert_eq!(candidates(&patterns, "Inbox FULL aup#cxbl"), [1, 2, 3]);
    }

    #[test]
    fn branches_are_looked_at_one_by_one() {
        let patterns = ["(your|this) ip\\b.*(blocked|banned)|reputation|(sp|h)am", "", "a|spam"];
        for (text, seen) in [
            ("your IP was banned", &[0, 1, 2][..]),
            ("your IP was", &[1, 2]),
            ("was banned", &[1, 2]),
            ("REPUTATION", &[0, 1, 2]),
            ("spam", &[0, 1, 2]),
            ("", &[1, 2]),
        ] {
            assert_eq!(candidates(&patterns, text), seen, "{text}");
        }
    }

    /// More patterns than fit one word of the bit set, in their order.
    #[test]
    fn patterns_come_in_their_order() {
        let patterns: Vec<String> = (100..300).map(|n| format!("n{n}word|other")).collect();
        let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
        assert_eq!(candidates(&patterns, "other"), (0..200).collect::<Vec<_>>());
        assert_eq!(candidates(&patterns, "n299word n100word n163word n164word"), [0, 63, 64, 199]);
    }
}
