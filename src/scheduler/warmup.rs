//! How much a young address may send.
//!
//! A ladder is a list of accepted recipients per day, stage by stage. A binding that was started on a date stands on the
//! stage of the calendar days since then and is warm after the last one; a binding with a fixed stage stays on it. The
//! allowance of the day is the smaller of stage and daily cap, kept under the same key of the ledger.
//!
//! The stage follows the calendar only: a day without mail counts as a stage, and bad evidence does not step back (that
//! is what suspension and probation are for).

use jiff::civil::Date;

use crate::config::{Warmup, WarmupStart};

/// Stage (0-based) on `day`; `None` when the ladder is behind it.
pub fn stage(warmup: &Warmup, day: Date) -> Option<usize> {
    let stage = match warmup.position {
        WarmupStart::Started(first) => {
            let days = day.since(first).map_or(if day < first { -1 } else { i32::MAX }, |span| span.get_days());
            usize::try_from(days).unwrap_or(0)
        }
        WarmupStart::Stage(stage) => stage,
        WarmupStart::Age(days) => days as usize,
    };
    (stage < warmup.ladder.len()).then_some(stage)
}

/// Recipients that may be accepted on `day`: 0 before the first day, `None` without a limit.
pub fn allowance(warmup: &Warmup, day: Date) -> Option<u64> {
    if matches!(warmup.position, WarmupStart::Started(first) if day < first) {
        return Some(0);
    }
    stage(warmup, day).map(|stage| warmup.ladder[stage])
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn the_stage_follows_the_calendar_and_ends() {
        let warmup = |position| Warmup { ladder: [200, 500, 1_000].into(), position };
        let started = warmup(WarmupStart::Started(date(2026, 10, 31)));
        for (day, expected) in [
            (date(2026, 10, 30), Some(0)),
            (date(2026, 10, 31), Some(200)),
            (date(2026, 11, 1), Some(500)),
            (date(2026, 11, 2), Some(1_000)),
            (date(2026, 11, 3), None),
            (date(2027, 11, 3), None),
        ] {
            assert_eq!(allowance(&started, day), expected, "{day}");
        }
        let fixed = warmup(WarmupStart::Stage(1));
        assert_eq!(allowance(&fixed, date(2030, 1, 1)), Some(500));
        assert_eq!(allowance(&warmup(WarmupStart::Stage(3)), date(2030, 1, 1)), None);
    }
}
