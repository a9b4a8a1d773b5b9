//! Crashes as they happen: a killed process, a torn and a damaged journal, a disk that is full.
//!
//! The process that is killed is this test program itself, started again with [`DIR`] set: the test then is the child
//! that writes, and prints each acknowledgement.

use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::contract::{body, gone, message};
use super::fjall::{FjallOptions, FjallSpool};
use super::{Batch, Spool, SpoolError};
use crate::message::MessageId;

const DIR: &str = "REMUDA_CRASH_TEST_DIR";
const FIRST: &str = "REMUDA_CRASH_TEST_FIRST";

fn open(path: &Path) -> Result<FjallSpool, SpoolError> {
    let options = FjallOptions { low_space_floor: 0, reopen_pause: Duration::ZERO, ..FjallOptions::default() };
    FjallSpool::open(path, options)
}

/// This test program again, running only `test`, as the child.
fn child(test: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("own path"));
    command.args(["--exact", &format!("store::crash::{test}"), "--nocapture"]).env(DIR, dir);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// Where the child is to work; `None` in the parent.
fn child_dir() -> Option<PathBuf> {
    std::env::var_os(DIR).map(PathBuf::from)
}

/// Writes messages from `first` on, removing every third of those written before, and says so, until it is killed.
fn write_until_killed(dir: &Path, first: u64) {
    let spool = open(dir).expect("opens");
    let mut out = std::io::stdout();
    for group in (first..).step_by(10) {
        let mut batches: Vec<Batch> =
            (group..group + 10).map(|id| message(id, 500 + (id % 7) as usize * 900)).collect();
        let removed: Vec<u64> = (group.saturating_sub(30)..group.saturating_sub(20)).filter(|id| id % 3 == 0).collect();
        batches.extend(removed.iter().map(|&id| gone(id)));
        spool.commit(&batches).expect("commits");
        writeln!(out, "\nacked {group} {}", removed.iter().map(u64::to_string).collect::<Vec<_>>().join(","))
            .and_then(|()| out.flush())
            .expect("the parent listens");
    }
}

/// What the child said before it ended; a line that was cut is not counted.
fn read_acks(child: &mut Child, kill_after: usize) -> (Vec<u64>, Vec<u64>) {
    let (mut put, mut removed, mut seen) = (Vec::new(), Vec::new(), 0);
    let out = child.stdout.take().expect("piped");
    for line in BufReader::new(out).lines() {
        let line = line.expect("text");
        let Some(rest) = line.strip_prefix("acked ") else { continue };
        let (group, ids) = rest.split_once(' ').expect("two words");
        let group: u64 = group.parse().expect("number");
        put.extend(group..group + 10);
        removed.extend(ids.split(',').filter_map(|id| id.parse::<u64>().ok()));
        seen += 1;
        if seen == kill_after {
            child.kill().expect("killed");
        }
    }
    child.wait().expect("ended");
    (put, removed)
}

#[test]
fn killed_at_any_moment_nothing_acknowledged_is_lost_and_nothing_removed_comes_back() {
    if let Some(dir) = child_dir() {
        let first = std::env::var(FIRST).expect("set").parse().expect("number");
        return write_until_killed(&dir, first);
    }
    let home = tempfile::tempdir().expect("directory");
    let mut random = SmallRng::seed_from_u64(7);
    let (mut put, mut removed, mut first) = (Vec::new(), Vec::new(), 1);
    for round in 0..5 {
        let mut command =
            child("killed_at_any_moment_nothing_acknowledged_is_lost_and_nothing_removed_comes_back", home.path());
        let mut child = command.env(FIRST, u64::to_string(&first)).spawn().expect("starts");
        let (now_put, now_removed) = read_acks(&mut child, random.random_range(1..80));
        assert!(!now_put.is_empty(), "round {round}: the child wrote nothing");
        first = now_put.last().expect("some") + 1000;
        put.extend(now_put);
        removed.extend(now_removed);

        let spool = open(home.path()).expect("opens");
        let mut found = std::collections::HashSet::new();
        let recovery = spool.recover(&mut |entry| found.extend([entry.id.0])).expect("recovers");
        assert!(recovery.quarantined.is_empty(), "{recovery:?}");
        assert_eq!(recovery.orphans, 0);
        for id in &removed {
            assert!(!found.contains(id), "round {round}: {id} came back");
            assert_eq!(spool.body(MessageId(*id)), Ok(None), "round {round}");
        }
        // A group under way when the child was killed may have removed more than it could say.
        let lately = put.len().saturating_sub(40);
        for (at, id) in put.iter().enumerate() {
            if removed.contains(id) {
                continue;
            }
            if at >= lately && id % 3 == 0 && !found.contains(id) {
                removed.push(*id);
                continue;
            }
            assert!(found.contains(id), "round {round}: {id} was lost");
            let octets = 500 + (id % 7) as usize * 900;
            assert_eq!(spool.body(MessageId(*id)), Ok(Some(body(*id, octets))), "round {round}");
        }
    }
    assert!(removed.len() > 20, "{} removals are too few to prove anything", removed.len());
}

