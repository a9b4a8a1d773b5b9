//! What the engine cut off its journals when it was opened.
//!
//! fjall ends the replay of a journal at the first octet that it cannot read and truncates the file there, without a
//! word. After a crash that is right: the tail is a group that nobody was told about. But a flipped bit in the middle of
//! a journal looks the same, and then groups that *were* acknowledged go with it. So the end of the written part of each
//! journal is noted before the engine opens, together with the place where the last but one group ends (each commit is
//! one group, and a crash tears at most one), and compared afterwards.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::super::Quarantined;

/// What ends every group in fjall's journals (format 3).
const GROUP_END: &[u8; 4] = b"FJL\x03";

/// A journal before the engine opened it.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    /// Octets up to the last that is not zero; journals are made 64 MiB long and filled from the front.
    written: u64,
    /// Where the last but one group ends.
    whole: u64,
}

/// Notes the journals in `path`. Files that cannot be read are left out: the engine will say so itself.
pub(super) fn survey(path: &Path) -> Vec<Journal> {
    let Ok(listing) = std::fs::read_dir(path) else { return Vec::new() };
    listing
        .flatten()
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jnl"))
        .filter_map(|path| measure(path).ok())
        .collect()
}

fn measure(path: PathBuf) -> io::Result<Journal> {
    const CHUNK: usize = 256 * 1024;
    let mut file = File::open(&path)?;
    let (mut written, mut ends) = (0, [0u64; 2]);
    let finder = memchr::memmem::Finder::new(GROUP_END);
    // The last octets of a chunk are kept in front of the next, so that a mark across the border is found.
    let mut buffer = vec![0u8; GROUP_END.len() - 1 + CHUNK];
    let (mut base, mut kept) = (0u64, 0);
    loop {
        let read = file.read(&mut buffer[kept..])?;
        if read == 0 {
            return Ok(Journal { path, written, whole: ends[0] });
        }
        let filled = kept + read;
        if let Some(last) = buffer[..filled].iter().rposition(|&octet| octet != 0) {
            written = written.max(base + last as u64 + 1);
        }
        for found in finder.find_iter(&buffer[..filled]) {
            ends = [ends[1], base + (found + GROUP_END.len()) as u64];
        }
        let keep = filled.min(GROUP_END.len() - 1);
        buffer.copy_within(filled - keep..filled, 0);
        base += (filled - keep) as u64;
        kept = keep;
    }
}

/// Which of the journals noted `before` lost more than a torn group.
pub(super) fn cut_since(before: &[Journal]) -> Vec<Quarantined> {
    let mut damage = Vec::new();
    for journal in before {
        // A journal that is gone was written out to tables whole.
        let Ok(metadata) = std::fs::metadata(&journal.path) else { continue };
        let cut = journal.written.saturating_sub(metadata.len());
        if cut == 0 {
            continue;
        }
        let name = journal.path.file_name().unwrap_or_default().to_string_lossy();
        if metadata.len() < journal.whole {
            let detail = format!("damaged at octet {}; {cut} octets behind it were lost", metadata.len());
            tracing::error!(journal = %name, detail, "acknowledged mail may be lost");
            damage.push(Quarantined { key: format!("journal/{name}"), detail });
        } else {
            tracing::info!(journal = %name, cut, "a commit torn by a crash was cut off the journal");
        }
    }
    damage
}
