//! Days and hours in front of a text, as mail servers write them: `Sun, 22 Nov 2026 08:05:12 +0000 (UTC)`,
//! `2026-11-22T08:05:12.123Z`, `Nov 22 08:05:12`, `22/11/2026`, `08:05:12`.

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// Octets of the day, the hour, or both, that `text` starts with; `None` where it starts with neither.
pub(super) fn length(text: &str) -> Option<usize> {
    let day = after_day(text);
    let end = match day {
        Some(rest) => {
            let spaced = rest.trim_start_matches([',', ' ', 'T', '-', '_']);
            after_hour(spaced).unwrap_or(rest)
        }
        None => after_hour(text)?,
    };
    let ends = !end.starts_with(|c: char| c.is_ascii_alphanumeric());
    ends.then_some(text.len() - end.len())
}

fn after_day(text: &str) -> Option<&str> {
    numeric_day(text).or_else(|| {
        let rest = word_of(text, &DAYS).map_or(text, |rest| rest.trim_start_matches([',', ' ']));
        day_month_year(rest).or_else(|| month_day(rest))
    })
}

/// `22 Nov 2026`, also with hyphens.
fn day_month_year(text: &str) -> Option<&str> {
    let rest = word_of(gap(digits(text, 1..=2)?)?, &MONTHS)?;
    digits(gap(rest)?, 2..=4)
}

/// `Nov 22`, `Nov 22, 2026`, `Nov 22 08:05:12 2026`: a year behind the hour is left to be a number.
fn month_day(text: &str) -> Option<&str> {
    let rest = digits(gap(word_of(text, &MONTHS)?)?, 1..=2)?;
    let year = digits(rest.trim_start_matches([',', ' ']), 4..=4).filter(|rest| !rest.starts_with(':'));
    Some(year.unwrap_or(rest))
}

/// `2026-11-22`, `22/11/2026`, `22.11.2026`: two of the same sign, and a year at one end.
fn numeric_day(text: &str) -> Option<&str> {
    let head = digits(text, 1..=4)?;
    let sign = head.chars().next().filter(|c| "-/.".contains(*c))?;
    let middle = digits(&head[1..], 1..=2)?;
    let tail = middle.strip_prefix(sign)?;
    let rest = digits(tail, 1..=4)?;
    let year = text.len() - head.len() == 4 || tail.len() - rest.len() == 4;
    year.then_some(rest)
}

/// `8:05`, `08:05:12.123`, with `PM`, `Z`, `+0100`, `GMT`, `(UTC)` behind.
fn after_hour(text: &str) -> Option<&str> {
    let mut rest = digits(digits(text, 1..=2)?.strip_prefix(':')?, 2..=2)?;
    if let Some(seconds) = rest.strip_prefix(':').and_then(|rest| digits(rest, 2..=2)) {
        rest = seconds;
        if let Some(fraction) = rest.strip_prefix(['.', ',']).and_then(|rest| digits(rest, 1..=9)) {
            rest = fraction;
        }
    }
    // An IPv6 address may begin like an hour.
    if rest.starts_with(':') {
        return None;
    }
    let zone = rest.trim_start_matches(' ');
    let offset = zone
        .strip_prefix(['+', '-'])
        .and_then(|rest| digits(rest, 4..=4).or_else(|| digits(digits(rest, 2..=2)?.strip_prefix(':')?, 2..=2)));
    let named = ["utc", "gmt", "am", "pm", "z"].iter().find_map(|name| word_of(zone, &[*name]));
    let rest = offset.or(named).unwrap_or(rest);
    let comment = rest.strip_prefix(" (").and_then(|rest| rest.split_once(')'));
    let is_zone = |name: &str| (1..=5).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_uppercase());
    Some(comment.filter(|(name, _)| offset.is_some() && is_zone(name)).map_or(rest, |(_, rest)| rest))
}

/// What follows a run of digits whose length is in `count`.
fn digits(text: &str, count: std::ops::RangeInclusive<usize>) -> Option<&str> {
    let run = text.bytes().take_while(u8::is_ascii_digit).count();
    count.contains(&run).then(|| &text[run..])
}

/// What follows one of `words`, which must end there.
fn word_of<'a>(text: &'a str, words: &[&str]) -> Option<&'a str> {
    let word = text.bytes().take_while(u8::is_ascii_alphabetic).count();
    let (word, rest) = text.split_at(word);
    words.iter().any(|known| known.eq_ignore_ascii_case(word)).then_some(rest)
}

/// What follows the sign between the parts of a day.
fn gap(text: &str) -> Option<&str> {
    text.strip_prefix(['-', ' ']).map(|rest| rest.trim_start_matches(' '))
}
