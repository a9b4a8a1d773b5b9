//! An answer that is kept for a while: it costs a walk over the queue or the bindings, whoever asks, and a wall of screens
//! asks for the same.

use std::future::Future;
use std::time::Duration;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::Mutex;

use crate::admin::problem::Problem;
use crate::clock::Wall;

/// The last answer of one kind, as it was sent, and from when it is.
#[derive(Default)]
pub(super) struct Kept(Mutex<Option<(Wall, Bytes)>>);

impl Kept {
    /// What is not older than `fresh`, else what `make` makes. Who asks while it is made waits for that one.
    ///
    /// # Errors
    /// Those of `make`; the next one who asks tries again.
    pub(super) async fn get<F>(&self, now: Wall, fresh: Duration, make: impl FnOnce() -> F) -> Result<Bytes, Problem>
    where
        F: Future<Output = Result<Bytes, Problem>>,
    {
        let mut kept = self.0.lock().await;
        // One from the future is of a clock that was set back since.
        match kept.as_ref().filter(|(at, _)| *at <= now && now.since(*at) < fresh) {
            Some((_, answer)) => Ok(answer.clone()),
            None => Ok(kept.insert((now, make().await?)).1.clone()),
        }
    }
}

/// `answer` as JSON.
///
/// # Errors
/// It could not be written as such.
pub(super) fn json(answer: &impl Serialize) -> Result<Bytes, Problem> {
    let written = serde_json::to_vec(answer);
    written.map(Into::into).map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

/// JSON that nobody but us keeps.
pub(super) fn response(answer: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], answer).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_fresh_is_given_again_and_else_it_is_made_anew() {
        let kept = Kept::default();
        let fresh = Duration::from_millis(500);
        for (at, made, expected) in [
            (1_000, Some("a"), Some("a")),
            (1_499, Some("b"), Some("a")),
            (1_500, Some("c"), Some("c")),
            (2_100, None, None),
            (2_100, Some("d"), Some("d")),
            // The clock was set back.
            (1_600, Some("e"), Some("e")),
        ] {
            let make = || async move {
                made.map(Bytes::from).ok_or_else(|| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "no".to_owned()))
            };
            let answer = kept.get(Wall::from_millis(at), fresh, make).await.ok();
            assert_eq!(answer, expected.map(Bytes::from), "at {at}");
        }
    }
}
