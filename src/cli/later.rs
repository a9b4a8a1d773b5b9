//! Looks at files that the program reads only when it tells or asks somebody: whether they will do.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;

use crate::config::{Holds, LaterFile};

/// Octets of a file that are looked at; all that is ever used of one lies within.
const MOST: u64 = 1 << 20;

/// What was found in all of them, each in a line.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Found {
    /// Cannot be used. A relay runs without, and reads it again the next time.
    pub(super) bad: Vec<String>,
    /// Works, but hardly as meant.
    pub(super) odd: Vec<String>,
}

impl Found {
    pub(super) fn of(files: &[LaterFile]) -> Self {
        let mut found = Self::default();
        for named in files {
            let at = named.at.as_ref().map(|at| format!("{at}: ")).unwrap_or_default();
            let line = |what: String| format!("{at}{} {}: {what}", named.key, named.file.display());
            match look(named) {
                Ok(None) => {}
                Ok(Some(odd)) => found.odd.push(line(odd)),
                Err(bad) => found.bad.push(line(bad)),
            }
        }
        found
    }
}

/// What is odd about it.
fn look(named: &LaterFile) -> Result<Option<String>, String> {
    let meta = match fs::metadata(&named.file) {
        Err(error) if named.holds == Holds::FirstToken => {
            return Ok(Some(format!("cannot be read: {error}; good only where a later token is kept already")));
        }
        meta => meta.map_err(|error| format!("cannot be read: {error}"))?,
    };
    if !meta.is_file() {
        return Err("is no file".to_owned());
    }
    let mut octets = Vec::new();
    let file = File::open(&named.file).map_err(|error| format!("cannot be read: {error}"))?;
    file.take(MOST).read_to_end(&mut octets).map_err(|error| format!("cannot be read: {error}"))?;
    if named.holds == Holds::Authorities {
        let found = reqwest::Certificate::from_pem_bundle(&octets).map_or(0, |all| all.len());
        return if found == 0 { Err("holds no certificate in PEM".to_owned()) } else { Ok(None) };
    }
    let text = String::from_utf8(octets).map_err(|_| "is no text".to_owned())?;
    if text.lines().next().is_none_or(|line| line.trim().is_empty()) {
        return Err("has nothing on its first line".to_owned());
    }
    let is_exposed = meta.mode() & 0o077 != 0;
    Ok(is_exposed.then(|| "can be read by others than its owner; chmod 600 it".to_owned()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// What is odd about a file, or wrong with it; beginnings of the words.
    type Says = Result<Option<&'static str>, &'static str>;

    #[test]
    fn a_file_that_is_read_later_is_looked_at_now() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        let authority = b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        let table: &[(Holds, Option<&[u8]>, u32, Says)] = &[
            (Holds::Secret, None, 0, Err("cannot be read: No such file")),
            (Holds::FirstToken, None, 0, Ok(Some("cannot be read: No such file"))),
            (Holds::Authorities, None, 0, Err("cannot be read")),
            (Holds::Secret, Some(b"s3cret\n"), 0o600, Ok(None)),
            (Holds::Secret, Some(b"s3cret"), 0o640, Ok(Some("can be read by others"))),
            (Holds::Secret, Some(b"\ns3cret"), 0o600, Err("has nothing on its first line")),
            (Holds::Secret, Some(b"s3cret\xff"), 0o600, Err("is no text")),
            (Holds::Authorities, Some(b"s3cret"), 0o644, Err("holds no certificate")),
            (Holds::Authorities, Some(authority), 0o644, Ok(None)),
        ];
        for (holds, octets, mode, says) in table {
            let _ = fs::remove_file(&path);
            if let Some(octets) = octets {
                fs::write(&path, octets).expect("written");
                fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).expect("set");
            }
            let named = LaterFile { key: "alerts.x".into(), file: path.clone(), holds: *holds, at: None };
            match (look(&named), says) {
                (Ok(said), Ok(says)) => {
                    assert_eq!(said.is_some(), says.is_some(), "{said:?}");
                    assert!(said.unwrap_or_default().starts_with(says.unwrap_or_default()), "{says:?}");
                }
                (Err(said), Err(says)) => assert!(said.starts_with(says) && !said.contains("s3cret"), "{said}"),
                (said, says) => panic!("{holds:?}: {said:?}, not {says:?}"),
            }
        }
        let directory = LaterFile { key: "k".into(), file: "/".into(), holds: Holds::Secret, at: None };
        assert_eq!(Found::of(&[directory]).bad, ["k /: is no file"]);
    }
}
