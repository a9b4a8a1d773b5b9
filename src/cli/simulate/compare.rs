//! `remuda simulate --compare`: scenarios under several policies and seeds, side by side.
//!
//! Runs share nothing and go over as many threads as there are cores; the tables are the same however many those are.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Serialize;

use super::figures::{number, seconds};
use super::{Options, setting};
use crate::cli::columns::{Columns, Side};
use crate::cli::fail;
use crate::cli::terminal::{columns, visible, visible_json};
use crate::simulate::compare::{Comparison, Job, Policy, Row, Run, Setting, Unit, jobs};
use Side::{Left, Right};

/// The JSON.
#[derive(Serialize)]
struct Document<'a> {
    comparisons: &'a [Comparison],
}

pub(super) fn main(options: &Options, seeds: u32) -> ExitCode {
    let (mut settings, mut wrong) = (Vec::new(), false);
    for path in &options.scenarios {
        match setting(options, path) {
            Ok(setting) => settings.push(setting),
            Err(words) => {
                eprintln!("{}", words.trim_end());
                wrong = true;
            }
        }
    }
    if wrong {
        return ExitCode::FAILURE;
    }
    let all: Vec<(usize, Job)> = settings
        .iter()
        .enumerate()
        .flat_map(|(n, setting)| jobs(setting, seeds).into_iter().map(move |job| (n, job)))
        .collect();
    let runs = match run_all(&settings, &all) {
        Ok(runs) => runs,
        Err(words) => return fail(words),
    };
    let of =
        |n: usize| all.iter().zip(&runs).filter(move |((own, _), _)| *own == n).map(|(_, run)| run.clone()).collect();
    let comparisons: Vec<Comparison> =
        settings.iter().enumerate().map(|(n, setting)| Comparison::of(setting, of(n))).collect();
    let shown = if options.json {
        let json = serde_json::to_string_pretty(&Document { comparisons: &comparisons });
        json.map(|json| visible_json(&json) + "\n").map_err(|error| error.to_string())
    } else {
        Ok(text(&comparisons, columns()))
    };
    let written = shown.and_then(|text| std::io::stdout().write_all(text.as_bytes()).map_err(|e| e.to_string()));
    if let Err(error) = written {
        return fail(error);
    }
    verdict(&comparisons)
}

/// All runs, in the order of the jobs.
fn run_all(settings: &[Setting], jobs: &[(usize, Job)]) -> Result<Vec<Run>, String> {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get()).min(jobs.len().max(1));
    let shows = std::io::stderr().is_terminal();
    let (next, done, made) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(vec![None; jobs.len()]));
    let work = || {
        while let Some((at, (setting, job))) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|n| Some((n, jobs.get(n)?)))
        {
            let run = job.run(&settings[*setting]);
            if let Ok(mut made) = made.lock() {
                made[at] = Some(run);
            }
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            if shows {
                eprint!("\r{done} of {} runs ", jobs.len());
            }
        }
    };
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    if shows {
        eprint!("\r\u{1b}[K");
    }
    let made = made.into_inner().map_err(|_| "a run went wrong".to_owned())?;
    made.into_iter().collect::<Option<Vec<Run>>>().ok_or_else(|| "a run came to no end".to_owned())
}

fn text(comparisons: &[Comparison], width: Option<usize>) -> String {
    let mut out = String::new();
    for comparison in comparisons {
        out += &one(comparison, width);
        out += "\n";
    }
    if comparisons.len() > 1 {
        out += &summary(comparisons, width);
        out += "\n";
    }
    out + "figures: the median of the runs, and in brackets between what 5 % of them are below and 5 % above (= all alike);\n\
           where a row says so, the mean. ours/best: ours divided by the better of the two others (shares: ours less theirs)\n"
}

fn one(comparison: &Comparison, width: Option<usize>) -> String {
    let Comparison { title, first_seed, seeds, rows, .. } = comparison;
    let last = first_seed.wrapping_add(seeds.saturating_sub(1));
    let mut out = format!("{}\nseeds {first_seed} to {last}\n\n", visible(title));
    let mut head = vec![("measure".to_owned(), Left)];
    head.extend(Policy::ALL.map(|policy| (policy.title().to_owned(), Right)));
    head.push(("ours/best".to_owned(), Right));
    let mut table = Columns::of(head);
    for row in rows {
        let title = if row.is_mean { format!("{} (mean)", row.title) } else { row.title.to_owned() };
        let cells =
            std::iter::once(title).chain(Policy::ALL.map(|policy| with_range(row, policy))).chain([against(row)]);
        table.cells(&cells.collect::<Vec<_>>());
    }
    out += &table.text(width);
    out
}

/// The middle, and the range where there is one.
fn with_range(row: &Row, policy: Policy) -> String {
    let Some(spread) = row.policies.get(&policy) else { return String::new() };
    let middle = figure(row, spread.middle);
    if spread.low == spread.high && spread.middle == spread.low {
        return middle;
    }
    format!("{middle} ({} – {})", figure(row, spread.low), figure(row, spread.high))
}

