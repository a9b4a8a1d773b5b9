//! (shell) The keys of lists that ask for one, each in a file of its own.
//!
//! The key becomes a label of every name that is asked, so what is no label is refused here: a key that was copied with a
//! line break or a quote would otherwise look like a list that fails. No error repeats what is in the file.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::config::{Zone, ZoneKeyFile};

/// A key file holds one line; what is longer is something else.
const BYTES_MAX: u64 = 4096;

/// Why there is no key. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("monitor.zone.{zone}.key_file {path}: cannot be read: {source}; the user that runs remuda must be able to")]
    Read {
        /// Of which list.
        zone: String,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// It holds something else than a key.
    #[error(
        "monitor.zone.{zone}.key_file {path}: holds no key; write the key alone on one line: letters, digits, - and _, at most 63"
    )]
    Bad {
        /// Of which list.
        zone: String,
        /// The file.
        path: PathBuf,
    },
}

/// A zone with its key in its name, and the key.
pub(super) fn unlocked(zone: &Zone) -> Result<(Zone, Option<String>), Error> {
    if let Some(path) = zone.key_file.as_ref().filter(|path| exposed(path)) {
        tracing::warn!(zone = %zone.name, path = %path.display(), "key file {EXPOSED}");
    }
    unlocked_again(zone)
}

/// The same for who comes second, and need not say again what is odd about the file.
pub(super) fn unlocked_again(zone: &Zone) -> Result<(Zone, Option<String>), Error> {
    let Some(path) = &zone.key_file else { return Ok((zone.clone(), None)) };
    let key = load(zone.name.as_str(), path)?;
    let name = zone.zone.replacen("{key}", &key, 1);
    Ok((Zone { zone: name, ..zone.clone() }, Some(key)))
}

fn load(zone: &str, path: &Path) -> Result<String, Error> {
    let read = |source| Error::Read { zone: zone.to_owned(), path: path.to_owned(), source };
    let bad = || Error::Bad { zone: zone.to_owned(), path: path.to_owned() };
    if fs::metadata(path).map_err(read)?.len() > BYTES_MAX {
        return Err(bad());
    }
    let text = fs::read(path).map_err(read)?;
    let key = String::from_utf8(text).ok().map(|text| text.trim().to_ascii_lowercase());
    key.filter(|key| is_label(key)).ok_or_else(bad)
}

fn is_label(key: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (1..=63).contains(&key.len()) && key.bytes().all(inner) && !key.starts_with('-') && !key.ends_with('-')
}

const EXPOSED: &str = "can be read by others than its owner; chmod 600 it";

fn exposed(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.mode() & 0o077 != 0)
}

/// For `remuda check`: whether the key can be used. The text, if there is one, says what is odd about its file.
///
/// # Errors
/// Where it cannot.
pub fn check(named: &ZoneKeyFile) -> Result<Option<String>, Error> {
    load(named.zone.as_str(), &named.file)?;
    let odd = || format!("monitor.zone.{}.key_file {}: {EXPOSED}", named.zone, named.file.display());
    Ok(exposed(&named.file).then(odd))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_one_label_and_nothing_of_a_wrong_one_is_repeated() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let zone = Zone { key_file: Some(path.clone()), ..Zone::new("z", "{key}.bl.example") };
        assert!(unlocked(&zone).is_err_and(|error| error.to_string().contains("cannot be read")));
        for (text, name) in [
            ("Abc123\n", Some("abc123.bl.example")),
            ("  abc123  ", Some("abc123.bl.example")),
            ("", None),
            ("sec.ret", None),
            ("sec ret", None),
            ("\"secret\"", None),
            ("-secret", None),
            ("s\u{e9}cret", None),
        ] {
            fs::write(&path, text).unwrap();
            let got = unlocked(&zone);
            assert_eq!(got.as_ref().ok().map(|(zone, _)| zone.zone.as_str()), name, "{text:?}");
            if let Err(error) = got {
                assert!(!error.to_string().contains("sec"), "{error}");
            }
        }
        fs::write(&path, "s".repeat(5000)).unwrap();
        assert!(unlocked(&zone).is_err());
    }

    #[test]
    fn a_key_that_others_can_read_is_odd() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key");
        fs::write(&file, "abc").unwrap();
        let named = ZoneKeyFile { zone: "z".into(), file: file.clone(), at: None };
        for (mode, odd) in [(0o600, false), (0o640, true)] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(check(&named).unwrap().is_some(), odd, "{mode:o}");
        }
    }
}