fn newest_journal(dir: &Path) -> PathBuf {
    let journals = std::fs::read_dir(dir).expect("listed").flatten().map(|file| file.path());
    journals.filter(|path| path.extension().is_some_and(|e| e == "jnl")).max().expect("a journal")
}

/// A spool with twenty groups of one message in its journal, and where the written part of it ends.
fn twenty_groups() -> (tempfile::TempDir, PathBuf, Vec<u8>) {
    let home = tempfile::tempdir().expect("directory");
    let spool = open(home.path()).expect("opens");
    for id in 1..=20 {
        spool.commit(&[message(id, 1500)]).expect("commits");
    }
    drop(spool);
    let journal = newest_journal(home.path());
    let mut written = std::fs::read(&journal).expect("read");
    let end = written.iter().rposition(|&octet| octet != 0).expect("written") + 1;
    written.truncate(end);
    (home, journal, written)
}

/// The ids that are still there, all with whole bodies; or the error of opening.
fn survivors(home: &Path) -> Result<(Vec<u64>, super::Recovery), String> {
    let spool = open(home).map_err(|e| e.to_string())?;
    let mut found = Vec::new();
    let recovery = spool.recover(&mut |entry| found.push(entry.id.0)).map_err(|e| e.to_string())?;
    for id in &found {
        assert_eq!(spool.body(MessageId(*id)), Ok(Some(body(*id, 1500))));
    }
    Ok((found, recovery))
}

#[test]
fn a_journal_cut_anywhere_gives_back_every_whole_group_before_the_cut() {
    let (home, journal, written) = twenty_groups();
    let group = written.len() / 20;
    let mut random = SmallRng::seed_from_u64(11);
    for _ in 0..12 {
        let at = random.random_range(group..written.len());
        std::fs::write(&journal, &written[..at]).expect("written");
        let (found, recovery) = survivors(home.path()).expect("opens");
        // Groups differ by a few octets, so the cut may hit the one beside the computed.
        let expected = (at / group) as u64;
        let count = found.len() as u64;
        assert!(count.abs_diff(expected) <= 1, "cut at {at}: {found:?}");
        assert_eq!(found, (1..=count).collect::<Vec<_>>());
        assert!(recovery.quarantined.is_empty(), "a torn group is no damage: {recovery:?}");
    }
}

#[test]
fn a_damaged_journal_is_an_error_or_reported_and_never_a_panic() {
    let (home, journal, written) = twenty_groups();
    let group = written.len() / 20;
    let mut random = SmallRng::seed_from_u64(13);
    let (mut refused, mut reported) = (0, 0);
    for _ in 0..40 {
        let at = random.random_range(group..written.len() - group - 100);
        let mut damaged = written.clone();
        damaged[at] ^= 1 << random.random_range(0..8);
        std::fs::write(&journal, &damaged).expect("written");
        match survivors(home.path()) {
            Err(error) => {
                assert!(error.contains("backup") && error.contains(&*home.path().to_string_lossy()), "{error}");
                assert_eq!(
                    std::fs::read(&journal).expect("still there"),
                    damaged,
                    "the engine changed what it refused"
                );
                refused += 1;
            }
            Ok((found, recovery)) => {
                assert!(found.len() < 20, "the flip at {at} was not seen");
                assert!(
                    recovery.quarantined.iter().any(|q| q.key.starts_with("journal/")),
                    "silent loss, flip at {at}"
                );
                reported += 1;
            }
        }
    }
    assert!(refused > 0 && refused + reported == 40, "{refused} refused, {reported} reported");
}

