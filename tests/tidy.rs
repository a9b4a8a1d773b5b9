//! Reads the sources and fails where the house rules are broken that no compiler checks.
//!
//! Above all: modules marked pure (P) in the map of `src/lib.rs` name no runtime, socket, file, clock or shell module.
//! Comments and `#[cfg(test)]` items are left out before looking; the rest is plain text search and a small reader of
//! `use` trees, which is enough because rustfmt has put everything in one form.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What decides and never acts: modules with all below them, whether they are a file or a directory.
const PURE: &[&str] = &[
    "src/admin/auth/failures",
    "src/admin/auth/hosts",
    "src/alerts/book",
    "src/alerts/conditions",
    "src/alerts/kept",
    "src/alerts/ledger",
    "src/alerts/outbox",
    "src/alerts/payload",
    "src/alerts/shown",
    "src/alerts/trend",
    "src/alerts/view",
    "src/assignment",
    "src/config",
    "src/delivery/breaker",
    "src/delivery/convert",
    "src/delivery/dot",
    "src/delivery/greeting",
    "src/delivery/happy",
    "src/delivery/learned",
    "src/delivery/ourselves",
    "src/delivery/plan",
    "src/delivery/policy/ruling",
    "src/delivery/policy/shown",
    "src/delivery/policy/sts",
    "src/delivery/policy/tlsa",
    "src/delivery/session",
    "src/delivery/site",
    "src/delivery/tls/demand",
    "src/delivery/tls/memory",
    "src/delivery/tls/policy",
    "src/feedback/addresses",
    "src/feedback/book",
    "src/feedback/marks",
    "src/feedback/read",
    "src/feedback/second_hand",
    "src/feedback/senders",
    "src/feedback/token",
    "src/feedback/told",
    "src/feedback/whose",
    "src/ingress/header",
    "src/ingress/http/compose",
    "src/ingress/http/envelope",
    "src/ingress/http/pace",
    "src/ingress/http/text",
    "src/ingress/http/wrong",
    "src/ingress/proxy",
    "src/ingress/secret",
    "src/ingress/smtp/auth",
    "src/ingress/smtp/command",
    "src/ingress/smtp/data",
    "src/ingress/smtp/parameters",
    "src/ingress/smtp/reply",
    "src/ingress/smtp/scram",
    "src/ingress/smtp/session",
    "src/ingress/smtp/xclient",
    "src/ingress/tls/facts",
    "src/ingress/tls/names",
    "src/ingress/tls/validity",
    "src/ingress/users/brake",
    "src/ingress/users/list",
    "src/ingress/users/scram",
    "src/live/diff",
    "src/live/fixed",
    "src/message",
    "src/monitor/answer",
    "src/monitor/spf/agenda",
    "src/monitor/spf/cell",
    "src/monitor/spf/follow",
    "src/monitor/spf/kept",
    "src/monitor/spf/outcome",
    "src/monitor/spf/row",
    "src/monitor/spf/seen",
    "src/monitor/spf/table",
    "src/monitor/spf/tally",
    "src/monitor/spf/views",
    "src/monitor/identity/generic",
    "src/monitor/identity/names",
    "src/monitor/identity/resolver",
    "src/monitor/reverse",
    "src/monitor/feeds/answer",
    "src/monitor/feeds/book",
    "src/monitor/feeds/generic",
    "src/monitor/feeds/memory",
    "src/monitor/feeds/oauth",
    "src/monitor/feeds/observation",
    "src/monitor/feeds/page",
    "src/monitor/feeds/postmaster",
    "src/monitor/feeds/reading",
    "src/monitor/feeds/schedule",
    "src/monitor/feeds/snds",
    "src/monitor/feeds/whose",
    "src/monitor/feeds/wqs",
    "src/monitor/budget",
    "src/monitor/named",
    "src/monitor/subject",
    "src/monitor/timetable",
    "src/monitor/urgent",
    "src/monitor/watch",
    "src/monitor/zone",
    "src/orders",
    "src/outcome",
    "src/queue/blame",
    "src/queue/core",
    "src/queue/dispatcher/mark",
    "src/queue/index",
    "src/queue/state",
    "src/reputation",
    "src/scheduler",
    "src/signing/choice",
    "src/simulate",
    "src/telemetry/history",
    "src/telemetry/tlsrpt/book",
    "src/telemetry/tlsrpt/report",
];

