//! The operator's tour, `docs/tour.md`, is run as it is written; and the world it is played in keeps its promises.
//!
//! Every ```` ```sh ```` block of the document runs, in order, in one shell in an empty directory. It must succeed, and what
//! the ```` ```text ```` block behind it shows must be there: each of its lines in this order, whatever the numbers, times
//! and widths of columns, with `…` for whatever is left out. `<!-- again until it shows -->` before a block stands for the
//! reader who asks again; what it names behind `shows` must be there to the letter.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::support::wait_until;

const TOUR: &str = include_str!("../../docs/tour.md");

/// Long enough for a loaded machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(180);

/// One block of commands, and what it is said to show.
#[derive(Debug, Default, PartialEq)]
struct Step {
    line: usize,
    commands: String,
    shows: Vec<String>,
    /// Asked again until this is there to the letter, and `shows`.
    again_until: Option<String>,
}

fn steps(document: &str) -> Vec<Step> {
    let (mut steps, mut fence) = (Vec::<Step>::new(), None);
    let mut again_until = None;
    for (number, line) in (1..).zip(document.lines()) {
        match (fence, line) {
            (None, comment) if comment.starts_with("<!-- again until it shows") => {
                let exactly = comment.trim_start_matches("<!-- again until it shows").trim_end_matches("-->").trim();
                again_until = Some(exactly.to_owned());
            }
            (None, "```sh") => {
                steps.push(Step { line: number, again_until: again_until.take(), ..Step::default() });
                fence = Some("sh");
            }
            (None, "```text") => fence = Some("text"),
            (None, other) => assert!(!other.starts_with("```"), "line {number}: {other} is neither sh nor text"),
            (Some(_), "```") => fence = None,
            (Some(kind), line) => {
                let step = steps.last_mut().unwrap_or_else(|| panic!("line {number}: nothing was run yet"));
                match kind {
                    "sh" => step.commands += &format!("{line}\n"),
                    _ => step.shows.push(line.to_owned()),
                }
            }
        }
    }
    assert_eq!((fence, again_until), (None, None), "something is left open at the end");
    steps
}

/// Without what differs from run to run: numbers that are no part of a word, and how much space there is.
fn plain(line: &str) -> String {
    let mut plain = String::new();
    let mut before = ' ';
    for character in line.split_whitespace().collect::<Vec<_>>().join(" ").chars() {
        let is_in_word = before.is_alphanumeric() && before != '#' || before == '_';
        match character {
            '0'..='9' if !is_in_word => {
                if before != '#' {
                    plain.push('#');
                    before = '#';
                }
            }
            // Times and spans: T17:02, 2h30m.
            'T' | 'd' | 'h' | 'm' | 's' if before == '#' => {
                plain.push(character);
                before = ' ';
            }
            // 200_000, 1.5, 17:02 and 1,100 are one number.
            '.' | ':' | ',' | '_' if before == '#' => {}
            other => {
                plain.push(other);
                before = other;
            }
        }
    }
    plain
}

/// Whether `line` is as `shown`, whose `…` stand for anything.
fn fits(line: &str, shown: &str) -> bool {
    let (line, shown) = (plain(line), plain(shown));
    let parts: Vec<&str> = shown.split('…').map(str::trim).collect();
    let [first, .., last] = parts.as_slice() else { return line == shown };
    if !line.starts_with(first) || !line.ends_with(last) {
        return false;
    }
    let mut rest = line.as_str();
    parts.iter().all(|part| match rest.find(part) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}

/// The first line of `shows` that `output` lacks, looked for in order.
fn lacks<'a>(output: &str, shows: &'a [String]) -> Option<&'a str> {
    let mut lines = output.lines();
    shows
        .iter()
        .filter(|shown| !matches!(shown.trim(), "" | "…"))
        .find(|shown| !lines.any(|line| fits(line, shown)))
        .map(String::as_str)
}

/// One shell in a directory of its own. With it end all processes it started.
struct Shell {
    directory: tempfile::TempDir,
    child: Child,
    input: ChildStdin,
    said: mpsc::Receiver<String>,
}

impl Drop for Shell {
    fn drop(&mut self) {
        // Its group: what runs in the background belongs to it.
        let kill = format!("kill -KILL -{}", self.child.id());
        let _ = Command::new("sh").args(["-c", &kill]).status();
        let _ = self.child.wait();
    }
}