/// Limits the size of files of this process; `None` lifts the limit as far as it may.
fn limit_file_size(octets: Option<u64>) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid structure for both calls; ignoring a signal touches no memory of ours.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_FSIZE, &mut limit), 0);
        limit.rlim_cur = octets.unwrap_or(limit.rlim_max);
        assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &limit), 0);
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
}

/// Fills a spool with `fill` until it says it is full, makes room with `make_room`, goes on with the same spool, and
/// checks after a restart that all that was acknowledged is there and nothing else.
fn fill_free_and_go_on(dir: &Path, fill: usize, make_room: impl FnOnce()) {
    let spool = open(dir).expect("opens");
    let mut acked: Vec<(u64, usize)> = (1..=10).map(|id| (id, 2000)).collect();
    spool.commit(&acked.iter().map(|&(id, octets)| message(id, octets)).collect::<Vec<_>>()).expect("commits");
    let refused = loop {
        let id = acked.len() as u64 + 1;
        match spool.commit(&[message(id, fill)]) {
            Ok(()) => acked.push((id, fill)),
            Err(SpoolError::Full(_)) => break id,
            Err(error) => panic!("{error}"),
        }
        assert!(acked.len() < 1000, "the disk is not as small as it should be");
    };
    assert_eq!(spool.entry(crate::message::EntryId(refused)), Ok(None));
    assert_eq!(spool.body(MessageId(refused)), Ok(None));
    for &(id, octets) in &acked {
        assert!(spool.body(MessageId(id)) == Ok(Some(body(id, octets))), "{id} is not readable on a full disk");
    }
    make_room();
    spool.commit(&[gone(1)]).expect("removals go on");
    acked.remove(0);
    acked.push((refused + 1, 3000));
    spool.commit(&[message(refused + 1, 3000)]).expect("mail is taken again");
    drop(spool);

    let spool = open(dir).expect("opens");
    let mut found = Vec::new();
    let recovery = spool.recover(&mut |entry| found.push(entry.id.0)).expect("recovers");
    assert!(recovery.quarantined.is_empty() && recovery.orphans == 0, "{recovery:?}");
    assert_eq!(found, acked.iter().map(|(id, _)| *id).collect::<Vec<_>>());
    for (id, octets) in acked {
        assert!(spool.body(MessageId(id)) == Ok(Some(body(id, octets))), "{id}");
    }
}

