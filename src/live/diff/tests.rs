//! What is told of two files that differ, and of every key there is.

use super::*;

const EXAMPLE: &str = include_str!("../../../config/remuda.toml");

const BASE: &str = "[server]\nhostname = \"relay.example.net\"\nstate_dir = \"/var/lib/remuda\"\n\
    [[listener]]\naddress = \"127.0.0.1:2525\"\ntrust = [\"127.0.0.0/8\"]\n\
    [binding.m1]\nbind_address = \"192.0.2.1\"\ndaily_cap = 1_000\n[binding.m2]\nbind_address = \"192.0.2.2\"\n\
    [pool.main]\nactive = [\"m1\"]\n\
    [tenant.acme]\nmatch = { client = [\"127.0.0.0/8\"] }\npools = { default = \"main\" }\n\
    [alerts.webhook.chat]\nurl = \"https://hooks.example.org/T0KEN\"\n[queue]\nretry_first = \"60s\"\n";

fn config(text: &str) -> Config {
    Config::from_toml(text).unwrap_or_else(|mistakes| panic!("{mistakes}\n{text}"))
}

fn told(before: &str, after: &str) -> Vec<String> {
    shown(&config(before), &config(after))
}

fn shown(before: &Config, after: &Config) -> Vec<String> {
    let none = || "–".to_owned();
    let line = |c: Changed| format!("{}: {} → {}", c.key, c.from.unwrap_or_else(none), c.to.unwrap_or_else(none));
    between(before, after).into_iter().map(line).collect()
}

#[test]
fn what_changed_is_told_in_the_words_of_the_file() {
    for (from, to, expected) in [
        ("daily_cap = 1_000", "daily_cap = 2_000", vec!["binding.m1.daily_cap: 1000 → 2000"]),
        ("daily_cap = 1_000\n", "", vec!["binding.m1.daily_cap: 1000 → –"]),
        ("[\"127.0.0.0/8\"]\n[binding", "[]\n[binding", vec!["listener[127.0.0.1:2525].trust: [\"127.0.0.0/8\"] → []"]),
        (
            "127.0.0.1:2525",
            "127.0.0.1:587",
            vec![
                "listener[127.0.0.1:2525]: { address = \"127.0.0.1:2525\", trust = [\"127.0.0.0/8\"] } → –",
                "listener[127.0.0.1:587]: – → { address = \"127.0.0.1:587\", trust = [\"127.0.0.0/8\"] }",
            ],
        ),
        ("[binding.m2]\nbind_address = \"192.0.2.2\"\n", "", vec!["binding.m2: { bind_address = \"192.0.2.2\" } → –"]),
        ("retry_first = \"60s\"", "retry_first = \"90s\"", vec!["queue.retry_first: \"60s\" → \"90s\""]),
        ("T0KEN", "AN0THER", vec!["alerts.webhook.chat.url: (secret) → (another secret)"]),
        ("active = [\"m1\"]", "active = [\"m1\", \"m2\"]", vec!["pool.main.active: [\"m1\"] → [\"m1\", \"m2\"]"]),
    ] {
        assert_eq!(told(BASE, &BASE.replace(from, to)), expected);
    }
}

#[test]
fn what_is_written_otherwise_and_means_the_same_is_no_difference() {
    for (from, to) in [("1_000", "1000"), ("\"60s\"", "\"1m\""), ("[queue]", "# nothing\n[queue]")] {
        assert_eq!(told(BASE, &BASE.replace(from, to)), [""; 0], "{from} {to}");
    }
}

#[test]
fn the_order_of_what_has_an_order_is_told() {
    let other = BASE.replace("[binding.m1]\nbind_address = \"192.0.2.1\"\ndaily_cap = 1_000\n", "")
        + "[binding.m1]\nbind_address = \"192.0.2.1\"\ndaily_cap = 1_000\n";
    assert_eq!(told(BASE, &other), ["binding: in the order m1, m2 → in the order m2, m1"]);
}

#[test]
fn what_needs_a_restart_is_none_and_what_an_order_changes_is_one() {
    assert_eq!(told(BASE, &BASE.replace("/var/lib", "/srv")), [""; 0]);
    let before = config(BASE);
    let mut after = before.clone();
    let mut binding = (*after.bindings[0]).clone();
    binding.limits.daily_cap = Some(5);
    after.bindings = vec![binding.into()];
    let backup = vec![crate::config::Member { binding: "m2".into(), weight: 3 }];
    after.pools[0].tiers.push(backup);
    after.tenants[0].pools.insert("system".into(), "main".into());
    assert_eq!(
        shown(&before, &after),
        [
            "binding.m2: in force → –",
            "binding.m1.daily_cap: 1000 → 5",
            "pool.main.backup: [] → [[{ binding = \"m2\", weight = 3 }]]",
            "tenant.acme.pools: {\"default\": \"main\"} → {\"default\": \"main\", \"system\": \"main\"}",
        ]
    );
}

