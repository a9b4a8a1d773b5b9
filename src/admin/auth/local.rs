//! The token of this run, for whoever may read the state directory.
//!
//! `admin.token` there holds a fresh token of role admin, readable by its owner only, from the start until the stop. So
//! root, and the relay's own user, act without set-up; nobody else on the machine does. It is no secret that lasts: the
//! next run has another, and one that a crash left behind is good for nothing.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::Auth;
use super::token::{self, Digest};

/// Name of the file in the state directory.
pub const FILE: &str = "admin.token";

/// The file; dropping it removes it.
#[derive(Debug)]
pub struct LocalToken {
    path: PathBuf,
}

impl Drop for LocalToken {
    fn drop(&mut self) {
        // What cannot be removed is good for nothing any more.
        let _ = fs::remove_file(&self.path);
    }
}

impl Auth {
    /// Makes a token, writes it into `state_dir` and accepts it.
    ///
    /// # Errors
    /// What the system says; then there is no such token.
    pub fn open_locally(&self, state_dir: &Path) -> io::Result<LocalToken> {
        let token = token::random().map_err(io::Error::other)?;
        let path = state_dir.join(FILE);
        let aside = state_dir.join(format!("{FILE}.new"));
        match fs::remove_file(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // Made with its mode, so that at no instant anybody else can open it; renamed, so that nobody reads half of it.
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&aside)?;
        file.write_all(format!("{token}\n").as_bytes())?;
        fs::rename(&aside, &path)?;
        self.accept_locally(Digest::of(&token));
        Ok(LocalToken { path })
    }
}
