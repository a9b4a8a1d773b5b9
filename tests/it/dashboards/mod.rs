//! What `dashboards/` holds fits the program: every metric and label that it names exists, every alert has its section in
//! the runbook and its test; and, with the real Prometheus and Alertmanager, every panel shows something after some
//! traffic, and a binding that is refused ends as an alert and its end as the alert's.

mod daemons;
mod live;
mod promql;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use remuda::telemetry::Metrics;
use remuda::telemetry::metrics::Family;
use serde_json::Value;

use promql::Named;

/// Labels that Prometheus adds to every series.
const ADDED: [&str; 2] = ["job", "instance"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn dashboards_dir() -> PathBuf {
    root().join("dashboards")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every metric there is, by name.
fn families() -> BTreeMap<String, Family> {
    Metrics::new().unwrap().families().into_iter().map(|family| (family.name.clone(), family)).collect()
}

/// The labels of a series, and whether it only grows.
fn series(families: &BTreeMap<String, Family>, metric: &str) -> Result<(BTreeSet<String>, bool), String> {
    if metric == "ALERTS" {
        let own = ["alertname", "alertstate", "severity", "binding", "pool", "tenant"];
        return Ok((own.map(str::to_owned).into(), false));
    }
    if metric == "up" {
        return Ok((BTreeSet::new(), false));
    }
    if let Some(family) = families.get(metric).filter(|family| !family.is_histogram) {
        return Ok((family.labels.iter().cloned().collect(), family.is_counter));
    }
    let part = ["_bucket", "_sum", "_count"].into_iter().find_map(|end| Some((metric.strip_suffix(end)?, end)));
    let histogram = part.and_then(|(name, end)| Some((families.get(name).filter(|family| family.is_histogram)?, end)));
    let (family, end) = histogram.ok_or_else(|| format!("no metric {metric}"))?;
    let le = (end == "_bucket").then(|| "le".to_owned());
    Ok((family.labels.iter().cloned().chain(le).collect(), true))
}

/// What is wrong with an expression, and with labels that are shown of its result.
fn mistakes(families: &BTreeMap<String, Family>, expression: &str, shown: &BTreeSet<String>) -> Vec<String> {
    let Named { metrics, growing, grouped, made } = promql::named(expression);
    let mut wrong = Vec::new();
    let mut all: BTreeSet<String> = ADDED.map(str::to_owned).into_iter().chain(made).collect();
    if metrics.is_empty() {
        wrong.push("names no metric".into());
    }
    for (metric, labels) in metrics {
        match series(families, &metric) {
            Err(missing) => wrong.push(missing),
            Ok((known, grows)) => {
                let unknown = labels.iter().filter(|label| !known.contains(*label) && !ADDED.contains(&label.as_str()));
                wrong.extend(unknown.map(|label| format!("{metric} has no label {label}")));
                if growing.contains(&metric) && !grows {
                    wrong.push(format!("{metric} is no counter: rate and increase make nothing of it"));
                }
                all.extend(known);
            }
        }
    }
    wrong.extend(
        grouped.iter().chain(shown).filter(|label| !all.contains(*label)).map(|label| format!("no label {label}")),
    );
    wrong
}

/// A panel's query.
struct Query {
    dashboard: String,
    panel: String,
    expression: String,
    legend: String,
}

/// All dashboards by file name.
fn dashboards() -> Vec<(String, Value)> {
    let files = fs::read_dir(dashboards_dir().join("grafana")).unwrap();
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    let stem = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    files.iter().map(|path| (stem(path), serde_json::from_str(&read(path)).unwrap())).collect()
}

fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row")
}

fn queries() -> Vec<Query> {
    let mut found = Vec::new();
    for (name, dashboard) in dashboards() {
        for panel in panels(&dashboard) {
            for target in panel["targets"].as_array().unwrap() {
                let text = |key: &str| target[key].as_str().unwrap().to_owned();
                found.push(Query {
                    dashboard: name.clone(),
                    panel: panel["title"].as_str().unwrap().to_owned(),
                    expression: text("expr"),
                    legend: text("legendFormat"),
                });
            }
        }
    }
    found
}

/// One rule of alerts.yml, as far as its lines tell.
struct Rule {
    name: String,
    expression: String,
    text: String,
}

/// The rules, cut at their names: the file is ours and of one style, so that lines are enough.
fn rules() -> Vec<Rule> {
    let text = read(&dashboards_dir().join("alerts.yml"));
    let uncommented: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let uncommented = uncommented.join("\n");
    let rule = |block: &str| {
        let (name, rest) = block.split_once('\n').unwrap();
        let from = rest.find("expr:").unwrap_or_else(|| panic!("{name} has no expr")) + "expr:".len();
        let to = rest.find("\n        for:").unwrap_or_else(|| panic!("{name} has no for"));
        Rule { name: name.trim().into(), expression: rest[from..to].into(), text: rest.into() }
    };
    uncommented.split("- alert:").skip(1).map(rule).collect()
}

#[test]
fn every_metric_and_label_of_the_dashboards_exists() {
    let families = families();
    let mut wrong = Vec::new();
    for query in queries() {
        let shown = if query.legend == "__auto" { BTreeSet::new() } else { promql::shown(&query.legend) };
        for mistake in mistakes(&families, &query.expression, &shown) {
            wrong.push(format!("{} / {}: {mistake}: {}", query.dashboard, query.panel, query.expression));
        }
    }
    for (name, dashboard) in dashboards() {
        for variable in dashboard["templating"]["list"].as_array().unwrap().iter().filter(|v| v["type"] == "query") {
            let query = variable["query"]["query"].as_str().unwrap();
            wrong.extend(mistakes(&families, query, &BTreeSet::new()).iter().map(|m| format!("{name}: {m}: {query}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_metric_and_label_of_the_rules_exists() {
    let families = families();
    let wrong: Vec<String> = rules()
        .iter()
        .flat_map(|rule| {
            let mistakes = mistakes(&families, &rule.expression, &promql::shown(&rule.text));
            mistakes.into_iter().map(|mistake| format!("{}: {mistake}", rule.name)).collect::<Vec<_>>()
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Where −1 is "unknown", a plain minimum hides the relay that says "bad" behind one that does not know.
#[test]
fn no_panel_hides_what_is_bad_or_needs_quick_scrapes() {
    let unknown = ["fcrdns_confirmed", "name_check", "resolver_ok"];
    let (mut worst, mut rates) = (0, 0);
    for (name, dashboard) in dashboards() {
        for panel in panels(&dashboard) {
            let title = panel["title"].as_str().unwrap();
            for target in panel["targets"].as_array().unwrap() {
                let expression = target["expr"].as_str().unwrap();
                if unknown.iter().any(|metric| expression.contains(metric)) {
                    assert!(expression.contains(">= 0)) or min"), "{name}/{title}: {expression}");
                    worst += 1;
                }
                let is_rate = expression.contains("$__rate_interval");
                let interval = target.get("interval").and_then(Value::as_str);
                assert_eq!(interval, is_rate.then_some("1m"), "{name}/{title}: {expression}");
                rates += usize::from(is_rate);
                if expression.contains("listing_reaction_seconds") {
                    assert!(expression.contains("by (le, from)"), "{name}/{title}: {expression}");
                }
            }
        }
    }
    assert!(worst >= 5 && rates >= 20, "{worst} {rates}");
}

#[test]
fn a_slip_of_the_pen_is_found() {
    let families = families();
    let nothing = BTreeSet::new();
    for (expression, said) in [
        ("remuda_pool_on_bakcup == 1", "no metric remuda_pool_on_bakcup"),
        ("remuda_pool_on_backup{binding=\"a\"}", "remuda_pool_on_backup has no label binding"),
        ("sum by (zone) (remuda_pool_on_backup)", "no label zone"),
        ("rate(remuda_queue_entries[5m])", "remuda_queue_entries is no counter: rate and increase make nothing of it"),
        ("remuda_delivery_delay_seconds", "no metric remuda_delivery_delay_seconds"),
        ("remuda_delivery_delay_seconds_count{le=\"1\"}", "remuda_delivery_delay_seconds_count has no label le"),
        ("vector(1)", "names no metric"),
    ] {
        assert_eq!(mistakes(&families, expression, &nothing), [said], "{expression}");
    }
    let shown = promql::shown("{{pool}} {{bindng}}");
    assert_eq!(mistakes(&families, "remuda_pool_on_backup", &shown), ["no label bindng"]);
}

#[test]
fn every_alert_says_what_to_do_and_is_tested() {
    let runbook = read(&root().join("docs/runbook.md"));
    let sections: BTreeSet<&str> = runbook.lines().filter_map(|line| line.strip_prefix("## ")).map(str::trim).collect();
    let tests = ["alerts_test.yml", "alerts_days_test.yml"].map(|file| read(&dashboards_dir().join(file))).concat();
    let mut names = BTreeSet::new();
    for Rule { name, text, .. } in rules() {
        let severity = ["critical", "warning", "info"].iter().filter(|s| text.contains(&format!("severity: {s}\n")));
        assert_eq!(severity.count(), 1, "{name}: one severity");
        for key in ["for:", "summary:", "description:"] {
            assert!(text.contains(key), "{name} has no {key}");
        }
        let address = format!("runbook_url: https://example.org/remuda/runbook#{}\n", name.to_lowercase());
        assert!(format!("{}\n", text.trim_end()).contains(&address), "{name}: {address}");
        assert!(sections.contains(name.as_str()), "docs/runbook.md has no section {name}");
        let tested = [
            format!("alertname=\"{name}\""),
            format!("alertname: {name}\n"),
            format!("alertname=~\"{name}|"),
            format!("|{name}"),
        ];
        let family = name.starts_with("Feed") && tests.contains("alertname=~\"Feed.*\"");
        assert!(family || tested.iter().any(|mark| tests.contains(mark)), "{name} has no test");
        names.insert(name);
    }
    let alerts: BTreeSet<&str> = sections.iter().copied().filter(|title| !title.contains(' ')).collect();
    let unknown: Vec<_> = alerts.iter().filter(|title| !names.contains(**title)).collect();
    assert!(unknown.is_empty(), "sections of the runbook about no alert: {unknown:?}");
    let routing = read(&dashboards_dir().join("alertmanager.yml"));
    let matched = routing.lines().filter_map(|line| line.split_once("alertname")).flat_map(|(_, rest)| {
        rest.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| word.starts_with(char::is_uppercase))
    });
    for name in matched {
        assert!(names.contains(name), "alertmanager.yml names the alert {name}");
    }
}

#[test]
fn dashboards_are_of_one_style() {
    let all = dashboards();
    let uids: BTreeSet<&str> = all.iter().map(|(_, dashboard)| dashboard["uid"].as_str().unwrap()).collect();
    assert_eq!(uids.len(), 6);
    for (name, dashboard) in &all {
        assert_eq!(dashboard["uid"], format!("remuda-{name}"));
        assert!(dashboard.get("id").is_none(), "{name}: an id would overwrite another dashboard");
        for link in dashboard["links"].as_array().unwrap() {
            let uid = link["url"].as_str().unwrap().trim_start_matches("/d/");
            assert!(uids.contains(uid), "{name} leads to {uid}");
        }
        let variables = dashboard["templating"]["list"].as_array().unwrap();
        let variables: BTreeSet<&str> = variables.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
        let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
        for panel in dashboard["panels"].as_array().unwrap() {
            let title = panel["title"].as_str().unwrap();
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{name}/{title}: id used twice");
            let place = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
            let [x, y, w, h] = place;
            assert!(x + w <= 24, "{name}/{title} sticks out");
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                assert!(taken.insert(cell), "{name}/{title} lies on another panel");
            }
        }
        for panel in panels(dashboard) {
            let title = panel["title"].as_str().unwrap();
            assert!(
                panel["description"].as_str().is_some_and(|text| text.ends_with('.')),
                "{name}/{title}: description"
            );
            for target in panel["targets"].as_array().unwrap().iter().chain([panel]) {
                assert_eq!(target["datasource"]["uid"], "${datasource}", "{name}/{title}");
            }
        }
        let text = dashboard.to_string();
        let used = text.split('$').skip(1).map(|rest| rest.trim_start_matches('{'));
        let used = used.map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap());
        for variable in used.filter(|variable| !variable.starts_with("__")) {
            assert!(variables.contains(variable), "{name} uses ${variable}, which it does not define");
        }
    }
}
