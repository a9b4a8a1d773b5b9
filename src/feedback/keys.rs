//! (shell) The key file: read, or made at the first start.
//!
//! A key that is lost takes with it the attribution of every report about mail already sent, so a new file is on disk,
//! whole, before the first mark is made with it: written aside, synced, given its name, and the directory synced. The
//! name is given only where there is none yet: two programs that start at once with one file end up with one key. A file
//! that is there but holds no key is an error and never replaced: it may be half of a good one.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rand::TryRngCore;
use rand::rngs::OsRng;

use super::token::{BadKeys, Keys};

/// Why there are no keys. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("feedback.key_file {path}: cannot be read: {source}; the user that runs remuda must be able to")]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// There was none and it could not be made.
    #[error(
        "feedback.key_file {path}: does not exist and cannot be made: {source}; make its directory, writable by the user that runs remuda, or name another file"
    )]
    Make {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// It holds something else than keys.
    #[error(
        "feedback.key_file {path}: {source}; restore it from a copy, or move it away and a new one is made (reports about mail sent until now are then no longer attributed)"
    )]
    Bad {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: BadKeys,
    },
}

/// Says what [`load`] would say, without making anything: for `remuda check`. A file that is missing is fine where it
/// could be made, which is judged for the user that asks; `state_dir` itself is made at the start.
///
/// The text, if there is one, says what is odd about a file that can be used.
///
/// # Errors
/// As [`load`].
pub fn check(path: &Path, state_dir: &Path) -> Result<Option<String>, Error> {
    let text = match fs::read(path) {
        // A link into nowhere is no file that is missing.
        Err(error) if error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => {
            let directory = directory_of(path);
            if directory == state_dir && !state_dir.exists() {
                return Ok(None);
            }
            let made = writable(directory).map(|()| None);
            return made.map_err(|source| Error::Make { path: path.to_owned(), source });
        }
        found => found.map_err(|source| Error::Read { path: path.to_owned(), source })?,
    };
    Keys::parse(&String::from_utf8_lossy(&text)).map_err(|source| Error::Bad { path: path.to_owned(), source })?;
    Ok(exposed(path).then(|| format!("feedback.key_file {}: {EXPOSED}", path.display())))
}

const EXPOSED: &str =
    "can be read or written by others than its owner, who could then forge reports against any binding; chmod 600 it";

fn exposed(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.mode() & 0o077 != 0)
}

/// Whether a file can be made in `directory`.
fn writable(directory: &Path) -> io::Result<()> {
    if !fs::metadata(directory)?.is_dir() {
        return Err(io::Error::from(io::ErrorKind::NotADirectory));
    }
    let name = CString::new(directory.as_os_str().as_bytes())?;
    // SAFETY: the name ends with a zero octet and lives through the call.
    match unsafe { libc::access(name.as_ptr(), libc::W_OK | libc::X_OK) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Reads the keys in `path`; where there is no such file, makes one with a new key.
///
/// # Errors
/// Where it cannot be read or made, or holds no keys.
pub fn load(path: &Path) -> Result<Keys, Error> {
    let read = |source| Error::Read { path: path.to_owned(), source };
    let text = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(path).map_err(|source| Error::Make { path: path.to_owned(), source })?;
            fs::read(path).map_err(read)?
        }
        found => found.map_err(read)?,
    };
    let text = String::from_utf8_lossy(&text);
    let keys = Keys::parse(&text).map_err(|source| Error::Bad { path: path.to_owned(), source })?;
    if exposed(path) {
        tracing::warn!(path = %path.display(), "feedback.key_file {EXPOSED}");
    }
    Ok(keys)
}

