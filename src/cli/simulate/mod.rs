//! `remuda simulate`: what would happen, day by day.
//!
//! Reads the scenario and the configuration it runs on, lets [`World`] run, and prints the [`Report`] as tables or JSON.
//! `--compare` runs scenarios under several policies and seeds instead ([`compare`]). How far it is stands on standard
//! error, where that is a terminal.

mod compare;
mod figures;
mod table;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use super::fail;
use super::terminal::{columns, visible, visible_json};
use crate::config::Config;
use crate::outcome::Classifier;
use crate::simulate::compare::Setting;
use crate::simulate::{Report, Scenario, World};

/// What the command line says.
pub(super) struct Options {
    pub(super) scenarios: Vec<PathBuf>,
    /// Of a comparison; `None` for one run.
    pub(super) seeds: Option<u32>,
    pub(super) config: Option<PathBuf>,
    pub(super) seed: Option<u64>,
    pub(super) days: Option<u32>,
    pub(super) by: Option<By>,
    pub(super) json: bool,
}

/// What a day is taken apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum By {
    Binding,
    Provider,
    Tenant,
    Pool,
}

pub(super) fn main(options: &Options) -> ExitCode {
    if let Some(seeds) = options.seeds {
        return compare::main(options, seeds);
    }
    let [path] = &options.scenarios[..] else {
        return fail("one scenario at a time, or several with --compare");
    };
    let world = match setting(options, path) {
        Ok(Setting { config, scenario, classifier }) => World::with_rules(config, scenario, classifier),
        // Each line begins with file and line, as those of `remuda check`.
        Err(wrong) => {
            eprintln!("{}", wrong.trim_end());
            return ExitCode::FAILURE;
        }
    };
    let report = run(world);
    let shown = if options.json {
        serde_json::to_string_pretty(&report).map(|json| visible_json(&json) + "\n").map_err(|e| e.to_string())
    } else {
        Ok(table::text(&report, options.by, columns()))
    };
    let written = shown.and_then(|text| std::io::stdout().write_all(text.as_bytes()).map_err(|e| e.to_string()));
    if let Err(error) = written {
        return fail(error);
    }
    if report.violation_count == 0 {
        return ExitCode::SUCCESS;
    }
    for violation in &report.violations {
        eprintln!("{}", visible(&violation.to_string()));
    }
    fail(format_args!(
        "{} things happened that must never happen; --seed {} shows them again",
        report.violation_count, report.seed
    ))
}

/// What a scenario's file and the configuration it runs on say.
fn setting(options: &Options, path: &Path) -> Result<Setting, String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("remuda: cannot read {}: {error}", path.display()))?;
    let mut scenario = Scenario::read(path, &text).map_err(|mistakes| mistakes.to_string())?;
    let beside = |config: &PathBuf| path.parent().unwrap_or(Path::new("")).join(config);
    let Some(config) = options.config.clone().or(scenario.config.as_ref().map(beside)) else {
        return Err(format!(
            "remuda: {} names no configuration: write config = \"…\" there, or give -c",
            path.display()
        ));
    };
    let loaded = Config::load(&config).map_err(|mistakes| mistakes.to_string())?;
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
    scenario.check_against(&loaded.config).map_err(|mistakes| mistakes.to_string())?;
    let classifier = Classifier::load(&loaded.config.classify.rules)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
    scenario.seed = options.seed.unwrap_or(scenario.seed);
    scenario.days = options.days.unwrap_or(scenario.days);
    Ok(Setting { config: loaded.config, scenario, classifier: Arc::new(classifier) })
}

fn run(mut world: World) -> Report {
    let shows = std::io::stderr().is_terminal();
    let mut days = 0;
    loop {
        let goes_on = world.run_day();
        days += 1;
        if shows {
            let [mail, _] = world.invariants().fates();
            eprint!("\r{days} days, {} recipients ", mail.accepted);
        }
        if !goes_on {
            break;
        }
    }
    if shows {
        eprint!("\r\u{1b}[K");
    }
    world.report()
}
