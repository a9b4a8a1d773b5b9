//! Free space of a file system, and whether it is below a floor.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Octets that an unprivileged process may still write.
    pub free: u64,
    /// Octets in all.
    pub size: u64,
}

/// The file system that holds `path`.
///
/// # Errors
/// What `statvfs` says: no such path, no access, a dead network file system.
pub fn of(path: &Path) -> io::Result<Space> {
    let path = CString::new(path.as_os_str().as_bytes())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "path has a NUL in it"))?;
    let mut answer = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: `path` is a C string that outlives the call, `answer` is as large as the call writes.
    if unsafe { libc::statvfs(path.as_ptr(), answer.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so it filled all of `answer`.
    let answer = unsafe { answer.assume_init() };
    Ok(Space {
        free: answer.f_bavail.saturating_mul(answer.f_frsize),
        size: answer.f_blocks.saturating_mul(answer.f_frsize),
    })
}

/// Octets that an unprivileged process may still write to the file system that holds `path`.
///
/// # Errors
/// As [`of`].
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    Ok(of(path)?.free)
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
        let space = of(here.path()).expect("statvfs");
        assert!(space.size > 0 && space.free <= space.size, "{space:?}");
    }

    #[test]
    fn a_path_that_is_not_there_is_an_error() {
        assert!(free_bytes(Path::new("/nonexistent/remuda")).is_err());
        assert!(free_bytes(Path::new("a\0b")).is_err());
    }
}