fn make(path: &Path) -> io::Result<()> {
    let mut random = [0; 32];
    OsRng.try_fill_bytes(&mut random).map_err(io::Error::other)?;
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".{}.new", std::process::id()));
    let aside = PathBuf::from(aside);
    let made = write(&aside, &Keys::file_text(random)).and_then(|()| name(&aside, path));
    // It has its name now, or is of no use; where it was renamed it is gone already.
    let _ = fs::remove_file(&aside);
    made?;
    File::open(directory_of(path))?.sync_all()?;
    tracing::info!(path = %path.display(), "made a new feedback.key_file; keep a copy: without it no report is attributed");
    Ok(())
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    // Left by a process of the same number that died here.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Gives `path` to the file `aside`, unless somebody else has given it to his meanwhile.
fn name(aside: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(aside, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        // Not every file system has links.
        Err(_) => fs::rename(aside, path),
        Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names_in(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).expect("a directory").flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn the_first_start_makes_a_key_that_later_starts_find() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("feedback.keys");
        load(&path).expect("made");
        let text = fs::read_to_string(&path).expect("there");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o600);
        assert_eq!(names_in(directory.path()), ["feedback.keys"], "nothing is left aside");
        load(&path).expect("found");
        assert_eq!(fs::read_to_string(&path).expect("there"), text, "never written again");

        let other = directory.path().join("other.keys");
        load(&other).expect("made");
        assert_ne!(fs::read_to_string(&other).expect("there"), text, "no two are the same");
    }

    #[test]
    fn many_that_start_at_once_agree_on_one_key() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("feedback.keys");
        // Two processes differ in the name of what they write aside; here that part is played by `name`.
        for (n, octet) in [1, 2].into_iter().enumerate() {
            let aside = directory.path().join(format!("aside{n}"));
            write(&aside, &Keys::file_text([octet; 32])).expect("written");
            name(&aside, &path).expect("named");
        }
        assert_eq!(fs::read_to_string(&path).expect("there"), Keys::file_text([1; 32]));
    }

    #[test]
    fn what_cannot_be_used_is_named_with_a_way_out_and_left_as_it_is() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("feedback.keys");
        for (text, says) in [
            (&b""[..], "holds no key; restore it"),
            (b"# only this\n", "holds no key; restore it"),
            (b"# one\nabc\n", "line 2: a key is 64 hexadecimal digits"),
            (b"\xff\xfe\0", "line 1: a key is"),
        ] {
            fs::write(&path, text).expect("written");
            let said = load(&path).expect_err("no key").to_string();
            assert_eq!(check(&path, directory.path()).expect_err("no key").to_string(), said);
            assert!(said.contains(says) && said.contains(&path.display().to_string()), "{said}");
            assert_eq!(fs::read(&path).expect("there"), text);
        }
        let lost = directory.path().join("none/feedback.keys");
        let said = load(&lost).expect_err("no directory").to_string();
        assert_eq!(check(&lost, directory.path()).expect_err("no directory").to_string(), said);
        assert!(said.contains("make its directory"), "{said}");
        let said = load(directory.path()).expect_err("a directory").to_string();
        assert_eq!(check(directory.path(), directory.path()).expect_err("a directory").to_string(), said);
        assert!(said.contains("cannot be read"), "{said}");
        let dangling = directory.path().join("dangling");
        std::os::unix::fs::symlink(directory.path().join("gone"), &dangling).expect("a link");
        assert!(matches!(load(&dangling), Err(Error::Read { .. })), "a link into nowhere is not replaced");
        assert!(matches!(check(&dangling, directory.path()), Err(Error::Read { .. })));
    }

    #[test]
    fn a_file_others_can_read_is_used_all_the_same() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("feedback.keys");
        load(&path).expect("made");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("changed");
        load(&path).expect("used");
    }

    #[test]
    fn a_look_makes_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("feedback.keys");
        assert!(matches!(check(&path, Path::new("/elsewhere")), Ok(None)), "it can be made");
        let state = directory.path().join("state");
        assert!(matches!(check(&state.join("feedback.keys"), &state), Ok(None)), "state_dir is made at the start");
        assert!(names_in(directory.path()).is_empty());

        fs::write(&path, Keys::file_text([1; 32])).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("changed");
        let odd = check(&path, directory.path()).expect("used").expect("but odd");
        assert!(odd.contains("chmod 600"), "{odd}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("changed");
        assert!(matches!(check(&path, directory.path()), Ok(None)));
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_refused_in_the_same_words() {
        // No privilege makes a file in /proc.
        let path = Path::new("/proc/self/feedback.keys");
        assert!(matches!(load(path), Err(Error::Make { .. })));
        let closed = tempfile::tempdir().expect("a directory");
        fs::set_permissions(closed.path(), fs::Permissions::from_mode(0o555)).expect("changed");
        let path = closed.path().join("feedback.keys");
        // SAFETY: asks a number and changes nothing.
        if unsafe { libc::geteuid() } != 0 {
            let said = load(&path).expect_err("closed").to_string();
            assert_eq!(check(&path, Path::new("/elsewhere")).expect_err("closed").to_string(), said);
        }
    }
}
