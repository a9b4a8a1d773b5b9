//! One process per state directory.
//!
//! The lock is the kernel's (`flock`), so it goes away with the process however that ends; the pid in the file is only
//! for the message that the second process prints.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::SpoolError;

/// Name of the lock file within the state directory.
const FILE: &str = "remuda.lock";

/// The right to use a state directory, held until it is dropped.
#[derive(Debug)]
pub struct StateLock {
    _file: File,
}

impl StateLock {
    /// Takes the lock of `state_dir`, which is made (mode 0700) when it is missing.
    ///
    /// # Errors
    /// [`SpoolError::Locked`] when another process has it; [`SpoolError::Io`] when the directory cannot be made or
    /// written, [`SpoolError::Full`] when there is no room for the pid.
    pub fn acquire(state_dir: &Path) -> Result<Self, SpoolError> {
        let failed = |what: &str, e: &io::Error| SpoolError::from_io(&format!("{what} {}", state_dir.display()), e);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(state_dir)
            .map_err(|e| failed("cannot make the state directory", &e))?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(state_dir.join(FILE))
            .map_err(|e| failed("cannot open the lock file in", &e))?;
        // SAFETY: the descriptor belongs to `file`, which lives through the call.
        if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
            let error = io::Error::last_os_error();
            return Err(if error.kind() == io::ErrorKind::WouldBlock {
                SpoolError::Locked(held_by_another(&mut file, state_dir))
            } else {
                failed("cannot lock", &error)
            });
        }
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()));
        written.map_err(|e| failed("cannot write the lock file in", &e))?;
        Ok(Self { _file: file })
    }
}

fn held_by_another(file: &mut File, state_dir: &Path) -> String {
    let mut text = String::new();
    // The pid is a courtesy: between the lock and its writing the file may be empty or hold an older one.
    let _ = file.take(32).read_to_string(&mut text);
    let pid = match text.trim().parse::<u32>() {
        Ok(pid) => format!("pid {pid}"),
        Err(_) => "pid not known".into(),
    };
    format!("another remuda ({pid}) uses {}; stop it or choose another server.state_dir", state_dir.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_second_is_refused_with_the_pid_of_the_first_until_it_lets_go() {
        let home = tempfile::tempdir().expect("directory");
        let state = home.path().join("deep/state");
        let first = StateLock::acquire(&state).expect("free");
        let mode = std::fs::metadata(&state).expect("made").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let refusal = StateLock::acquire(&state).expect_err("held").to_string();
        assert!(refusal.contains(&format!("(pid {})", std::process::id())), "{refusal}");
        assert!(refusal.contains("server.state_dir"), "{refusal}");
        drop(first);
        StateLock::acquire(&state).expect("free again");
    }

    #[test]
    fn a_file_in_place_of_the_directory_is_an_error_that_names_it() {
        let home = tempfile::tempdir().expect("directory");
        let path = home.path().join("file");
        std::fs::write(&path, "").expect("written");
        let error = StateLock::acquire(&path).expect_err("no directory");
        assert!(matches!(&error, SpoolError::Io(why) if why.contains("file")), "{error}");
    }
}
