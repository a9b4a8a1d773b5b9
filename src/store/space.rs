//! Free space of a file system, and whether it is below a floor.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Octets that an unprivileged process may still write to the file system that holds `path`.
///
/// # Errors
/// What `statvfs` says: no such path, no access, a dead network file system.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let path = CString::new(path.as_os_str().as_bytes())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "path has a NUL in it"))?;
    let mut answer = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: `path` is a C string that outlives the call, `answer` is as large as the call writes.
    if unsafe { libc::statvfs(path.as_ptr(), answer.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so it filled all of `answer`.
    let answer = unsafe { answer.assume_init() };
    Ok(answer.f_bavail.saturating_mul(answer.f_frsize))
}

/// Whether less than `floor` octets are free where `path` lies.
///
/// # Errors
/// As [`free_bytes`].
pub fn low_space(path: &Path, floor: u64) -> io::Result<bool> {
    Ok(free_bytes(path)? < floor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_compared_with_what_is_free() {
        let here = tempfile::tempdir().expect("directory");
        assert!(!low_space(here.path(), 1).expect("statvfs"));
        assert!(low_space(here.path(), u64::MAX).expect("statvfs"));
    }

    #[test]
    fn a_path_that_is_not_there_is_an_error() {
        assert!(free_bytes(Path::new("/nonexistent/remuda")).is_err());
        assert!(free_bytes(Path::new("a\0b")).is_err());
    }
}
