//! Words that patterns need, and sets of them.

use smallvec::SmallVec;

/// Up to eight octets of a text, in lower case, the first the most significant; behind the last are zeros.
///
/// Eight tell words apart well enough, and fit a register: a word is compared, cut and put before another in one step.
/// One of full length may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Word(u64);

/// Words of which every match of something has one.
pub(super) type Set = SmallVec<[Word; 8]>;

/// A word shorter than this tells too little to be looked for.
pub(super) const SHORTEST: usize = 3;

impl Word {
    pub(super) const EMPTY: Self = Self(0);
    const OCTETS: usize = size_of::<u64>();

    /// The beginning of `text`; `None` if it has a NUL.
    pub(super) fn new(text: &[u8]) -> Option<Self> {
        let mut octets = [0; Self::OCTETS];
        for (octet, from) in octets.iter_mut().zip(text) {
            *octet = from.to_ascii_lowercase();
        }
        let word = Self(u64::from_be_bytes(octets));
        (word.len() == text.len().min(Self::OCTETS) && !octets[..word.len()].contains(&0)).then_some(word)
    }

    pub(super) fn len(self) -> usize {
        Self::OCTETS - (self.0.trailing_zeros() / 8) as usize
    }

    pub(super) fn is_full(self) -> bool {
        self.0.trailing_zeros() < 8
    }

    /// This with `next` behind it.
    pub(super) fn then(self, next: Self) -> Self {
        if self.is_full() { self } else { Self(self.0 | next.0 >> (8 * self.len())) }
    }

    /// Whether `self` begins with `word`.
    pub(super) fn begins_with(self, word: Self) -> bool {
        self.0 & (u64::MAX << (word.0.trailing_zeros().min(63) / 8 * 8)) == word.0
    }

    /// The window of a text that begins one octet later and ends with `octet`.
    pub(super) fn shifted(self, octet: u8) -> Self {
        Self(self.0 << 8 | u64::from(octet.to_ascii_lowercase()))
    }

    /// Says little of words that begin with other three octets: below 2^`BITS`.
    pub(super) fn beginning<const BITS: u32>(self) -> usize {
        // Fibonacci hashing: multiplied by 2^32 over the golden ratio, the upper bits depend on all.
        (((self.0 >> 40) as u32).wrapping_mul(0x9E37_79B9) >> (32 - BITS)) as usize
    }
}

/// Every word of `firsts` before every one of `seconds`; `None` if there are more than `most`.
pub(super) fn product(firsts: &Set, seconds: &Set, most: usize) -> Option<Set> {
    let mut all = Set::new();
    for first in firsts {
        if first.is_full() {
            all.push(*first);
        } else {
            all.extend(seconds.iter().map(|second| first.then(*second)));
        }
        if all.len() > 2 * most {
            return None;
        }
    }
    tidy(&mut all);
    (all.len() <= most).then_some(all)
}

/// Sorted, each once.
pub(super) fn tidy(set: &mut Set) {
    set.sort_unstable();
    set.dedup();
}

/// How often one of the words is met by chance, in units of the rarest.
pub(super) fn chance(set: &Set) -> u64 {
    set.iter().map(|word| 1 << (2 * (Word::OCTETS - word.len()))).sum()
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    impl fmt::Display for Word {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&String::from_utf8_lossy(&self.0.to_be_bytes()[..self.len()]))
        }
    }

    fn word(text: &str) -> Word {
        Word::new(text.as_bytes()).expect("no NUL")
    }

    fn set(words: &[&str]) -> Set {
        words.iter().copied().map(word).collect()
    }

    #[test]
    fn words_are_cut_at_eight_octets() {
        for (first, second, both) in [
            ("", "ab", "ab"),
            ("Mail", "box", "mailbox"),
            ("mail", "boxes", "mailboxe"),
            ("mailboxes", "are", "mailboxe"),
            ("ab", "", "ab"),
        ] {
            assert_eq!(word(first).then(word(second)), word(both));
            assert_eq!(word(both).to_string(), both);
            assert_eq!(word(both).len(), both.len());
        }
        assert_eq!(Word::new(b"a\0b"), None);
    }

    #[test]
    fn a_word_begins_with_its_beginnings() {
        for end in 1..=8 {
            assert!(word("abcdefgh").begins_with(word(&"abcdefgh"[..end])));
            assert!(!word("abcdefgh").begins_with(word(&format!("{}x", &"abcdefgh"[..end - 1]))));
        }
        assert!(!word("abc").begins_with(word("abcd")));
    }

    #[test]
    fn products_have_every_pair_once_and_an_end() {
        let (a, b) = (set(&["my ", "mailboxes"]), set(&["ip", "ips", "ip"]));
        assert_eq!(product(&a, &b, 3), Some(set(&["mailboxe", "my ip", "my ips"])));
        assert_eq!(product(&a, &b, 2), None);
    }

    #[test]
    fn long_and_few_words_are_met_least() {
        assert!(chance(&set(&["abcd"])) < chance(&set(&["abc"])));
        assert!(chance(&set(&["abcd", "abce"])) > chance(&set(&["abcd"])));
        assert!(chance(&set(&["abcde", "bcdef", "cdefg"])) < chance(&set(&["abcd"])));
    }
}