/// Below a pure directory, yet shell: they open files.
const NOT_PURE: &[&str] = &["src/config/load.rs", "src/outcome/load.rs"];

/// Modules of mixed directories whose *types* pure code may name: contracts and values, no I/O when named.
const VALUES: &[&str] = &[
    "alerts",
    "delivery",
    "delivery::mx",
    "delivery::policy",
    "delivery::tls",
    "feedback",
    "ingress",
    "ingress::smtp",
    "monitor",
    "monitor::identity",
    "queue",
    "store",
];

/// No pure module says these words.
const IMPURE_WORDS: &[&str] = &[
    "tokio",
    "socket2",
    "reqwest",
    "axum",
    "fjall",
    "prometheus",
    "tracing",
    "libc",
    "TcpStream",
    "TcpListener",
    "TcpSocket",
    "UdpSocket",
    "UnixStream",
    "UnixListener",
    "SystemClock",
    "SystemTime",
    "fs",
    "OsRng",
    "from_os_rng",
    "from_entropy",
    "thread_rng",
];

/// Nor these paths.
const IMPURE_PATHS: &[&str] = &["std::env", "std::process", "std::thread", "rand::rng()", "rand::random", "hickory_"];

/// Only `src/clock.rs` says these.
const CLOCK_READS: &[&str] = &["Instant::now", "SystemTime::now", "Timestamp::now", "Zoned::now", "UNIX_EPOCH.elapsed"];

struct Source {
    path: String,
    text: String,
    /// Without comments and test items.
    code: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(dir: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries {
        let path = entry.expect("a directory that can be read").path();
        if path.is_dir() {
            files_below(&path, found);
        } else {
            found.push(path);
        }
    }
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).to_string_lossy().into_owned()
}

/// All Rust files below `dir`, in order of their paths.
fn sources(dir: &str) -> Vec<Source> {
    let mut paths = Vec::new();
    files_below(&root().join(dir), &mut paths);
    paths.retain(|path| path.extension().is_some_and(|e| e == "rs"));
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a source is text");
        Source { path: relative(&path), code: code_of(&text), text }
    };
    paths.into_iter().map(read).collect()
}

/// All of `src` but what is compiled for tests only.
fn program() -> Vec<Source> {
    let all = sources("src");
    let tests = test_files(&all);
    all.into_iter().filter(|source| !tests.contains(&source.path)).collect()
}

/// Drops line comments and items under a `#[cfg(test)]` at the left margin.
fn code_of(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]" {
            skip_item(&mut lines);
        } else if !line.trim_start().starts_with("//") {
            code.push_str(line.split(" // ").next().unwrap_or(line));
            code.push('\n');
        }
    }
    code
}

/// rustfmt ends an item at the margin with `}` at the margin, or with `;` on its only line.
fn skip_item<'a>(lines: &mut impl Iterator<Item = &'a str>) {
    let mut first = true;
    for line in lines {
        let ends = line == "}" || (first && (line.ends_with(';') || line.ends_with("{}")));
        first = first && line.starts_with("#[");
        if ends {
            return;
        }
    }
}

/// Files that are compiled for tests only: `mod x;` under `#[cfg(test)]`, with or without a `#[path]`.
fn test_files(all: &[Source]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for source in all {
        let (dir, name) = source.path.rsplit_once('/').unwrap_or(("", &source.path));
        let own = match name {
            "mod.rs" | "lib.rs" | "main.rs" => dir.to_owned(),
            _ => source.path.trim_end_matches(".rs").to_owned(),
        };
        let mut lines = source.text.lines();
        while lines.any(|line| line.trim() == "#[cfg(test)]") {
            let mut path = None;
            for line in lines.by_ref() {
                let line = line.trim();
                if let Some(given) = line.strip_prefix("#[path = \"").and_then(|rest| rest.strip_suffix("\"]")) {
                    path = Some(format!("{dir}/{given}"));
                } else if !line.starts_with('#') {
                    let module = line.rsplit_once("mod ").and_then(|(_, rest)| rest.strip_suffix(';'));
                    if let Some(module) = module {
                        let usual = [format!("{own}/{module}.rs"), format!("{own}/{module}/mod.rs")];
                        found.extend(path.map_or(usual.to_vec(), |path| vec![path]));
                    }
                    break;
                }
            }
        }
    }
    found
}

