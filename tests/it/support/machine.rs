//! A machine of its own with a real systemd, made by `tests/machine`.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// One that runs. Dropping it ends it with all that is in it; in a failing test it prints the end of its journal.
pub(crate) struct Machine {
    holder: Child,
    /// What /proc has of its first process. Unlike its number this is never somebody else's, also when it has ended.
    first: File,
    // Dropped last: its memory is mounted there.
    _directory: TempDir,
}

impl Drop for Machine {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- end of the journal\n{}", self.try_run(&["journalctl", "--no-pager", "--lines=60"]).1);
        }
        drop(self.holder.stdin.take());
        let status = self.holder.wait();
        let mut said = String::new();
        if let Some(stderr) = &mut self.holder.stderr {
            let _ = stderr.read_to_string(&mut said);
        }
        if !said.is_empty() {
            eprintln!("--- the machine, which ended with {status:?}\n{said}");
        }
    }
}

impl Machine {
    /// Starts it and waits until its systemd has; `None` where there can be none, which is said.
    ///
    /// # Panics
    /// Where there can be none, though `REMUDA_TEST_MACHINE=required`.
    pub(crate) fn boot() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mut holder = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/machine"))
            .arg(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut first).unwrap();
        if first.is_empty() {
            drop(holder.stdin.take());
            let mut why = String::new();
            holder.stderr.take().unwrap().read_to_string(&mut why).unwrap();
            let status = holder.wait().unwrap();
            assert!(status.code() == Some(77), "{status}: {why}");
            assert!(std::env::var_os("REMUDA_TEST_MACHINE").is_none(), "it was there a moment ago: {why}");
            println!("cannot be run here: no machine of its own ({})", why.trim());
            return None;
        }
        let first = File::open(format!("/proc/{}", first.trim())).unwrap();
        let machine = Self { holder, first, _directory: directory };
        machine.until("systemd has started", || {
            let state = machine.try_run(&["systemctl", "is-system-running"]).1;
            state.starts_with("running").then_some(())
        });
        Some(machine)
    }

    /// A path of it, seen from here.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("{}/root{path}", self.proc()))
    }

    /// The directory of its first process, for this process and those that it starts.
    fn proc(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.first.as_raw_fd())
    }

    /// Writes a file there: root's, with this mode.
    pub(crate) fn write(&self, path: &str, mode: &str, content: impl AsRef<[u8]>) {
        let file = self.path(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, content).unwrap();
        self.run(&["chmod", mode, path]);
    }

    /// Runs a program there, as root: whether it succeeded, and what it said.
    pub(crate) fn try_run(&self, command: &[&str]) -> (bool, String) {
        let mut enter = Command::new("nsenter");
        for (option, of) in [("mount", "mnt"), ("uts", "uts"), ("ipc", "ipc"), ("net", "net"), ("cgroup", "cgroup")] {
            enter.arg(format!("--{option}={}/ns/{of}", self.proc()));
        }
        enter.args([format!("--pid={}/ns/pid", self.proc()), format!("--root={}/root", self.proc()), "--wd=/".into()]);
        let Output { status, stdout, stderr } = enter.arg("--").args(command).output().unwrap();
        (status.success(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
    }

    /// Runs a program there that succeeds: what it said.
    pub(crate) fn run(&self, command: &[&str]) -> String {
        let (is_success, said) = self.try_run(command);
        assert!(is_success, "{command:?}: {said}");
        said
    }

    /// A property of a unit.
    pub(crate) fn property(&self, unit: &str, name: &str) -> String {
        self.run(&["systemctl", "show", "--value", "-p", name, unit]).trim().to_owned()
    }

    /// Asks again and again until there is an answer.
    ///
    /// # Panics
    /// After [`super::PATIENCE`].
    pub(crate) fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(begun.elapsed() < super::PATIENCE, "not within {:?}: {what}", super::PATIENCE);
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Runs `scene` in the machine's network: its loopback, and nothing else.
    pub(crate) fn in_its_network<T: Send>(&self, scene: impl AsyncFnOnce() -> T + Send) -> T {
        let network = File::open(format!("{}/ns/net", self.proc())).unwrap();
        let run = move || {
            // SAFETY: only takes two numbers; the first is that of a file which is open.
            let entered = unsafe { libc::setns(network.as_raw_fd(), libc::CLONE_NEWNET) };
            assert_eq!(entered, 0, "{}", std::io::Error::last_os_error());
            // Of this thread, which is in that network, and those that it makes, which therefore are as well.
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            runtime.worker_threads(2).enable_all().build().unwrap().block_on(scene())
        };
        thread::scope(|scope| match scope.spawn(run).join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }
}
