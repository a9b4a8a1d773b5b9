//! One event for each act: who, what, on what, why, and what came of it.
//!
//! The event is on disk before the answer goes out. Where that fails the act is done all the same, and the answer says
//! so in the header [`UNWRITTEN`]: [`noticing`] goes round every handler and puts it there.
//!
//! Whoever asks may hang up at any moment, and then nobody waits for the handler any more. What does more than look runs
//! in a task of its own, so that an act that was begun is done to its end, and its event with it.

use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Sources;
use super::auth::Actor;
use super::problem::Problem;
use crate::telemetry::events::Kind;
use crate::telemetry::journal;

/// Header of an answer whose act could not be written down: `not-written`.
pub const UNWRITTEN: HeaderName = HeaderName::from_static("remuda-audit");

tokio::task_local! {
    /// Whether an event of the request in hand could not be written.
    static NOT_WRITTEN: AtomicBool;
}

impl Sources {
    /// Notes an act of `actor`, and returns when that is on disk (or cannot be: see the module). `fields` are names with
    /// words: what it was done to, the reason, until when, how many.
    pub(super) async fn audit(&self, actor: &Actor, act: &str, fields: Vec<(&'static str, String)>) {
        self.record(Kind::Audit, actor, act, fields).await;
    }

    /// The same for somebody who came or went: of those there may be many, and they push out no act.
    pub(super) async fn came(&self, actor: &Actor, act: &str, fields: Vec<(&'static str, String)>) {
        self.record(Kind::Access, actor, act, fields).await;
    }

    async fn record(&self, kind: Kind, actor: &Actor, act: &str, fields: Vec<(&'static str, String)>) {
        let who = [("actor", actor.name.clone()), ("act", act.to_owned())];
        let now = self.dispatcher.now().wall;
        tracing::info!(actor = actor.name.as_str(), act, ?fields, "an operator acts");
        self.dispatcher.events().note(kind, who.into_iter().chain(fields), now);
        if let Err(error) = journal::write(self.dispatcher.events(), &self.committer).await {
            tracing::error!(%error, act, "what an operator did is not written down yet");
            // Outside of a request nobody waits for an answer.
            let _ = NOT_WRITTEN.try_with(|not_written| not_written.store(true, Ordering::Relaxed));
        }
    }
}

/// Goes round a handler: has it run to its end whoever waits, and says in its answer where what it did could not be written
/// down.
pub(super) async fn noticing(request: Request, next: Next) -> Response {
    let is_look = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
    let answer = async move {
        let mut answer = next.run(request).await;
        if NOT_WRITTEN.with(|not_written| not_written.load(Ordering::Relaxed)) {
            answer.headers_mut().insert(UNWRITTEN, HeaderValue::from_static("not-written"));
        }
        answer
    };
    let answer = NOT_WRITTEN.scope(AtomicBool::new(false), answer);
    if is_look {
        return answer.await;
    }
    tokio::spawn(answer).await.unwrap_or_else(|error| {
        tracing::error!(%error, "a request went wrong");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "something went wrong: see the relay's log").into_response()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::Router;
    use axum::extract::State;
    use axum::routing::post;
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::{Notify, oneshot};

    use super::*;

    #[derive(Default)]
    struct Act {
        began: Notify,
        may_end: Notify,
        done: parking_lot::Mutex<Option<oneshot::Sender<()>>>,
    }

    async fn act(State(act): State<Arc<Act>>) {
        act.began.notify_one();
        act.may_end.notified().await;
        if let Some(done) = act.done.lock().take() {
            let _ = done.send(());
        }
    }

    #[tokio::test]
    async fn an_act_that_was_begun_is_done_to_its_end_though_whoever_asked_hangs_up() {
        let (done, was_done) = oneshot::channel();
        let state = Arc::new(Act { done: parking_lot::Mutex::new(Some(done)), ..Act::default() });
        let router = Router::new().route("/", post(act)).layer(axum::middleware::from_fn(noticing));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(axum::serve(listener, router.with_state(Arc::clone(&state))).into_future());
        let mut client = TcpStream::connect(address).await.expect("connected");
        client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await.expect("asked");
        state.began.notified().await;
        drop(client);
        // The server gets its turns, and hears of the end of the connection.
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        state.may_end.notify_one();
        was_done.await.expect("it was cut with the connection");
    }
}