fn is_pure(path: &str) -> bool {
    let is_or_below = |pure: &&str| path.strip_prefix(*pure).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'));
    !NOT_PURE.contains(&path) && PURE.iter().any(is_or_below)
}

fn words(code: &str) -> BTreeSet<&str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').collect()
}

/// `src/a/b.rs` and `src/a/b/mod.rs` are `a::b`.
fn module_of(path: &str) -> String {
    let path = path.trim_start_matches("src/").trim_end_matches(".rs");
    path.trim_end_matches("/mod").replace('/', "::")
}

/// Every path into this crate that `code` names, from the crate's root: `crate::…` and `super::…`, groups unfolded.
fn named_paths(code: &str, module: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let parent = module.rsplit_once("::").map_or("", |(parent, _)| parent);
    for (keyword, base) in [("crate::", ""), ("super::", parent)] {
        for (at, _) in code.match_indices(keyword) {
            let outer = code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
            if !outer {
                unfold(base, &code[at + keyword.len()..], &mut found);
            }
        }
    }
    found
}

/// Reads one tree of a `use` (or a plain path) at the start of `text`; returns what follows it.
fn unfold<'a>(base: &str, text: &'a str, found: &mut BTreeSet<String>) -> &'a str {
    let text = text.trim_start();
    let join = |name: &str| if base.is_empty() { name.to_owned() } else { format!("{base}::{name}") };
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = unfold(base, rest, found).trim_start();
            match rest.strip_prefix(',') {
                Some(more) if !more.trim_start().starts_with('}') => rest = more,
                Some(more) => return more.trim_start().strip_prefix('}').unwrap_or(more),
                None => return rest.strip_prefix('}').unwrap_or(rest),
            }
        }
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if name.is_empty() {
        // `*`, or the end of something that is no tree.
        return rest.strip_prefix('*').unwrap_or(rest);
    }
    let path = join(name);
    let rest = match rest.strip_prefix("::") {
        Some(more) => unfold(&path, more, found),
        None => rest.strip_prefix(" as ").map_or(rest, |alias| {
            let end = alias.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(alias.len());
            &alias[end..]
        }),
    };
    found.insert(path);
    rest
}

fn report(broken: Vec<String>) {
    assert!(broken.is_empty(), "{} places:\n{}", broken.len(), broken.join("\n"));
}

#[test]
fn the_list_of_pure_modules_names_what_exists() {
    let is = |path: &str| root().join(path).exists();
    let gone = |path: &&&str| !is(path) && !is(&format!("{path}.rs"));
    report(PURE.iter().chain(NOT_PURE).filter(gone).map(|path| format!("{path} does not exist")).collect());
}

#[test]
fn pure_modules_name_no_runtime_socket_file_or_clock() {
    report(impurities(&program()));
}

fn impurities(program: &[Source]) -> Vec<String> {
    let mut broken = Vec::new();
    for source in program.iter().filter(|s| is_pure(&s.path)) {
        let said = words(&source.code);
        broken.extend(IMPURE_WORDS.iter().filter(|w| said.contains(**w)).map(|w| format!("{}: {w}", source.path)));
        let paths = IMPURE_PATHS.iter().chain(CLOCK_READS);
        broken.extend(paths.filter(|p| source.code.contains(**p)).map(|p| format!("{}: {p}", source.path)));
    }
    broken
}

#[test]
fn pure_modules_name_no_shell_module() {
    report(shells_named_by_pure(&program()));
}

fn shells_named_by_pure(program: &[Source]) -> Vec<String> {
    let shell: BTreeSet<String> = program
        .iter()
        .filter(|s| !is_pure(&s.path) && s.path != "src/clock.rs" && s.path != "src/lib.rs")
        .map(|s| module_of(&s.path))
        .filter(|module| !VALUES.contains(&module.as_str()))
        .collect();
    let mut broken = Vec::new();
    for source in program.iter().filter(|s| is_pure(&s.path)) {
        let named = named_paths(&source.code, &module_of(&source.path));
        // `unfold` reports every prefix of a path, so a module is found however deep the name in it lies.
        broken.extend(named.intersection(&shell).map(|m| format!("{} names {m}", source.path)));
    }
    broken
}