/// The annotated example with everything that it shows in comments.
fn uncommented() -> String {
    let is_key = |line: &str| {
        let is_name = |key: &str| key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        line.starts_with('[') && line.ends_with(']') || line.split_once(" = ").is_some_and(|(key, _)| is_name(key))
    };
    let lines = EXAMPLE.lines().map(|line| match line.strip_prefix("# ") {
        Some(shown) if is_key(shown) => shown,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Other values that a value of this kind might have.
fn others(value: &toml::Value) -> Vec<toml::Value> {
    use toml::Value;
    match value {
        Value::Boolean(is) => vec![Value::Boolean(!is)],
        Value::Integer(n) => [n + 1, n - 1, n / 2, n * 2].map(Value::Integer).to_vec(),
        Value::Float(x) => [x * 0.99, x * 0.5, x * 1.01, x + 0.01].map(Value::Float).to_vec(),
        Value::Datetime(_) => vec!["2026-03-01".parse().map_or(Value::Boolean(true), Value::Datetime)],
        Value::String(text) => {
            let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
            let more = digits
                .parse::<u64>()
                .ok()
                .map(|n| vec![format!("{}{unit}", n + 1), format!("{}{unit}", n.saturating_sub(1))]);
            let words = [
                "none",
                "off",
                "even",
                "weighted",
                "headroom",
                "watch",
                "act",
                "refuse",
                "defer",
                "require",
                "optional",
                "operate",
                "observe",
                "json",
                "text",
                "warning",
                "critical",
                "info",
                "127.0.0.1",
                "192.0.2.77",
                "192.0.2.77:53",
                "other.example.org",
                "*.other.example.org",
                "10/s",
                "2026-03-01",
                "https://other.example.org/x",
                "mail@other.example.org",
                "X-Other",
                "/other/file",
                "standard",
                "both",
                "v4",
                "postmaster",
                "GET",
                "domain",
                "ip",
                "read",
                "sha256:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
                // Names that the file gives.
                "globex",
                "reserve",
                "transactional",
                "gmail",
                "microsoft",
                "eu",
                "us",
                "default",
                "mta1",
            ];
            let plain = words.map(str::to_owned);
            let appended = [format!("{text}x"), format!("x{text}"), format!("{text}.example")];
            more.unwrap_or_default().into_iter().chain(appended).chain(plain).map(Value::String).collect()
        }
        Value::Array(list) => {
            let mut out = vec![Value::Array(list[..list.len().saturating_sub(1)].to_vec()), Value::Array(Vec::new())];
            if let Some(first) = list.first() {
                out.extend(others(first).into_iter().map(|other| {
                    let rest = list.iter().skip(1).cloned();
                    Value::Array(std::iter::once(other).chain(rest).collect())
                }));
            }
            out
        }
        Value::Table(_) => Vec::new(),
    }
}

fn leaves(path: Vec<String>, value: &toml::Value, out: &mut Vec<(Vec<String>, toml::Value)>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                leaves([path.clone(), vec![key.clone()]].concat(), value, out);
            }
        }
        toml::Value::Array(list) if list.iter().all(toml::Value::is_table) => {
            for (index, value) in list.iter().enumerate() {
                leaves([path.clone(), vec![index.to_string()]].concat(), value, out);
            }
        }
        other => out.push((path, other.clone())),
    }
}

fn put(root: &mut toml::Value, path: &[String], value: toml::Value) {
    let Some((last, above)) = path.split_last() else { return };
    let mut at = root;
    for key in above {
        at = match at {
            toml::Value::Array(list) => &mut list[key.parse::<usize>().expect("an index")],
            other => &mut other[key.as_str()],
        };
    }
    if let Some(table) = at.as_table_mut() {
        table.insert(last.clone(), value);
    }
}

#[test]
fn every_key_of_the_annotated_file_that_can_change_shows_up_when_it_does() {
    let root: toml::Value = toml::from_str(&uncommented()).expect("TOML");
    let before = config(&toml::to_string(&root).expect("TOML"));
    let mut all = Vec::new();
    leaves(Vec::new(), &root, &mut all);
    assert!(all.len() > 300, "only {} keys are looked at", all.len());
    let names: Vec<toml::Value> = NAMED
        .iter()
        .filter_map(|section| root.get(section)?.as_table())
        .flat_map(|table| table.keys().map(|name| toml::Value::String(name.clone())))
        .collect();
    let (mut stuck, mut silent) = (Vec::new(), Vec::new());
    for (path, value) in &all {
        // Names that are there, and what the file shows for the same key elsewhere.
        let shown = all.iter().filter(|(other, _)| other.last() == path.last()).map(|(_, value)| value.clone());
        let shown: Vec<toml::Value> = match value {
            toml::Value::String(_) => shown.chain(names.iter().cloned()).collect(),
            toml::Value::Array(_) => shown.chain(names.iter().map(|name| vec![name.clone()].into())).collect(),
            _ => Vec::new(),
        };
        let key = path.join(".");
        // What other files hold is told key by key, not that they are others.
        if key == "include" || fixed::KEYS.iter().any(|fixed| is_at_or_below(&key, fixed)) {
            continue;
        }
        let candidates = others(value).into_iter().chain(shown).filter(|other| other != value);
        let changed = candidates.into_iter().find_map(|other| {
            let mut changed = root.clone();
            put(&mut changed, path, other);
            Config::from_toml(&toml::to_string(&changed).ok()?).ok()
        });
        let Some(after) = changed else {
            stuck.push(key);
            continue;
        };
        let name = path.last().map(String::as_str).unwrap_or_default();
        let changes = between(&before, &after);
        let is_it = |changed: &Changed| {
            changed.key.contains(name) || [&changed.from, &changed.to].into_iter().flatten().any(|t| t.contains(name))
        };
        if !changes.iter().any(is_it) {
            silent.push(format!("{key} was {value}: {changes:?}"));
        }
    }
    assert!(silent.is_empty(), "{silent:#?}");
    assert!(stuck.len() * 20 < all.len(), "no other value was found for {} of {}: {stuck:?}", stuck.len(), all.len());
}
