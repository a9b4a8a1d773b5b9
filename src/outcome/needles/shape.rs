//! The shape of a pattern: where its fixed texts stand, and what is left open between them.
//!
//! Only so much of the syntax is read as is needed for that, in one pass over the pattern: reading with `regex-syntax`
//! took nine tenths of the time in which all rules are loaded, most of it for classes that say nothing here. What is not
//! known to this reader (flags, named groups, escapes by number, nested classes) makes it give up on the whole pattern,
//! which is then tried on every text: an operator's strange pattern is slower, never passed over.

use super::word::Word;

/// Texts that follow each other.
pub(super) type Sequence = Vec<Part>;

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// This text; behind a full word it may go on.
    Text(Word),
    /// One of these.
    Choice(Vec<Sequence>),
    /// One of these, then anything.
    Repeated(Vec<Sequence>),
    /// Anything, also nothing.
    Open,
}

/// Groups in groups: deeper ones are not followed, so that no pattern exhausts the stack.
const DEPTH: usize = 50;
/// Letters of a class that are told apart.
const LETTERS: usize = 10;

/// The branches of the outermost alternation of `pattern`; `None` if it holds something that is not understood.
pub(super) fn branches(pattern: &str) -> Option<Vec<Sequence>> {
    let mut reader = Reader { rest: pattern, depth: 0 };
    let branches = reader.choice()?;
    reader.rest.is_empty().then_some(branches)
}

struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn choice(&mut self) -> Option<Vec<Sequence>> {
        let mut all = vec![self.sequence()?];
        while self.skip("|") {
            all.push(self.sequence()?);
        }
        Some(all)
    }

    /// Up to the next `|` or `)`, or the end.
    fn sequence(&mut self) -> Option<Sequence> {
        let mut parts = Sequence::new();
        while !self.rest.is_empty() && !self.rest.starts_with(['|', ')']) {
            let plain = self.plain();
            plain.iter().filter_map(|octet| Word::new(&[*octet])).for_each(|word| push(&mut parts, Part::Text(word)));
            if plain.is_empty() {
                let atom = self.atom()?;
                self.repeated(atom)?.into_iter().for_each(|part| push(&mut parts, part));
            }
        }
        Some(parts)
    }

    /// Letters that stand for themselves, up to the one that a sign of repetition may belong to.
    fn plain(&mut self) -> &'a [u8] {
        let is_plain = |octet: &u8| {
            octet.is_ascii()
                && !matches!(octet, 0 | b'|' | b'(' | b')' | b'[' | b'\\' | b'^' | b'$' | b'.')
                && !is_sign(*octet)
        };
        let octets = self.rest.as_bytes();
        let run = octets.iter().take_while(|octet| is_plain(octet)).count();
        let run = run - usize::from(run > 0 && octets.get(run).is_some_and(|octet| is_sign(*octet)));
        let (plain, rest) = self.rest.split_at(run);
        self.rest = rest;
        plain.as_bytes()
    }

    /// What one repetition sign would belong to; nothing for what matches between octets.
    fn atom(&mut self) -> Option<Sequence> {
        let letter = self.next()?;
        Some(match letter {
            '^' | '$' => Vec::new(),
            '.' => vec![Part::Open],
            '[' => vec![self.class()?],
            '(' => self.group()?,
            '\\' => match self.next()? {
                'b' | 'B' | 'A' | 'z' | '<' | '>' => Vec::new(),
                'd' | 'D' | 's' | 'S' | 'w' | 'W' | 'n' | 'r' | 't' | 'f' | 'v' | 'a' => vec![Part::Open],
                letter if letter.is_ascii_alphanumeric() => return None,
                letter => vec![text(letter)?],
            },
            '*' | '+' | '?' | '{' => return None,
            letter => vec![text(letter)?],
        })
    }

    /// Behind `(`.
    fn group(&mut self) -> Option<Sequence> {
        if self.rest.starts_with('?') && !self.skip("?:") {
            return None;
        }
        self.depth += 1;
        if self.depth > DEPTH {
            return None;
        }
        let mut all = self.choice()?;
        self.depth -= 1;
        if !self.skip(")") {
            return None;
        }
        Some(if all.len() == 1 { all.pop()? } else { vec![Part::Choice(all)] })
    }

    /// Behind `[`. A few letters and digits are told apart, all else is open.
    fn class(&mut self) -> Option<Part> {
        let mut plain = !self.skip("^");
        let mut letters: Vec<char> = Vec::new();
        let mut empty = true;
        loop {
            let letter = self.next()?;
            match letter {
                ']' if !empty => break,
                // A class in a class, or what is done with two of them.
                '[' | '&' | '~' => return None,
                '\\' => match self.next()? {
                    'x' | 'u' | 'U' | 'p' | 'P' => return None,
                    escaped => letters.push(escaped),
                },
                '-' if !self.rest.starts_with(']') => match (letters.pop(), self.next()?) {
                    (Some(from), to) if from.is_ascii_alphanumeric() && to.is_ascii_alphanumeric() => {
                        letters.extend(from..=to);
                    }
                    (_, '[' | '\\') => return None,
                    _ => plain = false,
                },
                letter => letters.push(letter),
            }
            empty = false;
            plain &= letter == '-' || letter.is_ascii_alphanumeric();
        }
        plain &= letters.iter().all(char::is_ascii_alphanumeric);
        if !plain || letters.len() > LETTERS {
            return Some(Part::Open);
        }
        let each: Option<Vec<Sequence>> = letters.into_iter().map(|letter| Some(vec![text(letter)?])).collect();
        each.map(Part::Choice)
    }

    /// `atom` with the signs of repetition behind it.
    fn repeated(&mut self, mut atom: Sequence) -> Option<Sequence> {
        loop {
            let part = if self.skip("?") {
                Part::Choice(vec![atom, Vec::new()])
            } else if self.skip("*") {
                Part::Open
            } else if self.skip("+") {
                Part::Repeated(vec![atom])
            } else if self.skip("{") {
                let (inner, rest) = self.rest.split_once('}')?;
                self.rest = rest;
                let (least, most) = inner.split_once(',').unwrap_or((inner, ""));
                if !most.bytes().all(|b| b.is_ascii_digit()) {
                    return None;
                }
                if least.parse::<u32>().ok()? == 0 { Part::Open } else { Part::Repeated(vec![atom]) }
            } else {
                return Some(atom);
            };
            // Reluctant: matches elsewhere first, but the same texts.
            self.skip("?");
            atom = vec![part];
        }
    }

    fn next(&mut self) -> Option<char> {
        let letter = self.rest.chars().next()?;
        self.rest = &self.rest[letter.len_utf8()..];
        Some(letter)
    }

    fn skip(&mut self, sign: &str) -> bool {
        let behind = self.rest.strip_prefix(sign);
        self.rest = behind.unwrap_or(self.rest);
        behind.is_some()
    }
}