#[test]
fn clocks_are_read_in_one_place() {
    report(clock_reads(&program()));
}

fn clock_reads(program: &[Source]) -> Vec<String> {
    let mut broken = Vec::new();
    for source in program.iter().filter(|s| s.path != "src/clock.rs") {
        // tokio's own instant serves deadlines, follows paused time, and shows nothing to people or disks.
        let deadlines = source.code.contains("tokio::time::Instant") || source.code.contains("time::{Instant");
        let deadlines = deadlines && !names_std_instant(&source.code);
        let reads = CLOCK_READS.iter().filter(|read| source.code.contains(**read));
        let reads = reads.filter(|read| !(deadlines && **read == "Instant::now"));
        broken.extend(reads.map(|read| format!("{}: {read}", source.path)));
    }
    broken
}

fn names_std_instant(code: &str) -> bool {
    let mut found = BTreeSet::new();
    for (at, start) in code.match_indices("std::time::") {
        unfold("", &code[at + start.len()..], &mut found);
    }
    found.contains("Instant")
}

#[test]
fn every_module_says_what_it_is_for() {
    let mut broken = Vec::new();
    for dir in ["src", "tests", "benches"] {
        for source in sources(dir) {
            let says = source.text.lines().next().unwrap_or_default();
            if !says.starts_with("//! ") || says.contains("in the making") {
                broken.push(format!("{}: begins with {says:?}", source.path));
            }
        }
    }
    report(broken);
}

#[test]
fn no_module_is_named_for_nothing() {
    let vague = ["utils", "util", "helpers", "helper", "manager", "common", "misc"];
    let stem = |path: &str| module_of(path).rsplit("::").next().unwrap_or_default().to_owned();
    let all = ["src", "tests", "benches"].into_iter().flat_map(sources);
    report(all.map(|s| s.path).filter(|path| vague.contains(&stem(path).as_str())).collect());
}

#[test]
fn nothing_is_left_for_later() {
    let mut broken = Vec::new();
    for source in ["src", "tests", "benches"].into_iter().flat_map(sources) {
        for mark in [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("FIX", "ME"), concat!("XX", "X")] {
            if source.text.contains(mark) {
                broken.push(format!("{}: {mark}", source.path));
            }
        }
    }
    report(broken);
}

#[test]
fn no_path_of_one_machine_is_written_down() {
    let mut paths = Vec::new();
    for dir in ["src", "tests", "benches", "config", "dashboards", ".ci"] {
        files_below(&root().join(dir), &mut paths);
    }
    paths.extend(["Cargo.toml", "README.md", "CHANGELOG.md", "clippy.toml"].map(|name| root().join(name)));
    let mut broken = Vec::new();
    for path in paths {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for private in [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")] {
            if text.contains(private) {
                broken.push(format!("{}: {private}", relative(&path)));
            }
        }
    }
    report(broken);
}

#[test]
fn every_top_level_module_is_on_the_map() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let modules = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let missing = modules.filter(|name| {
        let link = format!("[`{name}`]");
        !lib.lines().any(|line| line.starts_with("//! |") && line.contains(&link))
    });
    report(missing.map(|name| format!("{name} is not in the table of src/lib.rs")).collect());
}

#[test]
fn the_reader_of_use_trees_unfolds_groups() {
    let code = "use crate::a::{b, c::{D, e as f}, g::*};\nfn x() { super::h::i(); self::j(); notcrate::k }\n";
    let found: Vec<String> = named_paths(code, "m::n").into_iter().collect();
    assert_eq!(found, ["a", "a::b", "a::c", "a::c::D", "a::c::e", "a::g", "m::h", "m::h::i"]);
}

#[test]
fn test_items_and_comments_are_no_code() {
    let text = "//! tokio\nuse a; // tokio\n#[cfg(test)]\nuse tokio;\nfn f() {\n    x\n}\n#[cfg(test)]\nmod tests {\n    use tokio;\n}\nlast\n";
    assert_eq!(code_of(text), "use a;\nfn f() {\n    x\n}\nlast\n");
}