fn figure(row: &Row, figure: Option<f64>) -> String {
    let Some(figure) = figure else { return "never".to_owned() };
    match row.unit {
        Unit::Share => format!("{:.2} %", figure * 100.0),
        Unit::Seconds => seconds(figure),
        Unit::Count if row.is_mean && figure.fract() != 0.0 => format!("{figure:.2}"),
        Unit::Count => number(figure.round() as u64),
    }
}

/// Ours against the better baseline.
fn against(row: &Row) -> String {
    if row.unit == Unit::Share {
        return row.difference.map_or_else(|| "-".to_owned(), |points| format!("{:+.2} pts", points * 100.0));
    }
    row.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"))
}

/// What the summary shows of each scenario.
const HEADLINES: [(&str, &str); 9] = [
    ("delivered_24h", "in 24 h"),
    ("ip_refusals", "refused for the IP"),
    ("false_runs", "runs, innocent IP out"),
    ("false_route_runs", "… route out"),
    ("burnt", "innocent burnt"),
    ("burnt_named", "guilty burnt"),
    ("detect_seconds", "found"),
    ("recover_seconds", "back"),
    ("wait_p99_seconds", "others wait, 99 %"),
];

fn summary(comparisons: &[Comparison], width: Option<usize>) -> String {
    let mut head = vec![("scenario".to_owned(), Left)];
    head.extend(HEADLINES.map(|(_, title)| (title.to_owned(), Right)));
    let mut table = Columns::of(head);
    for comparison in comparisons {
        let cell = |(key, _): (&str, &str)| {
            let Some(row) = comparison.row(key) else { return "-".to_owned() };
            format!("{} / {}", figure(row, row.middle(Policy::Remuda)), figure(row, row.baseline()))
        };
        let cells = std::iter::once(comparison.title.clone()).chain(HEADLINES.map(cell));
        table.cells(&cells.collect::<Vec<_>>());
    }
    format!("remuda / the better of fixed fuse and no automation\n\n{}", table.text(width))
}

/// Success, unless something happened under Remuda that must never happen.
fn verdict(comparisons: &[Comparison]) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for comparison in comparisons {
        if let Some(run) = comparison.runs.iter().find(|run| run.policy == Policy::Remuda && run.violations > 0) {
            code = fail(format_args!(
                "{}: {} things happened that must never happen; --seed {} without --compare shows some of them",
                visible(&comparison.title),
                comparison.violations(),
                run.seed
            ));
        }
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::compare::MEASURES;
    use crate::simulate::report::Measures;

    fn comparison(title: &str) -> Comparison {
        let config = crate::config::Config::bare("relay.example.net".parse().expect("a domain"));
        let scenario = format!("title = \"{title}\"\nstart = 2026-06-01\ndays = 1\n");
        let scenario = crate::simulate::Scenario::from_toml(&(scenario + TRAFFIC)).expect("a scenario");
        let setting =
            Setting { config, scenario, classifier: std::sync::Arc::new(crate::outcome::Classifier::shipped()) };
        let runs = jobs(&setting, 3).into_iter().map(|Job { policy, seed }| {
            let factor = if policy == Policy::Remuda { 1 } else { 4 };
            let measures = Measures {
                delivered_24h: Some(0.99),
                ip_refusals: factor * (1_000 + seed),
                has_guilty: true,
                detect_seconds: (policy == Policy::Remuda).then_some(90.0),
                ..Measures::default()
            };
            Run { policy, seed, measures, violations: 0 }
        });
        Comparison::of(&setting, runs.collect())
    }

    const TRAFFIC: &str = "[[traffic]]\ntenant = \"a\"\nper_day = 1\nto = { other = 1.0 }\nquality = \"good\"\n";

    #[test]
    fn a_table_sets_ours_beside_the_baselines_and_says_against_whom() {
        let shown = text(&[comparison("one")], None);
        let line =
            |start: &str| shown.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{shown}"));
        let blamed: Vec<&str> = line("refused for the IP").split("  ").filter(|cell| !cell.is_empty()).collect();
        assert_eq!(blamed.len(), 5, "{blamed:?}");
        assert!(blamed[1].trim().starts_with("1,002 (1,001 – 1,003)"), "{blamed:?}");
        assert_eq!(blamed[4].trim(), "0.25");
        assert!(line("found after").contains("1 min") && line("found after").contains("never"), "{shown}");
        assert!(line("delivered within 24 h").ends_with("+0.00 pts"));
        assert!(!shown.contains("back after"), "it does not apply");
        assert!(!shown.contains("remuda / the better"), "one needs no summary");
    }

    #[test]
    fn several_scenarios_are_summed_up_a_line_each() {
        let all = [comparison("one"), comparison("two")];
        let shown = summary(&all, None);
        assert!(shown.contains("1,002 / 4,008") && shown.lines().count() == 5, "{shown}");
        for (key, _) in HEADLINES {
            assert!(MEASURES.iter().any(|measure| measure.key == key), "{key}");
        }
    }
}
