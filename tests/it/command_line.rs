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
    // So are the certificate and its key: some of our own stand in.
    let made = rcgen::generate_simple_self_signed(vec!["relay.example.net".to_owned()]).unwrap();
    std::fs::write(directory.path().join("relay.pem"), made.cert.pem()).unwrap();
    std::fs::write(directory.path().join("relay.key"), made.signing_key.serialize_pem()).unwrap();
    let text = std::fs::read_to_string(example).unwrap().replace("\"/etc/remuda/tls/relay.", "\"relay.");
    std::fs::write(&file, text).unwrap();
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

const BAD_RULES: &str = "\
[[rule]]
id = \"own.a\"
patern = \"acme\"
code = \"5\"
cause = \"spam_block_ip\"
scope = \"bindnig\"
[[rule]]
id = \"own.b\"
pattern = \"(\"
cause = \"unknown\"
scope = \"unknown\"
";

#[test]
fn mistakes_of_rules_are_said_all_at_once_with_their_places() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("mine.toml");
    std::fs::write(&file, BAD_RULES).unwrap();
    let done = remuda(&["classify", "--rules", file.to_str().unwrap()], b"250 ok\n");
    assert_eq!((done.status.code(), out(&done)), (Some(1), String::new()));
    let said = err(&done);
    for (line, what) in [(3, "did you mean \"pattern\"?"), (6, "did you mean \"binding\"?"), (9, "unclosed group")] {
        let start = format!("{}:{line}:", file.display());
        assert!(said.lines().any(|l| l.starts_with(&start) && l.contains(what)), "no {start} … {what} in\n{said}");
    }
    assert_eq!(said.lines().count(), 3, "{said}");
    let done = remuda(&["classify", "--rules", "/nonexistent/rules.toml"], b"");
    assert_eq!(done.status.code(), Some(1));
    assert!(err(&done).contains("/nonexistent/rules.toml"), "{}", err(&done));
}

#[test]
fn check_and_run_refuse_the_rules_that_the_configuration_names() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("remuda.toml");
    let good = format!(
        "[server]\nhostname = \"relay.test\"\nstate_dir = {:?}\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
         trust = [\"127.0.0.0/8\"]\n[binding.a]\nbind_address = \"127.0.0.2\"\n[pool.p]\nactive = [\"a\"]\n\
         [tenant.t]\npools = {{ default = \"p\" }}\n[classify]\nrules = [\"mine.toml\"]\n",
        directory.path().join("state")
    );
    let both = |config: &str, rules: &str| {
        std::fs::write(&file, config).unwrap();
        std::fs::write(directory.path().join("mine.toml"), rules).unwrap();
        remuda(&["check", "-c", file.to_str().unwrap()], b"")
    };
    let own = "[[rule]]\nid = \"own.a\"\npattern = \"acme\"\ncause = \"unknown\"\nscope = \"unknown\"\n";
    let done = both(&good, own);
    assert_eq!(done.status.code(), Some(0), "{}", err(&done));
    assert!(out(&done).contains("(1 your own)"), "{}", out(&done));

    let done = both(&good, BAD_RULES);
    assert_eq!(done.status.code(), Some(1));
    assert!(err(&done).contains("mine.toml:6:") && err(&done).contains("rule \"own.a\""), "{}", err(&done));
    let run = remuda(&["run", "-c", file.to_str().unwrap()], b"");
    assert_eq!((run.status.code(), err(&run)), (Some(1), err(&done)), "the same words");

    // Both kinds of mistakes in one run.
    let done = both(&good.replace("active = [\"a\"]", "active = [\"b\"]"), BAD_RULES);
    assert!(err(&done).contains("remuda.toml:10:") && err(&done).contains("mine.toml:9:"), "{}", err(&done));
}

