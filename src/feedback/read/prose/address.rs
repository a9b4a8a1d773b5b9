//! Addresses in running text.

/// Octets of an address that are believed (RFC 5321 §4.5.3.1: 64 + 1 + 255).
const ADDRESS_MAX: usize = 320;

/// An address and where it stands in its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found<'a> {
    pub start: usize,
    pub end: usize,
    pub text: &'a str,
}

/// A line that is about one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Headed<'a> {
    pub address: &'a str,
    /// What the line says behind it.
    pub rest: &'a str,
}

/// All addresses of a line, from left to right.
pub(super) fn all(line: &str) -> Vec<Found<'_>> {
    let mut found: Vec<Found<'_>> = Vec::new();
    for (at, _) in line.match_indices('@') {
        let left = line[..at]
            .chars()
            .rev()
            .take(ADDRESS_MAX)
            .take_while(|c| in_local_part(*c))
            .map(char::len_utf8)
            .sum::<usize>();
        let right =
            line[at + 1..].chars().take(ADDRESS_MAX).take_while(|c| in_domain(*c)).map(char::len_utf8).sum::<usize>();
        let mut text = &line[at - left..at + 1 + right];
        let mut start = at - left;
        for quote in ['\'', '`', '{', '|', '*'] {
            if let Some(rest) = text.strip_prefix(quote) {
                (text, start) = (rest, start + 1);
            }
        }
        let text = text.trim_end_matches(['.', '-']);
        let sound = text.split_once('@').is_some_and(|(local, domain)| {
            !local.is_empty() && domain.starts_with(char::is_alphanumeric) && local.contains(char::is_alphanumeric)
        });
        let free = found.last().is_none_or(|last| last.end <= start);
        if sound && free && text.len() <= ADDRESS_MAX {
            found.push(Found { start, end: start + text.len(), text });
        }
    }
    found
}

/// Whether `text` (lower case) names the address, and not one that ends or begins like it.
pub(super) fn is_named(text: &str, address: &str) -> bool {
    let address = address.to_lowercase();
    let longer = |c: Option<char>| c.is_some_and(is_spaced_letter);
    !address.is_empty()
        && text.match_indices(&address).any(|(at, _)| {
            let (before, mut after) = (text[..at].chars().next_back(), text[at + address.len()..].chars());
            let next = after.next();
            let goes_on = matches!(next, Some('.' | '-')) && longer(after.next());
            !longer(before) && !matches!(before, Some('.' | '-' | '_' | '+')) && !longer(next) && !goes_on
        })
}

/// The scripts whose words are not written together with what stands beside them.
fn is_spaced_letter(c: char) -> bool {
    c.is_alphanumeric() && c < '\u{600}'
}

fn in_local_part(c: char) -> bool {
    is_spaced_letter(c)
        || matches!(
            c,
            '.' | '!'
                | '#'
                | '$'
                | '%'
                | '&'
                | '\''
                | '*'
                | '+'
                | '/'
                | '='
                | '?'
                | '^'
                | '_'
                | '`'
                | '{'
                | '|'
                | '}'
                | '~'
                | '-'
        )
}

fn in_domain(c: char) -> bool {
    is_spaced_letter(c) || matches!(c, '.' | '-')
}

/// A line that begins with an address, perhaps in brackets or behind a bullet, and goes on as a heading does: not at
/// all, with a colon, dots, a bracket. A sentence that happens to begin with an address is none.
pub(super) fn heading(line: &str) -> Option<Headed<'_>> {
    let mut text = line.trim();
    for bullet in ["-> ", "- ", "* ", "• ", "=> ", "+ ", "・", "● "] {
        text = text.strip_prefix(bullet).unwrap_or(text).trim_start();
    }
    let first = all(text).into_iter().next()?;
    let before = text[..first.start].trim();
    let opened = matches!(
        before,
        "" | "<" | "\"" | "'" | "(" | "[" | "smtp:" | "SMTP:" | "<mailto:" | "mailto:" | "「" | "『" | "rfc822;"
    );
    // `Ann Onym <ann@example.org>`, with nothing behind it.
    let named = before.ends_with('<')
        && before.len() > 1
        && !before.contains([':', '：', ','])
        && before.len() <= 60
        && text[first.end..].trim_start().trim_end_matches([',', ';', ':', '.']) == ">"
        && before.split_whitespace().count() <= 5;
    if !opened && !named {
        return None;
    }
    let mut rest = text[first.end..].trim_start_matches(['>', '"', '\'', ')', ']', '」', '』']);
    for (open, close) in [("<mailto:", '>'), ("(mailto:", ')'), ("[mailto:", ']')] {
        if let Some(inside) = rest.trim_start().strip_prefix(open) {
            rest = inside.split_once(close).map_or("", |(_, after)| after);
        }
    }
    let goes_on = rest.trim_start();
    let headed = goes_on.is_empty()
        || goes_on.starts_with([':', ';', ',', '(', '[', '：', '-', '–', '|', '='])
        || goes_on.starts_with("...")
        || goes_on.starts_with("on ")
        || goes_on.starts_with("failed")
        || starts_with_code(goes_on);
    headed.then(|| Headed {
        address: first.text,
        rest: goes_on.trim_start_matches([':', ';', ',', '.', '：', '-', '–', '|', ' ']).trim(),
    })
}

fn starts_with_code(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() > 3
        && matches!(bytes[0], b'4' | b'5')
        && bytes[1..3].iter().all(u8::is_ascii_digit)
        && matches!(bytes[3], b' ' | b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_end_where_the_language_goes_on() {
        let of = |line: &'static str| all(line).into_iter().map(|found| found.text).collect::<Vec<_>>();
        assert_eq!(of("to <a.b+c=d@x.example>, 'e@y.example'."), ["a.b+c=d@x.example", "e@y.example"]);
        assert_eq!(of("宛先user@x.exampleへ"), ["user@x.example"]);
        assert_eq!(of("zoë@exämple.org: no"), ["zoë@exämple.org"]);
        assert_eq!(of("@ a@ @b a@- '@x"), Vec::<&str>::new());
    }

    #[test]
    fn an_address_is_not_named_by_a_longer_one() {
        for text in ["<a@x.y>", "to=a@x.y: no", "a@x.y.", "a@x.y... no", "宛先a@x.yへ"] {
            assert!(is_named(text, "A@x.Y"), "{text}");
        }
        for text in ["aa@x.y", "b.a@x.y", "a@x.yz", "a@x.y.z", "a@x.y-z", ""] {
            assert!(!is_named(text, "a@x.y"), "{text}");
        }
    }

    #[test]
    fn headings_are_lines_about_one_address() {
        for (line, rest) in [
            ("  a@x", ""),
            ("<a@x>:", ""),
            ("\"a@x\":", ""),
            ("a@x<mailto:a@x>", ""),
            ("-> a@x", ""),
            ("a@x: 550 5.1.1 no", "550 5.1.1 no"),
            ("<a@x>... User unknown", "User unknown"),
            ("<a@x>  (unrecoverable error)", "(unrecoverable error)"),
            ("Ann Onym <a@x>", ""),
            ("a@x on 1/2/2003 3:04 PM", "on 1/2/2003 3:04 PM"),
        ] {
            assert_eq!(heading(line), Some(Headed { address: "a@x", rest }), "{line}");
        }
        for line in ["a@x instead of me.", "From: <a@x>", "write to a@x", ">>> RCPT TO:<a@x>", "no address"] {
            assert_eq!(heading(line), None, "{line}");
        }
    }
}