#[test]
fn files_for_tests_only_are_found() {
    let source = |path: &str, text: &str| Source { path: path.into(), text: text.into(), code: String::new() };
    let all = [
        source("src/a/mod.rs", "pub mod b;\n#[cfg(test)]\npub(crate) mod fixtures;\n#[cfg(test)]\nmod tests {\n}\n"),
        source("src/a/b.rs", "#[cfg(test)]\n#[path = \"b_tests.rs\"]\nmod tests;\n#[cfg(test)]\nuse x;\nmod y;\n"),
    ];
    let found: Vec<String> = test_files(&all).into_iter().collect();
    assert_eq!(found, ["src/a/b_tests.rs", "src/a/fixtures.rs", "src/a/fixtures/mod.rs"]);
}

fn planted(path: &str, text: &str) -> Source {
    Source { path: path.into(), code: code_of(text), text: text.into() }
}

#[test]
fn each_way_out_of_a_pure_module_is_found() {
    for (line, found) in [
        ("use tokio::time::sleep;", "tokio"),
        ("use std::net::{IpAddr, TcpStream};", "TcpStream"),
        ("let text = std::fs::read(path)?;", "fs"),
        ("use std::{fs, io};", "fs"),
        ("let home = std::env::var(\"HOME\");", "std::env"),
        ("    let at = Instant::now();", "Instant::now"),
        ("    let at = jiff::Timestamp::now();", "Timestamp::now"),
        ("    let lot = rand::random::<u64>();", "rand::random"),
        ("    let rng = SmallRng::from_os_rng();", "from_os_rng"),
        ("    tracing::info!(\"here\");", "tracing"),
    ] {
        let text = format!("//! Decides.\n\nuse std::time::Duration;\n{line}\n");
        let source = planted("src/scheduler/select.rs", &text);
        let broken = impurities(std::slice::from_ref(&source));
        assert!(broken.contains(&format!("src/scheduler/select.rs: {found}")), "{line}: {broken:?}");
        let elsewhere = planted("src/delivery/client.rs", &text);
        assert_eq!(impurities(&[elsewhere]), Vec::<String>::new(), "shell may");
    }
    let fine = "//! tokio, std::fs\nuse std::net::IpAddr;\n// Instant::now() is elsewhere\n#[cfg(test)]\nmod tests {\n    use tokio::x;\n}\n";
    assert_eq!(impurities(&[planted("src/scheduler/select.rs", fine)]), Vec::<String>::new());
}

#[test]
fn a_shell_module_named_by_a_pure_one_is_found() {
    let shell = || planted("src/queue/dispatcher.rs", "//! Acts.\n");
    for line in [
        "use crate::queue::dispatcher::Dispatcher;",
        "use super::dispatcher::{Dispatcher, Parts};",
        "fn f(d: &crate::queue::{dispatcher}) {}",
    ] {
        let broken = shells_named_by_pure(&[shell(), planted("src/queue/core.rs", line)]);
        assert_eq!(broken, ["src/queue/core.rs names queue::dispatcher"], "{line}");
    }
    let fine = "use crate::queue::QueueStatus;\nuse super::index::Index;\n";
    assert_eq!(shells_named_by_pure(&[shell(), planted("src/queue/core.rs", fine)]), Vec::<String>::new());
}

#[test]
fn a_clock_read_elsewhere_is_found() {
    for text in [
        "use std::time::Instant;\nfn f() { Instant::now(); }\n",
        "use std::time::{Duration, Instant};\nuse tokio::time::Instant as Deadline;\nfn f() { Instant::now(); }\n",
        "fn f() { std::time::SystemTime::now(); }\n",
        "fn f() { jiff::Zoned::now(); }\n",
    ] {
        assert_eq!(clock_reads(&[planted("src/app/mod.rs", text)]).len(), 1, "{text}");
    }
    let deadline = "use std::time::Duration;\nuse tokio::time::{Instant, sleep_until};\nfn f() { Instant::now(); }\n";
    assert_eq!(clock_reads(&[planted("src/app/mod.rs", deadline)]), Vec::<String>::new());
}
