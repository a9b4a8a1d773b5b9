//! Figures as people read them.

use std::time::Duration;

/// With a mark at every thousand.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

pub(super) fn share(part: u64, whole: u64) -> String {
    if whole == 0 { "-".to_owned() } else { format!("{:.1} %", part as f64 * 100.0 / whole as f64) }
}

pub(super) fn seconds(seconds: f64) -> String {
    if seconds < 10.0 { format!("{seconds:.1} s") } else { span(Duration::from_secs_f64(seconds.min(1e9))) }
}

/// The two largest units.
pub(super) fn span(span: Duration) -> String {
    let (days, hours) = (span.as_secs() / 86_400, span.as_secs() / 3_600 % 24);
    let (minutes, seconds) = (span.as_secs() / 60 % 60, span.as_secs() % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, ..) => format!("{hours} h {minutes:02}"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_spans_are_readable() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
        let spans = [5, 65, 3_700, 90_000].map(|n| span(Duration::from_secs(n)));
        assert_eq!(spans, ["5 s", "1 min", "1 h 01", "1 d 1 h"]);
    }
}
