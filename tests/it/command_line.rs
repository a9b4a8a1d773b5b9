//! The verbs besides `run`: what they print, and their exit codes.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::{Relay, Settings, all_accepted, sink, wait_for_messages};

fn remuda(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_remuda"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that does not read (or leaves early) is judged by its output.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn check_accepts_the_annotated_example() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/remuda.toml");
    // The rules file it names beside itself is the operator's, so a copy without that line is checked.
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("remuda.toml");
    std::fs::write(&file, std::fs::read_to_string(example).unwrap()).unwrap();
    let done = remuda(&["check", "-c", file.to_str().unwrap()], b"");
    assert_eq!(done.status.code(), Some(0), "{}", err(&done));
    assert!(out(&done).contains("4 bindings, 3 pools, 2 tenants"), "{}", out(&done));
}

#[test]
fn check_says_all_mistakes_at_once_each_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("remuda.toml");
    let text = "\
[server]
hostname = \"relay.example.net\"
hostnmae = \"relay.example.net\"
[[listener]]
address = \"127.0.0.1:2525\"
trust = [\"10.0.0.0/8\"]
[binding.mta1]
bind_address = \"192.0.2.1\"
daily_cap = 0
[binding.mta2]
bind_address = \"192.0.2.1\"
[pool.main]
active = [\"mta1\", \"mat2\"]
[pool.x]
active = [{ binding = \"mta1\", weight = 0 }]
backup = [[{ pool = \"y\" }]]
[pool.y]
active = [\"mta2\"]
backup = [[{ pool = \"x\" }]]
[tenant.acme]
match = { client = [\"10.0.0.0/8\"] }
pools = { default = \"mian\" }
";
    std::fs::write(&file, text).unwrap();
    let done = remuda(&["check", "--config", file.to_str().unwrap()], b"");
    assert_eq!((done.status.code(), out(&done)), (Some(1), String::new()));
    let said = err(&done);
    let at = |line: usize, what: &str| {
        let start = format!("{}:{line}:", file.display());
        assert!(said.lines().any(|l| l.starts_with(&start) && l.contains(what)), "no {start} … {what} in\n{said}");
    };
    at(3, "hostnmae");
    at(3, "did you mean \"hostname\"?");
    at(9, "daily_cap");
    at(11, "192.0.2.1");
    at(13, "did you mean \"mta2\"?");
    at(15, "weight");
    at(22, "did you mean \"main\"?");
    assert!(said.lines().any(|l| l.contains("pool.x") || l.contains("pool.y")), "the cycle is named:\n{said}");
    assert_eq!(remuda(&["run", "-c", file.to_str().unwrap()], b"").status.code(), Some(1), "nor does it run");
}

#[test]
fn check_of_a_file_that_is_not_there_or_no_toml_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("no.toml");
    let done = remuda(&["check", "-c", file.to_str().unwrap()], b"");
    assert_eq!(done.status.code(), Some(1));
    assert!(err(&done).contains("no.toml"), "{}", err(&done));
    std::fs::write(&file, "[server\nhostname = 1\n").unwrap();
    let done = remuda(&["check", "-c", file.to_str().unwrap()], b"");
    assert_eq!(done.status.code(), Some(1));
    assert!(err(&done).contains("no.toml:1:"), "{}", err(&done));
    assert_eq!(remuda(&["chekc"], b"").status.code(), Some(2), "wrong usage");
}

fn objects(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", err(output));
    out(output).lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

#[test]
fn classify_answers_each_line_with_one_object() {
    let input = b"550 5.1.1 <a@b.test>: Recipient address rejected: User unknown\n\
        550 5.7.1 Service unavailable; client host [192.0.2.1] blocked using zen.example\r\n\
        451 4.7.1 Greylisted, please try again in 300 seconds\n\
        \n\
        \xff\x00 no reply at all\n\
        250 2.0.0 ok";
    let all = objects(&remuda(&["classify"], input));
    assert_eq!(all.len(), 6, "{all:#?}");
    let hard = |n: usize| (all[n]["hard"].as_bool().unwrap(), all[n]["counts_against_ip"].as_bool().unwrap());
    assert_eq!((hard(0), &all[0]["scope"]), ((true, false), &"recipient".into()));
    assert_eq!((hard(1).1, &all[1]["scope"]), (true, &"source_ip".into()));
    assert_eq!((hard(2), &all[2]["category"]), ((false, false), &"greylisted".into()));
    for empty in [&all[3], &all[4]] {
        assert_eq!((&empty["category"], &empty["rule"]), (&"unknown".into(), &Value::Null));
    }
    for (number, object) in all.iter().enumerate() {
        for key in ["category", "scope", "counts_against_ip", "hard", "rule"] {
            assert!(object.get(key).is_some(), "line {number}: no {key} in {object:#}");
        }
    }
}

#[test]
fn classify_raw_shows_how_replies_are_read() {
    let input = b"550-5.7.1 first\\r\\n550 5.7.1 second\\r\\n\n250 ok\\r\\n\n550-cut of\n\nrubbish\\r\\n\n";
    let all = objects(&remuda(&["classify", "--raw"], input));
    assert_eq!(all.len(), 5, "{all:#?}");
    assert_eq!(
        (&all[0]["code"], &all[0]["enhanced"], &all[0]["complete"]),
        (&550.into(), &"5.7.1".into(), &true.into())
    );
    let text = all[0]["text"].as_str().unwrap();
    assert!(text.contains("first") && text.contains("second"), "{text}");
    assert_eq!((&all[1]["code"], &all[1]["text"]), (&250.into(), &"ok".into()));
    assert_eq!(all[2]["complete"], false);
    assert_eq!((&all[4]["code"], &all[4]["complete"]), (&Value::Null, &false.into()));
}

#[test]
fn rules_that_are_none_are_refused_with_their_place() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("mine.toml");
    std::fs::write(&file, "[[rule]]\nnonsense = 1\n").unwrap();
    let done = remuda(&["classify", "--rules", file.to_str().unwrap()], b"250 ok\n");
    assert_eq!(done.status.code(), Some(1));
    assert!(err(&done).contains("mine.toml"), "{}", err(&done));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_prints_a_table_or_json_of_a_running_relay_and_fails_without_one() {
    let sink = sink().await;
    let settings = Settings::new().binding("mta1", 11, "daily_cap = 500").pool("active = [\"mta1\"]").to(sink.addr());
    let relay = Relay::start(&settings).await;
    all_accepted(&relay.load(3).run().await);
    wait_for_messages(&sink, 3).await;
    relay.wait_until_empty().await;
    let admin = relay.admin().to_string();
    let table = tokio::task::block_in_place(|| remuda(&["status", "--admin", &admin], b""));
    let shown = out(&table);
    assert!(shown.contains("mta1") && shown.contains("3/500") && shown.contains("delivered 3"), "{shown}");
    let json = tokio::task::block_in_place(|| remuda(&["status", "--admin", &admin, "--json"], b""));
    assert_eq!(serde_json::from_slice::<Value>(&json.stdout).unwrap()["hostname"], "relay.test");
    drop(relay);
    let gone = tokio::task::block_in_place(|| remuda(&["status", "--admin", &admin], b""));
    assert_eq!(gone.status.code(), Some(1));
    assert!(err(&gone).contains(&admin), "{}", err(&gone));
}

#[test]
fn the_demo_adds_up() {
    let started = std::time::Instant::now();
    let done = remuda(&["demo", "--messages", "1500"], b"");
    let shown = out(&done);
    assert!(done.status.success(), "{shown}\n{}", err(&done));
    assert!(shown.trim_end().ends_with("Everything adds up."), "{shown}");
    assert!(started.elapsed() < std::time::Duration::from_secs(40), "{:?}", started.elapsed());
}

#[test]
fn the_configuration_in_the_readme_is_good() {
    let readme = include_str!("../../README.md");
    let block = readme.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let config = remuda::config::Config::from_toml(block).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!((config.bindings.len(), config.tenants.len()), (2, 1));
}
