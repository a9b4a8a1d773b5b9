//! Which patterns are worth trying on a text.
//!
//! Some two hundred patterns, most of them alternations of phrases with gaps, make an automaton too large to be built
//! at once and too varied to be kept when it is built on demand: measured, one set of all of them took a millisecond a
//! reply. So for every branch of every pattern up to three sets of words are found of which every match has to contain
//! one each ([`need`], on the shapes that [`shape`] reads). All words of all patterns are looked for in one pass, and
//! only patterns with a branch whose sets were all met are tried, in their order: between three and four for a usual reply.
//!
//! A branch and not the whole pattern is looked at because one phrase without a good word would otherwise have its
//! pattern tried on every text; sets from anywhere in the branch, because "who" and "what is said of him" stand on either
//! side of a gap and are each too common alone.
//!
//! The words are looked up in a sorted list, the eight octets at each place of the text at once: what is found is the
//! longest word there, and every other word there is one of its beginnings, to which it is linked. That costs about what
//! an automaton costs per octet, without the building of one, and as little on the worst of texts.

mod need;
mod shape;
mod word;

use smallvec::SmallVec;
use word::{SHORTEST, Word};

/// Buckets of the list of words, as power of two: enough that most are empty.
const BUCKETS: u32 = 13;

/// Finds the patterns that a text may match.
#[derive(Debug)]
pub(super) struct Needles {
    words: Vec<Needle>,
    /// Where in `words` each bucket begins, and where the last one ends.
    buckets: Vec<u16>,
    /// The branches that look for a word, and for which of their sets, as bit; each word's together.
    wanted: Vec<(u16, u8)>,
    /// For each branch: its pattern, and the bits of all its sets.
    branches: Vec<(u16, u8)>,
    /// Patterns with a branch without words: worth trying on any text.
    always: Vec<u16>,
    patterns: usize,
}

/// A word that is looked for.
#[derive(Clone, Copy, Debug)]
struct Needle {
    word: Word,
    /// The longest other word it begins with; itself if there is none.
    beginning: u16,
    /// Where in `wanted` its branches are.
    wanted: (u32, u32),
}