/// A configuration that takes reports, with its directory; `classify` stands in its last section.
fn with_feedback(directory: &Path, classify: &str) -> std::path::PathBuf {
    let file = directory.join("remuda.toml");
    let text = format!(
        "[server]\nhostname = \"relay.test\"\nstate_dir = {:?}\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
         trust = [\"127.0.0.0/8\"]\n[binding.a]\nbind_address = \"127.0.0.2\"\n[pool.p]\nactive = [\"a\"]\n\
         [tenant.t]\npools = {{ default = \"p\" }}\n[feedback]\naddresses = [\"fbl@relay.test\"]\n\
         key_file = \"feedback.keys\"\n[classify]\n{classify}\n",
        directory.join("state")
    );
    std::fs::write(&file, text).unwrap();
    file
}

#[test]
fn check_refuses_the_key_files_that_run_refuses_in_the_same_words_and_makes_none() {
    let directory = tempfile::tempdir().unwrap();
    let file = with_feedback(directory.path(), "");
    let file = file.to_str().unwrap();
    let keys = directory.path().join("feedback.keys");
    let done = remuda(&["check", "-c", file], b"");
    assert_eq!(done.status.code(), Some(0), "a missing one is made at the start: {}", err(&done));
    assert!(!keys.exists(), "but not by looking");
    for (text, says) in
        [("", "holds no key"), ("rubbish\n", "line 1: a key is"), (&"ab".repeat(31), "line 1: a key is")]
    {
        std::fs::write(&keys, text).unwrap();
        let done = remuda(&["check", "-c", file], b"");
        assert!(done.status.code() == Some(1) && err(&done).contains(says), "{text:?}: {}", err(&done));
        assert_eq!(out(&done), "");
        let run = remuda(&["run", "-c", file], b"");
        assert_eq!((run.status.code(), err(&run)), (Some(1), err(&done)), "the same words");
        assert_eq!(std::fs::read_to_string(&keys).unwrap(), text, "left as it is");
    }
    std::fs::remove_file(&keys).unwrap();
    std::fs::create_dir(&keys).unwrap();
    let done = remuda(&["check", "-c", file], b"");
    assert!(done.status.code() == Some(1) && err(&done).contains("feedback.keys: cannot be read"), "{}", err(&done));
}

#[test]
fn check_says_the_mistakes_of_configuration_rules_and_keys_in_one_run() {
    let directory = tempfile::tempdir().unwrap();
    let file = with_feedback(directory.path(), "rules = [\"nope.toml\"]\nunmatched_kpet = 3");
    std::fs::write(directory.path().join("feedback.keys"), "rubbish").unwrap();
    let said = err(&remuda(&["check", "-c", file.to_str().unwrap()], b""));
    assert!(said.contains("did you mean \"unmatched_kept\"?"), "{said}");
    let unreadable = format!("{}:17: classify.rules: {}", file.display(), directory.path().join("nope.toml").display());
    assert!(said.lines().any(|line| line.starts_with(&unreadable) && line.contains("cannot be read")), "{said}");
    assert!(said.contains("feedback.keys: line 1: a key is"), "{said}");
    assert_eq!(said.lines().count(), 3, "{said}");
}

#[test]
fn check_accepts_the_example_of_own_rules() {
    let directory = tempfile::tempdir().unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/rules-local.toml");
    std::fs::copy(example, directory.path().join("rules-local.toml")).unwrap();
    let file = with_feedback(directory.path(), "rules = [\"rules-local.toml\"]");
    let done = remuda(&["check", "-c", file.to_str().unwrap()], b"");
    assert_eq!(done.status.code(), Some(0), "{}", err(&done));
    assert!(out(&done).contains("(4 your own)"), "{}", out(&done));
    assert!(err(&done).contains("no provider \"gmail\" is configured"), "{}", err(&done));
}

#[test]
fn a_mail_is_read_with_the_rules_stage_and_provider_that_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let rules = directory.path().join("mine.toml");
    let rule = "[[rule]]\nid = \"own.a\"\nproviders = [\"gmail\"]\nstages = [\"data\"]\npattern = \"frobnicated\"\n\
        cause = \"spam_block_content\"\nscope = \"message\"\n";
    std::fs::write(&rules, rule).unwrap();
    let mail = b"From: MAILER-DAEMON@x\nSubject: failure notice\n\n<a@y>:\nRemote host said: 550 5.7.0 Frobnicated\n";
    let decided = |more: &[&str]| {
        let all = [&["classify", "--mail", "-", "--rules", rules.to_str().unwrap()], more].concat();
        objects(&remuda(&all, mail)).remove(0)["recipients"][0]["outcome"]["rule"].clone()
    };
    assert_eq!(decided(&["--provider", "gmail", "--stage", "data"]), "own.a");
    assert_ne!(decided(&["--provider", "gmail"]), "own.a");
    assert_ne!(decided(&["--stage", "data"]), "own.a");
    let done = remuda(&["classify", "--mail", "-", "--rules", "/nonexistent/rules.toml"], mail);
    assert_eq!(done.status.code(), Some(1));
}

#[test]
fn a_provider_that_no_rule_knows_is_warned_of() {
    let warned = |name: &str| err(&remuda(&["classify", "--provider", name], b"250 ok\n"));
    assert!(warned("gmial").contains("did you mean \"gmail\"?"), "{}", warned("gmial"));
    assert!(warned("zzzzzzzzzzzz").contains("gmail"), "all are named where none is near");
    assert_eq!(warned("gmail"), "");
}

