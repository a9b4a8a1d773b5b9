//! The form of a record on disk: one version byte, a CRC-32 over key and payload, the payload.
//!
//! The engine has checksums of its own, but they end where its code ends: a record that lies under the wrong key, or
//! one that a newer or broken program wrote, passes them. With the key inside the sum a misplaced record is as corrupt
//! as a flipped bit, and a version that is not ours is told apart from damage. Entries and facts carry JSON, which a
//! later version can extend and an operator can read in the quarantine; bodies are carried as they are.

use crate::message::Entry;

/// Version of the records this program writes.
const VERSION: u8 = 1;
/// Octets before the payload.
pub(super) const HEADER: usize = 5;

fn checksum(key: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(payload);
    hasher.finalize()
}

/// The record of `payload` under `key`.
pub(super) fn seal(key: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(HEADER + payload.len());
    record.push(VERSION);
    record.extend_from_slice(&checksum(key, payload).to_le_bytes());
    record.extend_from_slice(payload);
    record
}

/// The payload of a record, or what is wrong with it.
pub(super) fn unseal<'a>(key: &[u8], record: &'a [u8]) -> Result<&'a [u8], String> {
    let Some((header, payload)) = record.split_first_chunk::<HEADER>() else {
        return Err(format!("record has {} octets, fewer than its header", record.len()));
    };
    let [version, sum @ ..] = *header;
    if version != VERSION {
        return Err(format!("record version {version} is not known to this program (it knows {VERSION})"));
    }
    let (written, found) = (u32::from_le_bytes(sum), checksum(key, payload));
    if written != found {
        return Err(format!("checksum is {found:08x}, {written:08x} was written"));
    }
    Ok(payload)
}

/// The entry in a record, or what is wrong with it.
pub(super) fn entry(key: &[u8], record: &[u8]) -> Result<Entry, String> {
    let payload = unseal(key, record)?;
    let entry: Entry = serde_json::from_slice(payload).map_err(|e| format!("not an entry: {e}"))?;
    if entry.id.0.to_be_bytes() != key {
        return Err(format!("entry {} lies under another key", entry.id));
    }
    if entry.recipients.is_empty() {
        return Err("entry has no recipients".into());
    }
    Ok(entry)
}

/// The quarantine's form of a record: length of the reason, the reason, the record as it was found.
pub(super) fn pack_quarantined(detail: &str, raw: &[u8]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(4 + detail.len() + raw.len());
    packed.extend_from_slice(&u32::try_from(detail.len()).unwrap_or(0).to_le_bytes());
    packed.extend_from_slice(detail.as_bytes());
    packed.extend_from_slice(raw);
    packed
}

/// The reason and the record of [`pack_quarantined`]; lenient, because here nothing may be refused any more.
pub(super) fn unpack_quarantined(packed: &[u8]) -> (String, &[u8]) {
    let Some((length, rest)) = packed.split_first_chunk::<4>() else { return ("unreadable".into(), packed) };
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    match rest.split_at_checked(length) {
        Some((detail, raw)) => (String::from_utf8_lossy(detail).into_owned(), raw),
        None => ("unreadable".into(), packed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_payload_comes_back(key: Vec<u8>, payload: Vec<u8>) {
            let record = seal(&key, &payload);
            prop_assert_eq!(unseal(&key, &record), Ok(&payload[..]));
        }

        #[test]
        fn any_flipped_bit_is_found(payload: Vec<u8>, at: prop::sample::Index, bit in 0u8..8) {
            let mut record = seal(b"key", &payload);
            let at = at.index(record.len());
            record[at] ^= 1 << bit;
            prop_assert!(unseal(b"key", &record).is_err());
        }

        #[test]
        fn any_bytes_are_read_without_panic(key: Vec<u8>, bytes: Vec<u8>) {
            let _ = entry(&key, &bytes);
            let _ = unpack_quarantined(&bytes);
        }
    }

    #[test]
    fn a_record_under_another_key_or_cut_short_is_corrupt() {
        let record = seal(b"one", b"payload");
        assert!(unseal(b"two", &record).is_err());
        for length in 0..record.len() {
            assert!(unseal(b"one", &record[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_newer_version_is_named_as_such() {
        let mut record = seal(b"k", b"x");
        record[0] = 9;
        assert!(unseal(b"k", &record).is_err_and(|why| why.contains("version 9")));
    }

    #[test]
    fn quarantine_keeps_reason_and_raw_bytes() {
        assert_eq!(unpack_quarantined(&pack_quarantined("why", b"raw")), ("why".into(), &b"raw"[..]));
    }
}