impl Needles {
    /// Takes the words out of `patterns`; `None` if there are too many.
    pub(super) fn new<'a>(patterns: impl Iterator<Item = &'a str>) -> Option<Self> {
        let (mut wishes, mut branches, mut always, mut count) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for pattern in patterns {
            let at = u16::try_from(count).ok()?;
            count += 1;
            let Some(needs) = need::needs_of(pattern) else {
                always.push(at);
                continue;
            };
            for sets in needs {
                let branch = u16::try_from(branches.len()).ok()?;
                branches.push((at, (1 << sets.len()) - 1));
                for (bit, set) in sets.iter().enumerate() {
                    wishes.extend(set.iter().map(|word| (word.beginning::<BUCKETS>(), *word, branch, 1 << bit)));
                }
            }
        }
        // By bucket, there by word.
        wishes.sort_unstable();
        let mut needles =
            Self { words: Vec::new(), buckets: Vec::new(), wanted: Vec::new(), branches, always, patterns: count };
        for same in wishes.chunk_by(|one, next| one.1 == next.1) {
            let &[(bucket, word, ..), ..] = same else { continue };
            needles.add(bucket, word, same.iter().map(|(.., branch, bit)| (*branch, *bit)))?;
        }
        needles.buckets.resize((1 << BUCKETS) + 1, u16::try_from(needles.words.len()).ok()?);
        Some(needles)
    }

    /// Adds a word, which comes behind all that were added before; `None` if there are too many.
    fn add(&mut self, bucket: usize, word: Word, wanted: impl Iterator<Item = (u16, u8)>) -> Option<()> {
        let at = u16::try_from(self.words.len()).ok()?;
        if bucket >= self.buckets.len() {
            self.buckets.resize(bucket + 1, at);
        }
        let first = self.buckets[bucket];
        let beginning = if at > first { self.longest(at - 1, word) } else { None };
        let from = u32::try_from(self.wanted.len()).ok()?;
        self.wanted.extend(wanted);
        let to = u32::try_from(self.wanted.len()).ok()?;
        self.words.push(Needle { word, beginning: beginning.unwrap_or(at), wanted: (from, to) });
        Some(())
    }

    /// The longest word with which `text` begins among `last` and the beginnings of that, which is the last of its
    /// bucket that is not behind `text` in order: so whatever `text` begins with, `last` begins with too.
    fn longest(&self, mut last: u16, text: Word) -> Option<u16> {
        loop {
            let needle = &self.words[usize::from(last)];
            if text.begins_with(needle.word) {
                return Some(last);
            }
            if needle.beginning == last {
                return None;
            }
            last = needle.beginning;
        }
    }

    /// Calls `each` with all words that stand in `text`.
    fn find(&self, text: &[u8], mut each: impl FnMut(&Needle)) {
        let mut ahead = text.iter();
        let mut window = (0..8).fold(Word::EMPTY, |window, _| window.shifted(ahead.next().copied().unwrap_or(0)));
        for _ in SHORTEST..=text.len() {
            let bucket = window.beginning::<BUCKETS>();
            let (from, to) = (self.buckets[bucket], self.buckets[bucket + 1]);
            if from < to {
                let bucket = &self.words[usize::from(from)..usize::from(to)];
                // No more than there are words, which are counted in u16.
                let before = bucket.partition_point(|needle| needle.word <= window);
                let mut last = (before > 0).then(|| from + before as u16 - 1);
                while let Some(at) = last.and_then(|last| self.longest(last, window)) {
                    let needle = &self.words[usize::from(at)];
                    each(needle);
                    last = (needle.beginning != at).then_some(needle.beginning);
                }
            }
            window = window.shifted(ahead.next().copied().unwrap_or(0));
        }
    }

    /// Calls `check` with the patterns that `text` may match, in order, until it gives something.
    pub(super) fn first<T>(&self, text: &[u8], mut check: impl FnMut(usize) -> Option<T>) -> Option<T> {
        let mut met: SmallVec<[u8; 2048]> = zeros(self.branches.len());
        // One bit for each pattern.
        let mut candidates: SmallVec<[u64; 16]> = zeros(self.patterns.div_ceil(64));
        let admit = |candidates: &mut [u64], pattern: u16| candidates[usize::from(pattern) / 64] |= 1 << (pattern % 64);
        self.always.iter().for_each(|&pattern| admit(&mut candidates, pattern));
        self.find(text, |needle| {
            for &(branch, bit) in &self.wanted[needle.wanted.0 as usize..needle.wanted.1 as usize] {
                let met = &mut met[usize::from(branch)];
                *met |= bit;
                let (pattern, all) = self.branches[usize::from(branch)];
                if *met == all {
                    admit(&mut candidates, pattern);
                }
            }
        });
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

/// `len` zeros; cleared at once, where [`SmallVec::from_elem`] writes them one by one.
fn zeros<T: Copy + Default, const N: usize>(len: usize) -> SmallVec<[T; N]>
where
    [T; N]: smallvec::Array<Item = T>,
{
    if len > N { vec![T::default(); len].into() } else { SmallVec::from_buf_and_len([T::default(); N], len) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    /// Words of one bucket, words within words, and words that a text ends in the middle of.
    #[test]
    fn every_word_is_found_where_it_stands() {
        let patterns = ["mai", "mail", "mailb", "mailbox full", "mailing", "ail", "ilb", "abc|mailbag"];
        for (text, seen) in [
            ("MAILBOX FULL", &[0, 1, 2, 3, 5, 6][..]),
            ("mailing", &[0, 1, 4, 5]),
            ("mailbag", &[0, 1, 2, 5, 6, 7]),
            ("xmai", &[0]),
            ("ma", &[]),
            ("ma\0il", &[]),
            ("mai\0", &[0]),
        ] {
            assert_eq!(candidates(&patterns, text), seen, "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_tried_on_every_text() {
        let patterns = [
            "(?i)spam",
            "\\x41bc",
            "(?P<who>abc)d",
            "[[:alpha:]]bcdef",
            "abc{1,x}",
            "abc\\b{start}",
            "(abc",
            "\u{0}abc",
        ];
        assert_eq!(candidates(&patterns, "nothing of it"), (0..patterns.len()).collect::<Vec<_>>());
        let deep = format!("{}abc{}", "(".repeat(10_000), ")".repeat(10_000));
        assert_eq!(candidates(&[&deep], ""), [0]);
    }

    /// A pattern, and a text that it matches, made together.
    fn pattern_and_text() -> impl Strategy<Value = (String, String)> {
        let plain = "[a-dA-D .éß]{0,9}".prop_map(|text| (text.replace('.', "\\."), text));
        let open = ("[a-c]{1,3}", "[a-e ]{0,3}").prop_flat_map(|(class, text)| {
            prop::sample::select(vec![
                (format!("[{class}]"), class[..1].to_owned()),
                (format!("[^{class}]+?"), "eé".to_owned()),
                (format!("[{class}]*"), String::new()),
                (".*".to_owned(), text.clone()),
                ("\\b".to_owned(), String::new()),
                ("\\w{0,2}".to_owned(), String::new()),
                ("[a-c]{2,}".to_owned(), class.repeat(2)),
            ])
        });
        prop_oneof![3 => plain, 1 => open].prop_recursive(5, 40, 4, |inner| {
            prop_oneof![
                3 => prop::collection::vec(inner.clone(), 1..4)
                    .prop_map(|all| all.into_iter().unzip::<_, _, Vec<_>, Vec<_>>())
                    .prop_map(|(patterns, texts)| (patterns.concat(), texts.concat())),
                3 => (prop::collection::vec(inner.clone(), 1..4), any::<prop::sample::Index>(), any::<bool>()).prop_map(
                    |(all, which, open)| {
                        let text = which.get(&all).1.clone();
                        let patterns: Vec<String> = all.into_iter().map(|(pattern, _)| pattern).collect();
                        (format!("({}{})", if open { "?:" } else { "" }, patterns.join("|")), text)
                    }
                ),
                1 => (inner.clone(), 0..3_usize)
                    .prop_map(|((pattern, text), times)| (format!("({pattern}){{0,2}}"), text.repeat(times))),
                1 => (inner.clone(), 1..3_usize)
                    .prop_map(|((pattern, text), times)| (format!("({pattern})+"), text.repeat(times))),
                1 => (inner, any::<bool>())
                    .prop_map(|((pattern, text), there)| (format!("({pattern})?"), if there { text } else { String::new() })),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        /// The words are found by a reader that knows less than the one that matches: it must not find too many.
        #[test]
        fn a_pattern_that_matches_is_a_candidate((pattern, text) in pattern_and_text(), upper: bool) {
            let text = if upper { text.to_ascii_uppercase() } else { text };
            let regex = regex::bytes::RegexBuilder::new(&pattern).case_insensitive(true).unicode(false).build();
            // A word boundary or a letter of two octets in a class may not be as the text was made.
            prop_assume!(regex.is_ok_and(|regex| regex.is_match(text.as_bytes())));
            prop_assert_eq!(candidates(&[&pattern], &text), [0]);
        }
    }
}