#[test]
fn explain_prints_nothing_raw_that_a_receiver_chose() {
    let line = "550 5.7.1 user unknown \u{202e}\u{1b}[2J\u{9b}31m\u{200b}\n";
    let said = out(&remuda(&["classify", "--explain"], line.as_bytes()));
    assert!(said.contains("\\u{202e}\\u{1b}[2J"), "{said}");
    assert!(!said.contains(['\u{202e}', '\u{1b}', '\u{9b}', '\u{200b}']), "{said:?}");
}

#[test]
fn explain_says_which_rule_decided_by_which_words_and_what_followed() {
    let line = b"554 5.7.1 Service unavailable; client host [192.0.2.1] blocked using zen.spamhaus.org\nno reply\n";
    let said = out(&remuda(&["classify", "--explain"], line));
    for part in [
        "read as   code 554, enhanced code 5.7.1, at rcpt",
        "config/rules/generic.toml:",
        "the pattern matches \"client host [192.0.2.1] blocked using zen.spamhaus\"",
        "deferred: spam_block_ip, scope binding, counts against the IP; next try from another binding",
        "a 5xx that blames the IP defers",
        "  then      ",
        "no reply  a line begins with a code",
    ] {
        assert!(said.contains(part), "no {part:?} in\n{said}");
    }
    let quoted = b"550 5.1.0 Remote host said: 554 5.7.1 client host [192.0.2.1] blocked using zen.spamhaus.org\n";
    let said = out(&remuda(&["classify", "--explain"], quoted));
    assert!(said.contains("another hop's IP was refused") && said.contains("no evidence against the IP"), "{said}");
}

