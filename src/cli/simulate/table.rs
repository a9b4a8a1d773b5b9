//! The report as tables: a line a day, then bindings, receivers, tenants and pools over all days, then who was out.
//!
//! However many bindings there are, a day stays one line. `--by` takes every day apart: a line a day, a column a name, in
//! as many blocks as the terminal needs.

use std::collections::BTreeMap;
use std::time::Duration;

use super::By;
use super::figures::{number, seconds, share, span};
use crate::cli::columns::{Columns, Side, clipped};
use crate::clock::Wall;
use crate::simulate::Report;
use crate::simulate::report::{Day, Hold, Suspension};
use Side::{Left, Right};

/// Suspensions, and holds, shown; the JSON has all.
const SHOWN: usize = 30;
/// Width of a table where nothing has to fit.
const USUAL: usize = 120;

pub(super) fn text(report: &Report, by: Option<By>, width: Option<usize>) -> String {
    let mut out = format!("{}\nseed {}\n\n", crate::cli::terminal::visible(&report.title), report.seed);
    out += &days(report, width);
    out += "\n";
    out += &bindings(report, width);
    out += "\n";
    out += &receivers(report, width);
    out += "\n";
    out += &tenants(report, width);
    if report.days.iter().any(|day| day.pools.len() > 1) {
        out += "\n";
        out += &pools(report, width);
    }
    if let Some(by) = by {
        out += "\n";
        out += &apart(report, by, width.unwrap_or(USUAL));
    }
    out += "\n";
    out += &suspensions(report, width);
    out += &holds(report, width);
    out += "\n";
    out += &ends(report);
    out
}

fn days(report: &Report, width: Option<usize>) -> String {
    let mut table = Columns::new([
        ("day", Left),
        ("accepted", Right),
        ("delivered", Right),
        ("bounced", Right),
        ("expired", Right),
        ("deferred", Right),
        ("failed over", Right),
        ("caps used", Right),
        ("out", Right),
        ("waiting", Right),
        ("oldest", Right),
    ]);
    for day in &report.days {
        table.row([
            &day.date.to_string(),
            &number(day.accepted),
            &number(day.delivered),
            &number(day.bounced),
            &number(day.expired),
            &number(day.deferred),
            &number(day.failed_over),
            &caps_used(day),
            &number(day.suspended),
            &number(day.waiting),
            &span(Duration::from_secs(day.oldest_seconds)),
        ]);
    }
    table.text(width)
}

/// Share of what the limited bindings were allowed.
fn caps_used(day: &Day) -> String {
    let limited = day.bindings.values().filter_map(|binding| Some((binding.delivered, binding.limit?)));
    let (used, limit) = limited.fold((0, 0), |(used, all), (delivered, limit)| (used + delivered, all + limit));
    share(used, limit)
}

fn bindings(report: &Report, width: Option<usize>) -> String {
    let whole: u64 = report.days.iter().map(|day| day.delivered).sum();
    let names = |day: &Day| day.providers.keys().cloned().collect::<Vec<_>>();
    let receivers = report.days.last().map(names).unwrap_or_default();
    let delivers =
        |name: &String| report.days.iter().any(|day| day.providers.get(name).is_some_and(|p| p.delivered > 0));
    let receivers: Vec<String> = receivers.into_iter().filter(delivers).collect();
    let head = ["binding", "delivered", "share", "busiest day", "of", "warm-up", "out"];
    let mut head: Vec<_> = head.iter().map(|name| ((*name).to_owned(), Right)).collect();
    head[0].1 = Left;
    head.extend(receivers.iter().map(|name| (name.clone(), Right)));
    let mut table = Columns::of(head);
    for name in report.days.last().map(|day| day.bindings.keys()).into_iter().flatten() {
        let all: Vec<_> = report.days.iter().filter_map(|day| day.bindings.get(name)).collect();
        let delivered: u64 = all.iter().map(|day| day.delivered).sum();
        let busiest = all.iter().max_by_key(|day| day.delivered);
        let out = report.suspensions.iter().filter(|of| of.binding == *name && of.destination.is_none()).count();
        let mut cells = vec![
            name.clone(),
            number(delivered),
            share(delivered, whole),
            busiest.map_or_else(String::new, |day| number(day.delivered)),
            busiest.and_then(|day| day.limit).map_or_else(|| "-".to_owned(), number),
            stages(all.iter().map(|day| day.warmup_stage)),
            number(out as u64),
        ];
        let to = |receiver: &String| all.iter().filter_map(|day| day.providers.get(receiver)).sum();
        cells.extend(receivers.iter().map(|receiver| number(to(receiver))));
        table.cells(&cells);
    }
    table.text(width)
}

/// First and last stage, counted from 1; `warm` where it is behind the ladder.
fn stages(all: impl Iterator<Item = Option<usize>>) -> String {
    let all: Vec<Option<usize>> = all.collect();
    let word = |stage: Option<usize>| stage.map_or_else(|| "warm".to_owned(), |stage| (stage + 1).to_string());
    match (all.first(), all.last()) {
        _ if all.iter().all(Option::is_none) => "-".to_owned(),
        (Some(first), Some(last)) if first == last => word(*first),
        (Some(first), Some(last)) => format!("{} → {}", word(*first), word(*last)),
        _ => String::new(),
    }
}

