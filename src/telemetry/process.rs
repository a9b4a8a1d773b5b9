//! What the kernel counts about this process, read from `/proc/self`.
//!
//! Three small files, no library: the numbers are for "does it leak, does it run out of descriptors, what does it cost".
//! Where there is no `/proc` (other systems, a very tight sandbox) there are no numbers, and nothing else changes.

use std::fs;

/// One look.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Resident memory, in octets.
    pub resident_bytes: Option<u64>,
    /// Processor time, user and system, in seconds.
    pub cpu_seconds: Option<f64>,
    /// Open file descriptors.
    pub open_fds: Option<u64>,
    /// The soft limit of those; `None` also where there is none.
    pub max_fds: Option<u64>,
}

impl Usage {
    /// Looks now.
    pub fn now() -> Self {
        let read = |name| fs::read_to_string(format!("/proc/self/{name}")).ok();
        let (page, tick) = (configured(libc::_SC_PAGESIZE), configured(libc::_SC_CLK_TCK));
        Self {
            resident_bytes: read("statm").and_then(|text| Some(resident_pages(&text)? * page?)),
            cpu_seconds: read("stat").and_then(|text| Some(cpu_ticks(&text)? as f64 / tick? as f64)),
            // The descriptor that lists them is among them.
            open_fds: fs::read_dir("/proc/self/fd").ok().map(|all| (all.count() as u64).saturating_sub(1)),
            max_fds: read("limits").as_deref().and_then(soft_limit_of_files),
        }
    }
}

fn configured(name: libc::c_int) -> Option<u64> {
    // SAFETY: takes a number, gives a number, touches nothing.
    u64::try_from(unsafe { libc::sysconf(name) }).ok().filter(|&value| value > 0)
}

/// `statm` (proc(5)): total, resident, … in pages.
fn resident_pages(statm: &str) -> Option<u64> {
    statm.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// `stat` (proc(5)): field 14 and 15; the name in field 2 is in brackets and may hold anything, brackets included.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

/// `limits`: "Max open files   1024   1048576   files".
fn soft_limit_of_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_shifts_no_field() {
        let stat = "4242 (re) mu (da) S 1 4242 4242 0 -1 4194560 900 0 0 0 250 50 0 0 20 0 9 0 1000 0 0";
        assert_eq!(cpu_ticks(stat), Some(300));
        assert_eq!(cpu_ticks("garbage"), None);
        assert_eq!(cpu_ticks("1 (x) S 1 2"), None);
    }

    #[test]
    fn memory_and_descriptors_are_read_where_they_stand() {
        assert_eq!(resident_pages("5000 1200 300 1 0 2000 0"), Some(1200));
        assert_eq!(resident_pages(""), None);
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024  1048576  files\n";
        assert_eq!(soft_limit_of_files(limits), Some(1024));
        assert_eq!(soft_limit_of_files("Max open files            unlimited  unlimited  files\n"), None);
    }

    #[test]
    fn this_process_uses_memory_and_descriptors() {
        let here = Usage::now();
        assert!(here.resident_bytes.is_some_and(|bytes| bytes > 100_000), "{here:?}");
        assert!(here.open_fds.is_some_and(|fds| fds >= 3) && here.cpu_seconds.is_some(), "{here:?}");
    }
}