impl Shell {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let programs = Path::new(env!("CARGO_BIN_EXE_remuda")).parent().unwrap();
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
        let mut child = Command::new("bash")
            .args(["--norc", "-eu"])
            .current_dir(directory.path())
            .env("PATH", path)
            .env("HOME", directory.path())
            .env_remove("REMUDA_ADMIN")
            .env_remove("REMUDA_CONFIG")
            .env_remove("REMUDA_DEMO")
            .env_remove("REMUDA_TOKEN")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, said) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { directory, child, input, said }
    }

    /// What `commands` print; `None` when one of them fails or takes too long, which ends the shell.
    fn run(&mut self, commands: &str) -> (bool, String) {
        let (block, out) = (self.directory.path().join(".block.sh"), self.directory.path().join(".block.out"));
        fs::write(&block, commands).unwrap();
        let source = format!("source '{}' </dev/null >'{}' 2>&1; echo done\n", block.display(), out.display());
        let is_done = self.input.write_all(source.as_bytes()).is_ok()
            && self.said.recv_timeout(PATIENCE).is_ok_and(|line| line == "done");
        (is_done, fs::read_to_string(&out).unwrap_or_default())
    }
}

/// Runs the steps of `document` and says how many; or where one fails or does not show what it should.
fn play(document: &str) -> Result<usize, String> {
    let mut shell = Shell::start();
    let mut played = 0;
    for step in &steps(document) {
        let started = Instant::now();
        loop {
            let (is_done, output) = shell.run(&step.commands);
            let at = format!("docs/tour.md:{}:\n{}--- printed\n{output}---", step.line, step.commands);
            if !is_done {
                return Err(format!("failed, or not done within {PATIENCE:?}: {at}"));
            }
            let exactly = step.again_until.as_deref().filter(|exactly| !output.contains(exactly));
            let Some(lacking) = exactly.or_else(|| lacks(&output, &step.shows)) else { break };
            if step.again_until.is_none() || started.elapsed() > PATIENCE {
                return Err(format!("{at}\nhas nothing like\n{lacking}"));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        played += 1;
    }
    Ok(played)
}

#[test]
fn what_is_shown_must_be_there_whatever_the_numbers() {
    let table = [
        ("mta1   127.0.0.11  active  0  21/200000", "mta1 127.0.0.11 active 3 1,007/200_000", true),
        ("mta1   127.0.0.11  active", "mta2 127.0.0.11 active", false),
        ("until 2026-11-22T20:14:29Z at alpha", "until 2027-01-02T00:00:00Z at alpha", true),
        ("for 4m2s", "for 59m41s", true),
        ("until 2026-11-22T20:14:29Z at alpha", "until … at alpha", true),
        ("until 2026-11-22T20:14:29Z at beta", "until … at alpha", false),
        ("a b c", "a b", false),
        ("a b c", "a …", true),
        ("a b c", "… c", true),
        ("a b c", "…", true),
        ("a b c", "a … b … c", true),
        ("a c b", "a … b … c", false),
        ("listed", "suspended", false),
    ];
    for (line, shown, wanted) in table {
        assert_eq!(fits(line, shown), wanted, "{line:?} as {shown:?}");
    }
    let shows: Vec<String> = ["one …", "", "…", "two"].map(String::from).into();
    assert_eq!(lacks("zero\none 1\nand\n two \n", &shows), None);
    assert_eq!(lacks("two\none 1\n", &shows), Some("two"), "in this order");
}

#[test]
fn a_document_with_a_mistake_fails() {
    let document = |commands: &str, shows: &str| format!("# T\n\n```sh\n{commands}\n```\n\n```text\n{shows}\n```\n");
    assert_eq!(play(&document("x=1\necho \"$x apple\" two", "2 apple two")), Ok(1));
    let again = "<!-- again until it shows 3 -->\n```sh\nn=$((${n-0} + 1)); echo n $n\n```\n```text\nn 9\n```\n";
    assert_eq!(play(&format!("{again}```sh\n[ $n = 3 ]\n```\n")), Ok(2));
    let bad = [("echo one", "two"), ("false\necho one", "one"), ("echo $no_such_thing", ""), ("exit 0", "")];
    for (commands, shows) in bad {
        assert!(play(&document(commands, shows)).is_err(), "{commands} does not show {shows}");
    }
}

/// What a demo that stays needs to be told: verb, arguments.
fn remuda(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_remuda")).args(arguments).env("REMUDA_DEMO", directory).output().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demo_stays_does_as_it_is_told_and_adds_up() {
    let above = tempfile::tempdir().unwrap();
    let (directory, said) = (above.path().join("it's a world"), above.path().join("said"));
    let mut child = Command::new(env!("CARGO_BIN_EXE_remuda"))
        .args(["demo", "--stay", "--dir"])
        .arg(&directory)
        .stdin(Stdio::null())
        .stdout(File::create(&said).unwrap())
        .spawn()
        .unwrap();
    wait_until("the demo is there", async || {
        assert_eq!(child.try_wait().unwrap(), None, "it left");
        directory.join("env").exists().then_some(())
    })
    .await;
    let admin = fs::read_to_string(directory.join("admin.address")).unwrap();
    let status = || {
        let asked = remuda(&directory, &["status", "--admin", admin.trim()]);
        assert!(asked.status.success(), "{asked:?}");
        String::from_utf8(asked.stdout).unwrap()
    };
    let wish = |words: &[&str]| {
        let granted = remuda(&directory, &[&["demo", "do"], words].concat());
        (
            granted.status.code(),
            String::from_utf8(granted.stdout).unwrap() + &String::from_utf8(granted.stderr).unwrap(),
        )
    };
    let shows = |what: &'static str| status().lines().any(|line| fits(line, what)).then_some(());

    // A shell reads the file of the environment, whatever the directory is called.
    let env = directory.join("env");
    let say = ". \"$0\"; echo \"$REMUDA_DEMO\"; echo \"$REMUDA_CONFIG\"";
    let read = Command::new("sh").args(["-c", say]).arg(&env).output().unwrap();
    let file = directory.join("remuda.toml");
    let wanted = format!("{}\n{}\n", directory.display(), file.display());
    assert_eq!(String::from_utf8(read.stdout).unwrap(), wanted);

    // Whoever runs it may do everything: the token is found by the file that the environment names.
    let reload = || {
        let answer =
            Command::new(env!("CARGO_BIN_EXE_remuda")).arg("reload").env("REMUDA_CONFIG", &file).output().unwrap();
        (answer.status.code(), String::from_utf8(answer.stdout).unwrap() + &String::from_utf8(answer.stderr).unwrap())
    };
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen("daily_cap = 100_000", "daily_cap = 90_000", 1)).unwrap();
    let (code, told) = reload();
    assert!(code == Some(0) && told.contains("100000 → 90000\n1 change is in force\n"), "{told}");
    assert!(status().contains("/90000"));
    assert_eq!(reload(), (Some(0), "nothing changes\n".into()));

    assert_eq!(wish(&["list", "mta1"]), (Some(0), "big.test lists 192.0.2.11 (mta1)\n".into()));
    wait_until("mta1 is out", async || shows("mta1 … suspended … listed")).await;
    wait_until("mta3 steps in", async || {
        let (_, shown) = wish(&["show"]);
        shown
            .lines()
            .any(|l| l.starts_with("mta3") && l.split_whitespace().any(|n| n.parse().is_ok_and(|n: u64| n > 0)))
            .then_some(())
    })
    .await;
    assert_eq!(wish(&["block", "mta2", "--at", "alpha"]).0, Some(0));
    wait_until("mta2 is out at alpha", async || shows("suspended (ip_blocked) until … at alpha")).await;
    let (_, shown) = wish(&["show"]);
    assert!(shown.contains("big lists mta1\nalpha refuses mta2"), "{shown}");
    assert_eq!(wish(&["unblock", "mta2"]), (Some(0), "alpha takes mail from mta2 again\n".into()));
    assert_eq!(wish(&["unlist", "mta1"]).0, Some(0));
    assert_eq!(wish(&["rate", "40"]), (Some(0), "traffic: on, 40 messages per second\n".into()));
    wait_until("mta1 is back", async || shows("mta1 127.0.0.11 active … /200000")).await;
    for (words, why) in [
        (["list", "mta9"].as_slice(), "there is no binding"),
        (&["list", "mta1", "--in", "loud"], "no list"),
        (&["block", "mta1", "--at", "omega"], "there is no receiver"),
    ] {
        let (code, said) = wish(words);
        assert!(code == Some(1) && said.contains(why), "{words:?}: {said}");
    }
    let again = remuda(&directory, &["demo", "--stay", "--dir", directory.to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("holds a demo already"), "{again:?}");

    let kill = format!("kill -TERM {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    let left = wait_until("it ends", async || child.try_wait().unwrap()).await;
    let said = fs::read_to_string(&said).unwrap();
    assert!(left.success() && said.contains("lost 0, delivered twice 0\nEverything adds up."), "{left}: {said}");
}

mod peers {
    use super::*;

    #[test]
    #[ignore = "needs swaks; tests/run installs it"]
    fn the_tour_runs_as_written() {
        let played = play(TOUR).unwrap_or_else(|why| panic!("{why}"));
        assert!(played == steps(TOUR).len() && played >= 36, "only {played} blocks");
    }
}