fn receivers(report: &Report, width: Option<usize>) -> String {
    let mut table = Columns::new([
        ("receiver", Left),
        ("delivered", Right),
        ("bounced", Right),
        ("deferred", Right),
        ("routes out", Right),
    ]);
    for name in report.days.last().map(|day| day.providers.keys()).into_iter().flatten() {
        let all = report.days.iter().filter_map(|day| day.providers.get(name));
        let sum = all.fold((0, 0, 0), |(a, b, c), day| (a + day.delivered, b + day.bounced, c + day.deferred));
        if sum == (0, 0, 0) {
            continue;
        }
        let out = report.suspensions.iter().filter(|of| of.destination.as_deref() == Some(name)).count();
        table.row([name, &number(sum.0), &number(sum.1), &number(sum.2), &number(out as u64)]);
    }
    table.text(width)
}

fn tenants(report: &Report, width: Option<usize>) -> String {
    let mut table = Columns::new([
        ("tenant", Left),
        ("accepted", Right),
        ("delivered", Right),
        ("bounced", Right),
        ("waiting", Right),
        ("wait, median", Right),
        ("99 %", Right),
        ("on the worst day", Right),
    ]);
    for name in report.days.last().map(|day| day.tenants.keys()).into_iter().flatten() {
        let all: Vec<_> = report.days.iter().filter_map(|day| day.tenants.get(name)).collect();
        let sum = |of: fn(&crate::simulate::report::TenantDay) -> u64| number(all.iter().map(|day| of(day)).sum());
        let mean = |of: fn(&crate::simulate::report::TenantDay) -> f64| {
            let weighted: f64 = all.iter().map(|day| of(day) * day.delivered as f64).sum();
            let whole: u64 = all.iter().map(|day| day.delivered).sum();
            if whole == 0 { 0.0 } else { weighted / whole as f64 }
        };
        let worst = all.iter().map(|day| day.wait_p99_seconds).fold(0.0, f64::max);
        table.row([
            name,
            &sum(|day| day.accepted),
            &sum(|day| day.delivered),
            &sum(|day| day.bounced),
            &number(all.last().map_or(0, |day| day.waiting)),
            &seconds(mean(|day| day.wait_median_seconds)),
            &seconds(mean(|day| day.wait_p99_seconds)),
            &seconds(worst),
        ]);
    }
    table.text(width)
}

fn pools(report: &Report, width: Option<usize>) -> String {
    let whole: u64 = report.days.iter().map(|day| day.delivered).sum();
    let mut table = Columns::new([
        ("pool", Left),
        ("delivered", Right),
        ("share", Right),
        ("by backups", Right),
        ("waiting", Right),
    ]);
    for name in report.days.last().map(|day| day.pools.keys()).into_iter().flatten() {
        let all: Vec<_> = report.days.iter().filter_map(|day| day.pools.get(name)).collect();
        let delivered = all.iter().map(|day| day.delivered).sum();
        table.row([
            name,
            &number(delivered),
            &share(delivered, whole),
            &number(all.iter().map(|day| day.failed_over).sum()),
            &number(all.last().map_or(0, |day| day.waiting)),
        ]);
    }
    table.text(width)
}

/// Recipients delivered, a line a day, a column a name.
fn apart(report: &Report, by: By, width: usize) -> String {
    let of = |day: &Day| -> BTreeMap<String, u64> {
        match by {
            By::Binding => day.bindings.iter().map(|(name, day)| (name.clone(), day.delivered)).collect(),
            By::Provider => day.providers.iter().map(|(name, day)| (name.clone(), day.delivered)).collect(),
            By::Tenant => day.tenants.iter().map(|(name, day)| (name.clone(), day.delivered)).collect(),
            By::Pool => day.pools.iter().map(|(name, day)| (name.clone(), day.delivered)).collect(),
        }
    };
    let days: Vec<_> = report.days.iter().map(|day| (day.date.to_string(), of(day))).collect();
    let names: Vec<&String> = days.last().map(|(_, day)| day.keys().collect()).unwrap_or_default();
    let widest = |name: &String| {
        let cells = days.iter().filter_map(|(_, day)| day.get(name)).map(|count| number(*count).len());
        cells.chain([name.chars().count()]).max().unwrap_or_default() + 2
    };
    let (mut out, mut rest) = (String::new(), &names[..]);
    while !rest.is_empty() {
        let mut room = width.saturating_sub("2026-01-01".len());
        let fits = |name: &&&String| {
            let needs = widest(name);
            let there = room >= needs;
            room = room.saturating_sub(needs);
            there
        };
        let (block, more) = rest.split_at(rest.iter().take_while(fits).count().max(1));
        let head = block.iter().map(|name| ((*name).clone(), Right));
        let mut table = Columns::of([("day".to_owned(), Left)].into_iter().chain(head).collect());
        for (date, day) in &days {
            let cells = block.iter().map(|name| number(day.get(*name).copied().unwrap_or_default()));
            table.cells(&[date.clone()].into_iter().chain(cells).collect::<Vec<_>>());
        }
        out += &table.text(Some(width));
        if !more.is_empty() {
            out += "\n";
        }
        rest = more;
    }
    out
}

