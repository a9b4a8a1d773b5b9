//! `Idempotency-Key`: the same request twice is one message.
//!
//! A client that got no answer does not know whether its mail was taken. With a key of its choice it asks again, and is
//! answered what was answered before: the answer is a fact that went to disk in the same commit as the mail, so it is there
//! exactly where the mail is, also after a crash between that commit and the answer. Only `202` is remembered; what was
//! refused is judged again. A key is one token's own. The same key with another request is a mistake of the client (422),
//! and while the first one is being worked on the second is told so (409).
//!
//! Facts older than `injection.keep_keys` no longer count, and are removed now and then (see [`crate::app`]); who removes one
//! holds its key meanwhile, so that no request writes it anew in between.

use std::collections::HashSet;
use std::sync::Arc;

use aws_lc_rs::digest;
use axum::http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::answer::Accepted;
use super::problem::Problem;
use super::wrong::Wrong;
use crate::clock::Wall;
use crate::store::Op;

/// What the names of these facts begin with; they lie with those that there may be millions of.
pub const KEPT: &str = "sent/";

/// The field.
const FIELD: &str = "Idempotency-Key";

/// Octets of a key.
const KEY_MAX: usize = 255;

/// A remembered answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// SHA-256 of the request.
    request: String,
    at: Wall,
    answer: Accepted,
}

/// When a fact of this kind was written; `None` where it cannot be read, and is good for nothing.
pub fn written_at(value: &[u8]) -> Option<Wall> {
    serde_json::from_slice::<Kept>(value).ok().map(|kept| kept.at)
}

/// The key of a request, if it has one.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<String>, Wrong> {
    let mut given = headers.get_all(FIELD).iter();
    let Some(value) = given.next() else { return Ok(None) };
    let wrong = || Wrong::new(FIELD, format!("one text of 1 to {KEY_MAX} printable ASCII characters"));
    let text = value.to_str().ok().filter(|_| given.next().is_none()).ok_or_else(wrong)?;
    // With quotes it is the same key: some write it as a structured field.
    let bare = text.trim().strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text.trim());
    let is_good = (1..=KEY_MAX).contains(&bare.len()) && bare.bytes().all(|octet| (b' '..=b'~').contains(&octet));
    if is_good { Ok(Some(bare.to_owned())) } else { Err(wrong()) }
}

/// Name of the fact for a token's key. Names of tokens have no colon, keys may hold anything.
pub(super) fn name(token: &str, key: &str) -> String {
    format!("{KEPT}{token}:{}", hex(&[key.as_bytes()]))
}

/// What tells one request from another: its form, its query and its body.
pub(super) fn fingerprint(form: &str, query: &str, body: &[u8]) -> String {
    let lengths = [form.len() as u64, query.len() as u64].map(u64::to_be_bytes).concat();
    hex(&[&lengths, form.as_bytes(), query.as_bytes(), body])
}

fn hex(parts: &[&[u8]]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    parts.iter().for_each(|part| context.update(part));
    context.finish().as_ref().iter().map(|octet| format!("{octet:02x}")).collect()
}

impl Kept {
    pub(super) fn new(request: String, answer: Accepted, at: Wall) -> Self {
        Self { request, at, answer }
    }

    /// The change that stores it.
    pub(super) fn op(&self, name: String) -> Option<Op> {
        serde_json::to_vec(self).ok().map(|value| Op::PutFact(name, value))
    }
}

/// What a stored fact says of a request: the same answer, none, or that the key stands for another one.
pub(super) fn judge(fact: Option<&[u8]>, request: &str, oldest: Wall) -> Result<Option<Accepted>, Problem> {
    let Some(value) = fact else { return Ok(None) };
    // One that cannot be read says that there was one: to send again could be to send twice.
    let Ok(kept) = serde_json::from_slice::<Kept>(value) else {
        let words =
            "what was answered to this key cannot be read; find out what became of the mail, then use another key";
        return Err(Problem::new(StatusCode::CONFLICT, words));
    };
    if kept.at < oldest {
        return Ok(None);
    }
    if kept.request != request {
        return Err(Wrong::new(FIELD, "was used for another request before: a new request needs a new key").into());
    }
    Ok(Some(kept.answer))
}

/// Keys of requests that are being worked on.
#[derive(Clone, Debug, Default)]
pub(super) struct UnderWay(Arc<Mutex<HashSet<String>>>);

/// The right to work on one; dropping it gives it back.
#[derive(Debug)]
#[must_use]
pub struct Held {
    all: UnderWay,
    name: String,
}

impl UnderWay {
    /// `None` where somebody works on it already.
    pub(super) fn hold(&self, name: &str) -> Option<Held> {
        let is_new = self.0.lock().insert(name.to_owned());
        is_new.then(|| Held { all: self.clone(), name: name.to_owned() })
    }
}

impl Held {
    /// Name of the fact for the key.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.0.lock().remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(FIELD, value.parse().expect("a value"));
        }
        headers
    }

    #[test]
    fn a_key_is_one_short_text() {
        assert_eq!(key(&headers(&[])), Ok(None));
        assert_eq!(key(&headers(&["order 7"])), Ok(Some("order 7".into())));
        assert_eq!(key(&headers(&["\"order 7\""])), Ok(Some("order 7".into())));
        let long = "x".repeat(KEY_MAX + 1);
        for wrong in [&["a", "b"][..], &[""], &["\"\""], &["a\tb"], &[&long]] {
            assert!(key(&headers(wrong)).is_err(), "{wrong:?}");
        }
        assert_ne!(name("a", "x"), name("b", "x"));
        assert_ne!(fingerprint("json", "a", b"b"), fingerprint("json", "ab", b""));
    }

    #[test]
    fn the_same_request_has_the_same_answer_until_it_is_forgotten() {
        let at = Wall::from_millis(1_000);
        let answer = Accepted { id: "1".into(), tenant: "acme".into(), recipients: Vec::new() };
        let Some(Op::PutFact(_, fact)) = Kept::new("r".into(), answer.clone(), at).op("n".into()) else {
            panic!("a fact")
        };
        assert_eq!(judge(Some(&fact), "r", at), Ok(Some(answer)));
        assert_eq!(judge(None, "r", at), Ok(None));
        assert_eq!(judge(Some(&fact), "r", Wall::from_millis(1_001)), Ok(None), "too old");
        assert_eq!(judge(Some(&fact), "other", at).expect_err("another").status, 422);
        assert_eq!(judge(Some(b""), "r", at).expect_err("corrupt").status, 409);
        assert_eq!((written_at(&fact), written_at(b"x")), (Some(at), None));
    }

    #[test]
    fn one_works_on_a_key_at_a_time() {
        let all = UnderWay::default();
        let held = all.hold("a").expect("free");
        assert!(all.hold("a").is_none() && all.hold("b").is_some());
        drop(held);
        assert!(all.hold("a").is_some());
    }
}
