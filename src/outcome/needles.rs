//! Which patterns are worth trying on a text.
//!
//! Some two hundred patterns, most of them alternations of phrases with gaps, make an automaton too large to be built
//! at once and too varied to be kept when it is built on demand: measured, one set of all of them took a millisecond a
//! reply. So the words with which a pattern must begin and end are taken out of it, all words of all patterns are
//! looked for in one pass (Aho–Corasick), and only patterns whose words are there are tried, in their order. A handful
//! of them remains for a usual reply.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use regex_syntax::hir::literal::{ExtractKind, Extractor, Seq};

/// A word shorter than this tells too little to be looked for.
const SHORTEST: usize = 3;
/// Octets of a word that are looked for: enough to tell words apart, few enough that the automaton is small. Measured, 12
/// took four times as long to build and let through hardly fewer patterns.
const LONGEST: usize = 6;
/// Words that may stand for one end of a pattern.
const MOST: usize = 250;

/// Finds the patterns that a text may match.
#[derive(Debug)]
pub(super) struct Needles {
    words: AhoCorasick,
    /// For each word: the patterns that need it, and which of their two ends needs it.
    wanted: Vec<Vec<(u16, u8)>>,
    /// For each pattern: the ends for which a word must be seen, as bits.
    ends: Vec<u8>,
}

const BEGINS: u8 = 1;
const ENDS: u8 = 2;

impl Needles {
    /// Takes the words out of `patterns`; `None` if there are too many.
    pub(super) fn new<'a>(patterns: impl Iterator<Item = &'a str>) -> Option<Self> {
        let (mut words, mut wanted, mut ends) = (Vec::<Vec<u8>>::new(), Vec::<Vec<(u16, u8)>>::new(), Vec::new());
        let mut places = std::collections::HashMap::new();
        for (at, pattern) in patterns.enumerate() {
            let at = u16::try_from(at).ok()?;
            let mut needs = 0;
            for (kind, end) in [(ExtractKind::Prefix, BEGINS), (ExtractKind::Suffix, ENDS)] {
                for word in words_of(pattern, kind).unwrap_or_default() {
                    needs |= end;
                    let place = *places.entry(word.clone()).or_insert_with(|| {
                        words.push(word);
                        wanted.push(Vec::new());
                        words.len() - 1
                    });
                    wanted[place].push((at, end));
                }
            }
            ends.push(needs);
        }
        let words = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(&words)
            .ok()?;
        Some(Self { words, wanted, ends })
    }

    /// Calls `check` with the patterns that `text` may match, in order, until it gives something.
    pub(super) fn first<T>(&self, text: &[u8], mut check: impl FnMut(usize) -> Option<T>) -> Option<T> {
        let mut seen = smallvec::SmallVec::<[u8; 256]>::from_elem(0, self.ends.len());
        for found in self.words.find_overlapping_iter(text) {
            for &(pattern, end) in &self.wanted[found.pattern().as_usize()] {
                seen[usize::from(pattern)] |= end;
            }
        }
        let candidates = self.ends.iter().zip(&seen).enumerate().filter(|(_, (needed, seen))| *needed & !*seen == 0);
        candidates.map(|(at, _)| at).find_map(&mut check)
    }
}

/// Words of which one must stand at the beginning (or end) of every match of `pattern`, in lower case; `None` where
/// there is no such set or it is not worth looking for.
fn words_of(pattern: &str, kind: ExtractKind) -> Option<Vec<Vec<u8>>> {
    // In lower case and read as case-sensitive: the search itself does not look at case.
    let lower = regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build().parse(pattern).ok()?;
    let mut words: Seq = Extractor::new().kind(kind.clone()).limit_total(MOST).extract(&lower);
    match kind {
        ExtractKind::Prefix => words.keep_first_bytes(LONGEST),
        _ => words.keep_last_bytes(LONGEST),
    }
    let mut words: Vec<Vec<u8>> = words.literals()?.iter().map(|word| word.as_bytes().to_ascii_lowercase()).collect();
    words.sort();
    words.dedup();
    let good = !words.is_empty() && words.iter().all(|word| word.len() >= SHORTEST);
    good.then_some(words)
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
}