/// Who was out, one row for all times a binding was out for the same reason.
fn suspensions(report: &Report, width: Option<usize>) -> String {
    if report.suspensions.is_empty() {
        return "nobody was taken out\n".to_owned();
    }
    let mut groups: Vec<Vec<&Suspension>> = Vec::new();
    let mut known: BTreeMap<(&str, &str, bool), usize> = BTreeMap::new();
    for out in &report.suspensions {
        let place = *known.entry((&out.binding, out.reason, out.destination.is_none())).or_insert(groups.len());
        if place == groups.len() {
            groups.push(Vec::new());
        }
        groups[place].push(out);
    }
    let head = ["out", "to", "why", "times", "from", "to", "in all", "first evidence"];
    let side = |n| if matches!(n, 3 | 6) { Right } else { Left };
    let mut table = Columns::of(head.iter().enumerate().map(|(n, name)| ((*name).to_owned(), side(n))).collect());
    for group in groups.iter().take(SHOWN) {
        let first = group[0];
        let last =
            group.iter().map(|out| out.to).max_by_key(|to| to.is_none().then_some(Wall::from_millis(i64::MAX)).or(*to));
        let all: Duration = group.iter().filter_map(|out| Some(out.to?.since(out.from))).sum();
        table.cells(&[
            first.binding.clone(),
            places(group),
            first.reason.to_owned(),
            number(group.len() as u64),
            moment(first.from),
            last.flatten().map_or_else(|| "still".to_owned(), moment),
            span(all),
            clipped(&first.evidence, 60),
        ]);
    }
    let more = groups.len().saturating_sub(SHOWN);
    let mut out = table.text(width);
    if more > 0 {
        out += &format!("… and {more} more; --json has them all\n");
    }
    out
}

/// Whose mail was held, one row for all times that the same was held at the same place; nothing where none was.
fn holds(report: &Report, width: Option<usize>) -> String {
    if report.holds.is_empty() {
        return String::new();
    }
    let mut groups: BTreeMap<[&str; 4], Vec<&Hold>> = BTreeMap::new();
    for hold in &report.holds {
        let key = [
            hold.tenant.as_str(),
            hold.sender_domain.as_deref().unwrap_or("all"),
            hold.stream.as_deref().unwrap_or("all"),
            hold.destination.as_str(),
        ];
        groups.entry(key).or_default().push(hold);
    }
    let head = ["held", "from domain", "stream", "to", "times", "from", "to", "first evidence"];
    let side = |n| if n == 4 { Right } else { Left };
    let mut table = Columns::of(head.iter().enumerate().map(|(n, name)| ((*name).to_owned(), side(n))).collect());
    for (key, group) in groups.iter().take(SHOWN) {
        let last = group.last().and_then(|hold| hold.to);
        let mut cells: Vec<String> = key.iter().map(|part| (*part).to_owned()).collect();
        cells.extend([
            number(group.len() as u64),
            moment(group[0].from),
            last.map_or_else(|| "still".to_owned(), moment),
            clipped(&group[0].evidence, 60),
        ]);
        table.cells(&cells);
    }
    let more = groups.len().saturating_sub(SHOWN);
    let mut out = format!("\n{}", table.text(width));
    if more > 0 {
        out += &format!("… and {more} more; --json has them all\n");
    }
    out
}

fn moment(at: Wall) -> String {
    at.timestamp().strftime("%m-%d %H:%M").to_string()
}

/// Where they were out: a place or two, and how many more.
fn places(group: &[&Suspension]) -> String {
    let mut places: Vec<&str> = group.iter().filter_map(|out| out.destination.as_deref()).collect();
    places.sort_unstable();
    places.dedup();
    match places[..] {
        [] => "everywhere".to_owned(),
        [one] => one.to_owned(),
        [one, two] => format!("{one}, {two}"),
        [one, ..] => format!("{one} and {} more", places.len() - 1),
    }
}

fn ends(report: &Report) -> String {
    let mail = report.mail;
    let left = mail.accepted.saturating_sub(mail.delivered + mail.bounced + mail.expired);
    let mut out = format!(
        "of {} recipients {} were delivered, {} bounced, {} expired, {} wait; {} reports went back to senders\n",
        number(mail.accepted),
        number(mail.delivered),
        number(mail.bounced),
        number(mail.expired),
        number(left),
        number(report.reports.accepted),
    );
    if report.duplicates_possible > 0 {
        out += &format!("{} may have been served twice, after a kill\n", number(report.duplicates_possible));
    }
    if report.violation_count > 0 {
        out += &format!("{} THINGS HAPPENED THAT MUST NEVER HAPPEN\n", number(report.violation_count));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_told_by_the_first_and_the_last() {
        assert_eq!(stages([Some(0), Some(1), None].into_iter()), "1 → warm");
    }
}