#[test]
fn stage_and_provider_are_honoured() {
    let stage = |stage: &str| objects(&remuda(&["classify", "--stage", stage], b"550 5.1.1 User unknown\n")).remove(0);
    assert_eq!((&stage("rcpt")["disposition"], &stage("rcpt")["hard"]), (&"bounced".into(), &true.into()));
    assert_eq!((&stage("banner")["disposition"], &stage("banner")["hard"]), (&"deferred".into(), &false.into()));
    let done = remuda(&["classify", "--stage", "rctp"], b"");
    assert_eq!(done.status.code(), Some(1));
    assert!(err(&done).contains("connect, banner, ehlo, tls, mail, rcpt, data, end_of_data"), "{}", err(&done));

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("mine.toml");
    let rule =
        "[[rule]]\nid = \"own.a\"\nproviders = [\"acme\"]\ncode = \"4\"\ncause = \"unknown\"\nscope = \"unknown\"\n";
    std::fs::write(&file, rule).unwrap();
    let rule = |provider: &str| {
        let arguments = ["classify", "--rules", file.to_str().unwrap(), "--provider", provider];
        objects(&remuda(&arguments, b"450 4.2.1 x\n")).remove(0)["rule"].clone()
    };
    assert_eq!(rule("acme"), "own.a");
    assert_ne!(rule("other"), "own.a");
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

/// The set-up for reports, laid over the configuration above it.
#[test]
fn the_feedback_in_the_readme_is_good() {
    let readme = include_str!("../../README.md");
    let block = |n: usize| readme.split("```toml\n").nth(n).and_then(|rest| rest.split("```").next()).unwrap();
    // The tenant is written in both.
    let before = block(1).split("[tenant.acme]").next().unwrap();
    let config = remuda::config::Config::from_toml(&format!("{before}{}", block(2)));
    let config = config.unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert!(config.feedback.is_some() && config.tenants[0].return_path_domain.is_some());
    assert_eq!(config.listeners.iter().filter(|listener| listener.trust.is_empty()).count(), 1);
}

/// The set-up of TLS, logins, signatures and mail over HTTP, laid over the first configuration.
#[test]
fn the_doors_in_the_readme_are_good() {
    let readme = include_str!("../../README.md");
    let block = |n: usize| readme.split("```toml\n").nth(n).and_then(|rest| rest.split("```").next()).unwrap();
    // The tenant is written in both; the users' file is what `auth` needs.
    let before = block(1).split("[tenant.acme]").next().unwrap();
    let before = before.replacen("[server]\n", "[server]\nusers_file = \"users\"\n", 1);
    let config = remuda::config::Config::from_toml(&format!("{before}{}", block(3)));
    let config = config.unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!((config.certificates.len(), config.dkim.len(), config.injection.tokens.len()), (1, 1, 1));
}

/// What the README shows of `remuda classify` is what it prints.
#[test]
fn the_replies_and_the_bounce_in_the_readme_are_read_as_it_says() {
    let readme = include_str!("../../README.md");
    let said: Vec<&str> = readme.split("```json\n").skip(1).filter_map(|rest| rest.lines().next()).collect();
    let between = |from: &str, to: &str| readme.split_once(from).and_then(|(_, rest)| rest.split_once(to)).unwrap().0;
    let reply = between("echo '", "' | remuda classify\n");
    assert_eq!(out(&remuda(&["classify"], reply.as_bytes())).trim_end(), said[0]);
    let mail = between("printf '", "' > bounce.eml").replace("\\n", "\n");
    assert_eq!(out(&remuda(&["classify", "--mail", "-"], mail.as_bytes())).trim_end(), said[1]);
}

/// Two addresses, of which one is blocked for a while, for two days.
fn small_scenario(directory: &Path) -> std::path::PathBuf {
    let config = "\
[server]
hostname = \"relay.example.net\"
state_dir = \"/var/lib/remuda\"
[[listener]]
address = \"127.0.0.1:2525\"
trust = [\"127.0.0.0/8\"]
[binding.mta1]
bind_address = \"192.0.2.1\"
daily_cap = 300
[binding.mta2]
bind_address = \"192.0.2.2\"
[pool.main]
active = [\"mta1\", \"mta2\"]
[tenant.acme]
match = { client = [\"10.0.0.0/8\"] }
pools = { default = \"main\" }
[provider.gmail]
mx = [\"*.google.com\"]
";
    let scenario = "\
title = \"a block\"
config = \"relay.toml\"
start = 2026-11-02
days = 2
seed = 7
[[traffic]]
tenant = \"acme\"
per_day = 1_000
to = { gmail = 1.0 }
quality = \"good\"
[receiver.gmail]
knows = 1_000
[[event]]
at = \"10:00\"
for = \"2h\"
block = { receiver = \"gmail\", bindings = [\"mta2\"] }
";
    std::fs::write(directory.join("relay.toml"), config).unwrap();
    let path = directory.join("block.toml");
    std::fs::write(&path, scenario).unwrap();
    path
}

#[test]
fn simulate_shows_day_by_day_what_would_happen_and_the_same_again() {
    let directory = tempfile::tempdir().unwrap();
    let scenario = small_scenario(directory.path());
    let scenario = scenario.to_str().unwrap();
    let shown = remuda(&["simulate", scenario], b"");
    assert_eq!(shown.status.code(), Some(0), "{}", err(&shown));
    for expected in ["a block", "2026-11-03", "mta2", "ip_blocked", "gmail", "acme"] {
        assert!(out(&shown).contains(expected), "no {expected} in\n{}", out(&shown));
    }
    assert_eq!(out(&remuda(&["simulate", scenario], b"")), out(&shown), "the same seed, the same days");

    let done = remuda(&["simulate", scenario, "--seed", "8", "--days", "1", "--json"], b"");
    let report: Value = serde_json::from_str(&out(&done)).unwrap();
    assert_eq!(report["days"].as_array().map(Vec::len), Some(1));
    assert_eq!((&report["seed"], &report["violation_count"]), (&8.into(), &0.into()));
    let day = &report["days"][0];
    assert_eq!((&day["accepted"], &day["bindings"]["mta1"]["limit"]), (&1000.into(), &300.into()));
    assert!(day["bindings"]["mta1"]["delivered"].as_u64().unwrap() <= 300);
    assert_eq!(report["suspensions"][0]["destination"], "gmail");
    assert!(!directory.path().join("remuda").exists(), "nothing is written");
}

#[test]
fn simulate_says_what_is_wrong_with_its_files_and_where() {
    let directory = tempfile::tempdir().unwrap();
    let scenario = small_scenario(directory.path());
    let text = std::fs::read_to_string(&scenario).unwrap();
    for (change, to, expected) in [
        ("per_day", "per_dya", "block.toml:8:"),
        ("tenant = \"acme\"", "tenant = \"acne\"", "acme"),
        ("config = \"relay.toml\"", "", "give -c"),
        ("relay.toml", "relya.toml", "relya.toml"),
    ] {
        std::fs::write(&scenario, text.replace(change, to)).unwrap();
        let done = remuda(&["simulate", scenario.to_str().unwrap()], b"");
        assert_eq!((done.status.code(), out(&done)), (Some(1), String::new()), "{to}");
        assert!(err(&done).contains(expected), "no {expected} in {}", err(&done));
    }
}
