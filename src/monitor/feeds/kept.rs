//! (shell) Files: the operator's secrets, and what must outlive a restart.
//!
//! In `feeds/` of the state directory lie, for each feed, `NAME.json` (observations, schedule, days already fetched) and
//! `NAME.token` (the refresh token to use next). Both are written aside with mode 0600, synced, renamed, and the directory
//! synced: a token that has rotated is on disk before it is used, or it would be lost with a crash.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::answer::{Failure, Outcome};
use super::oauth::Secret;

/// The longest secret there is: a service account's key has a few thousand octets.
const LONGEST_SECRET: u64 = 64 << 10;
/// The longest state that is read back.
const LONGEST_STATE: u64 = 256 << 20;

/// The name of a feed as a file name: it may hold slashes.
pub fn file_name(feed: &str, ending: &str) -> String {
    let name = super::postmaster::escaped(feed);
    if name.len() <= 200 {
        return format!("{name}.{ending}");
    }
    format!("{}.{ending}", digest(feed.as_bytes()))
}

/// SHA-256 as hexadecimal digits.
pub fn digest(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A secret of the operator's, without the white space around it.
///
/// # Errors
/// Where it cannot be read or is empty, with what to do.
pub fn secret(path: &Path, key: &str) -> Result<Secret, Failure> {
    let fail = |what: String| Failure::new(Outcome::Credentials, format!("{key} {}: {what}", path.display()));
    let text = read(path, LONGEST_SECRET)
        .map_err(|error| fail(format!("cannot be read: {error}; the user that runs remuda must be able to")))?;
    let text = String::from_utf8(text).map_err(|_| fail("is no text".to_owned()))?;
    match text.trim() {
        "" => Err(fail("is empty".to_owned())),
        text => Ok(Secret::new(text)),
    }
}

/// Whether others than its owner can read or write a file.
pub fn exposed(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.mode() & 0o077 != 0)
}

/// Tells one state of a file from another, without reading it; `None` where there is none to be seen.
pub fn mark(path: &Path) -> Option<(u64, u64, i64, i64)> {
    fs::metadata(path).ok().map(|file| (file.ino(), file.size(), file.mtime(), file.mtime_nsec()))
}

fn read(path: &Path, longest: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(longest + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > longest {
        return Err(io::Error::other(format!("longer than {longest} octets")));
    }
    Ok(bytes)
}

/// What was kept; `None` where nothing was.
///
/// # Errors
/// Where there is something that cannot be read.
pub fn state(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match read(path, LONGEST_STATE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

/// Keeps `bytes`, whole or not at all.
///
/// # Errors
/// Where it cannot be written; what was there stays.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let aside = PathBuf::from(format!("{}.{}.new", path.display(), std::process::id()));
    let written = aside_then_named(&aside, path, bytes);
    if written.is_err() {
        // It is of no use.
        let _ = fs::remove_file(&aside);
    }
    written?;
    fs::File::open(directory)?.sync_all()
}

fn aside_then_named(aside: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    // One that a crash has left may have another mode.
    match fs::remove_file(aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(aside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(aside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_for_its_owner_only_and_replaced_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("feeds").join(file_name("a/../b", "token"));
        assert_eq!(state(&path).unwrap(), None);
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(state(&path).unwrap().as_deref(), Some(&b"two"[..]));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing lies beside it");
        assert!(file_name(&"ü".repeat(120), "json").len() < 255);
    }

    #[test]
    fn a_secret_that_is_missing_or_empty_says_which_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        assert!(secret(&path, "secret_file").unwrap_err().detail.contains("cannot be read"));
        fs::write(&path, " \n").unwrap();
        assert!(secret(&path, "secret_file").unwrap_err().detail.contains("is empty"));
        fs::write(&path, "topsecret\n").unwrap();
        assert_eq!(secret(&path, "secret_file").unwrap().reveal(), "topsecret");
    }
}