fn is_sign(octet: u8) -> bool {
    matches!(octet, b'*' | b'+' | b'?' | b'{')
}

fn text(letter: char) -> Option<Part> {
    Word::new(letter.encode_utf8(&mut [0; 4]).as_bytes()).map(Part::Text)
}

/// Texts that follow each other are one, up to the length of a word.
fn push(parts: &mut Sequence, part: Part) {
    match (parts.last_mut(), part) {
        (Some(Part::Text(before)), Part::Text(word)) if !before.is_full() => *before = before.then(word),
        (_, part) => parts.push(part),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One line for the shape: texts as they are, `~` for what is open.
    fn drawn(all: &[Sequence]) -> String {
        let part = |part: &Part| match part {
            Part::Text(word) => word.to_string(),
            Part::Choice(all) => format!("({})", drawn(all)),
            Part::Repeated(all) => format!("({})~", drawn(all)),
            Part::Open => "~".to_owned(),
        };
        all.iter().map(|parts| parts.iter().map(part).collect::<String>()).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn patterns_have_shapes() {
        for (pattern, shape) in [
            ("", ""),
            ("User|Box", "user|box"),
            ("a(bc)d", "abcd"),
            ("a(b|c)?d", "a((b|c)|)d"),
            ("(?:listed )+by", "(listed )~by"),
            ("a{2}b{0,3}c{1,}?d??", "(a)~~(c)~(d|)"),
            ("^x\\.y \\b\\(z$", "x.y (z"),
            ("[sz]a[a-z]b[^x]c[]]d[\\]]e", "(s|z)a~b~c~d~e"),
            ("x[a-c][0-2-][.-]y", "x(a|b|c)~~y"),
            ("a.*\\w+é?", "a~(~)~(é|)"),
            ("mailbox is full", "mailbox is full"),
        ] {
            let seen = branches(pattern).map(|all| drawn(&all));
            assert_eq!(seen.as_deref(), Some(shape), "{pattern}");
        }
    }

    #[test]
    fn what_is_not_understood_gives_no_shape() {
        for pattern in
            ["(?i)a", "(?<n>a)", "\\x61", "\\pL", "a{x}", "a{1", "*a", "(a", "a)", "[a", "[a[b]]", "[a&&b]", "a\\"]
        {
            assert_eq!(branches(pattern), None, "{pattern}");
        }
    }
}