#[test]
fn a_write_that_the_system_refuses_for_its_size_leaves_nothing_and_the_spool_goes_on() {
    if let Some(dir) = child_dir() {
        // The journal is made 64 MiB long, so this is the smallest limit; one body goes beyond it.
        limit_file_size(Some(64 * 1024 * 1024));
        return fill_free_and_go_on(&dir, 70 * 1024 * 1024, || limit_file_size(None));
    }
    let home = tempfile::tempdir().expect("directory");
    let mut command =
        child("a_write_that_the_system_refuses_for_its_size_leaves_nothing_and_the_spool_goes_on", home.path());
    let output = command.stderr(Stdio::piped()).output().expect("starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Puts a tmpfs of 80 MiB on the directory in a mount namespace of the child's own, which ends with it.
fn mount_tmpfs(command: &mut Command, dir: &Path) {
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::process::CommandExt;
    let target = CString::new(dir.as_os_str().as_bytes()).expect("no NUL");
    // SAFETY: between fork and exec only system calls on memory made before are run.
    unsafe {
        let uid = libc::geteuid();
        command.pre_exec(move || {
            let check = |code: libc::c_int| {
                if code == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
            };
            let spaces = if uid == 0 { libc::CLONE_NEWNS } else { libc::CLONE_NEWNS | libc::CLONE_NEWUSER };
            check(libc::unshare(spaces))?;
            let private = libc::MS_REC | libc::MS_PRIVATE;
            let (none, root) = (c"none".as_ptr(), c"/".as_ptr());
            check(libc::mount(none, root, std::ptr::null(), private, std::ptr::null()))?;
            let tmpfs = c"tmpfs".as_ptr();
            check(libc::mount(tmpfs, target.as_ptr(), tmpfs, 0, c"size=80m".as_ptr().cast()))
        });
    }
}

/// Fills the disk under the engine with facts, which no floor holds back, until it fails in earnest; twice, so that the
/// engine that was opened again fails too. What was acknowledged must be there at every step.
fn fill_to_the_last_octet(dir: &Path) {
    let ballast = |n: u32| dir.join(format!("ballast{n}"));
    for n in 0..2 {
        std::fs::write(ballast(n), vec![1; 16 * 1024 * 1024]).expect("room for it");
    }
    let spool = open(&dir.join("spool")).expect("opens");
    spool.commit(&(1..=10).map(|id| message(id, 2000)).collect::<Vec<_>>()).expect("commits");
    let fact = |id: u64| (format!("fill/{id:04}"), body(id, 300_000).to_vec());
    let mut acked = Vec::new();
    let check = |spool: &FjallSpool, acked: &[u64], removed: u64| {
        let facts = spool.facts("fill/").expect("readable");
        assert!(facts == acked.iter().map(|&id| fact(id)).collect::<Vec<_>>(), "not what was acknowledged");
        for id in removed + 1..=10 {
            assert_eq!(spool.body(MessageId(id)), Ok(Some(body(id, 2000))));
        }
    };
    for n in 0..2u32 {
        let first = 1000 * u64::from(n);
        for id in first.. {
            let (name, value) = fact(id);
            match spool.commit(&[vec![super::Op::PutFact(name, value)]]) {
                Ok(()) => acked.push(id),
                Err(SpoolError::Full(_)) => break,
                Err(error) => panic!("{error}"),
            }
            assert!(id < first + 900, "the disk is not as small as it should be");
        }
        check(&spool, &acked, u64::from(n));
        std::fs::remove_file(ballast(n)).expect("removed");
        spool.commit(&[gone(u64::from(n) + 1)]).expect("the same spool goes on");
        spool.commit(&[message(100 + u64::from(n), 2000)]).expect("mail is taken again");
    }
    drop(spool);
    let spool = open(&dir.join("spool")).expect("opens");
    let mut found = Vec::new();
    let recovery = spool.recover(&mut |entry| found.push(entry.id.0)).expect("recovers");
    assert!(recovery.quarantined.is_empty() && recovery.orphans == 0, "{recovery:?}");
    assert_eq!(found, [3, 4, 5, 6, 7, 8, 9, 10, 100, 101]);
    check(&spool, &acked, 2);
}

/// Where the system does not let the test mount a file system, it says so and passes: the test above meets the same
/// code by a limit that needs no rights. `REMUDA_TEST_MOUNT=required` makes that a failure.
#[test]
fn a_disk_that_really_is_full_leaves_nothing_half_done_and_the_spool_goes_on_when_there_is_room() {
    if let Some(dir) = child_dir() {
        return fill_to_the_last_octet(&dir);
    }
    let home = tempfile::tempdir().expect("directory");
    let mut command = child(
        "a_disk_that_really_is_full_leaves_nothing_half_done_and_the_spool_goes_on_when_there_is_room",
        home.path(),
    );
    mount_tmpfs(&mut command, home.path());
    match command.stderr(Stdio::piped()).output() {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => {
            assert!(std::env::var_os("REMUDA_TEST_MOUNT").is_none(), "cannot mount a tmpfs: {error}");
            eprintln!("not run: cannot mount a tmpfs: {error}");
        }
    }
}
