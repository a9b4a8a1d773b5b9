//! `POST /api/v1/messages`.
//!
//! The order of what is asked: who it is, then the body is read as far as there is room for it ([`super::body`]). From there
//! the work goes on in a task of its own: a client that hangs up in the middle has its mail taken in or not, but nothing is left half done, and
//! its key stays taken until that is settled.

#![allow(unused_qualifications, reason = "what utoipa makes of params(…) names them whole")]

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Query, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use super::answer::{Accepted, Verdict};
use super::body::{self, Form};
use super::compose::{self, Given, Message};
use super::envelope::Envelope;
use super::gate::{Caller, TOKEN, Turned};
use super::problem::{Problem, reply};
use super::repeat::{self, Kept};
use super::room::Share;
use super::wrong::Wrong;
use super::{Counter, Rules, text};
use crate::admin::auth::token;
use crate::admin::listener::Peer;
use crate::clock::Wall;
use crate::ingress::header::look;
use crate::ingress::prepare::missing;
use crate::ingress::{Addressee, IngressStats, Refusal, Transaction};
use crate::message::header::rewrite;
use crate::message::{ForwardPath, MessageId, Wishes};

/// Says that an answer was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Send a message.
///
/// As `message/rfc822` the body is the message and the envelope stands in the query; as `application/json` both follow from
/// the description, and there is no query. Text in lines that end in LF is taken as if it ended in CRLF. The mail is the
/// tenant's whose token it is. Recipients that are refused are named in the answer; if all are, nothing is sent.
#[utoipa::path(post, path = "/api/v1/messages", tag = "messages",
    params(
        ("from" = Option<String>, Query, description = "Where bounces go; empty: nowhere. Needed with message/rfc822."),
        ("to" = Option<Vec<String>>, Query, description = "A recipient; as often as there are. Needed with message/rfc822."),
        ("stream" = Option<String>, Query, description = "Kind of mail, as in tenant.NAME.pools."),
        ("envelope_id" = Option<String>, Query, description = "The sender's own name for the envelope (RFC 3461 ENVID)."),
        ("ret" = Option<String>, Query, description = "How much a report of failure returns: full or headers."),
        ("notify" = Option<String>, Query, description = "never, or some of success, failure and delay with commas between."),
        ("Idempotency-Key" = Option<String>, Header, description = "A request with the key of an earlier one is answered as that was, and nothing is sent again. 1 to 255 characters; remembered for a day."),
    ),
    request_body(content((Message = "application/json"), (String = "message/rfc822"))),
    responses(
        (status = 202, body = Accepted, description = "The mail is on disk.", headers(
            ("Idempotent-Replayed" = String, description = "true where this was answered before."))),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "The request cannot be read."),
        (status = 401, body = Problem, content_type = "application/problem+json", description = "Nobody is known by that token, or there is none."),
        (status = 403, body = Problem, content_type = "application/problem+json", description = "The token is not good from there."),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "The first request with this key is still being worked on."),
        (status = 413, body = Problem, content_type = "application/problem+json", description = "The message is too large."),
        (status = 415, body = Problem, content_type = "application/problem+json", description = "Neither message/rfc822 nor application/json."),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "A field is wrong, or the mail is refused for good."),
        (status = 429, body = Problem, content_type = "application/problem+json", description = "Too fast, or too many wrong tokens: Retry-After says how long to wait."),
        (status = 503, body = Problem, content_type = "application/problem+json", description = "Not now: Retry-After says when to try again."),
    ))]
pub(super) async fn send(
    State(counter): State<Arc<Counter>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let (answer, result) = match taken(&counter, peer, query.unwrap_or_default(), &headers, body).await {
        Ok((answer, false)) => (accepted(&answer, false), "accepted"),
        Ok((answer, true)) => (accepted(&answer, true), "replayed"),
        Err(Turned { problem, result }) => ((*problem).into_response(), result),
    };
    counter.count(result);
    answer
}

fn accepted(answer: &Accepted, is_replayed: bool) -> Response {
    let mut response = (StatusCode::ACCEPTED, Json(answer)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if is_replayed {
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

pub(super) fn turned(result: &'static str) -> impl Fn(Problem) -> Turned {
    move |problem| Turned { problem: problem.into(), result }
}

impl From<Wrong> for Turned {
    fn from(wrong: Wrong) -> Self {
        Self { problem: Box::new(wrong.into()), result: "invalid" }
    }
}

/// The answer, and whether it was given before.
async fn taken(
    counter: &Arc<Counter>,
    peer: Peer,
    query: String,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Accepted, bool), Turned> {
    let caller = counter.gate.admit(headers, peer.address.ip(), counter.clock.now())?;
    let key = repeat::key(headers)?;
    let form = Form::of(headers).ok_or_else(|| {
        let words = "Content-Type: message/rfc822 or application/json";
        turned("invalid")(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, words))
    })?;
    counter.intake.ready().map_err(|refusal| turned("busy")(refusal.into()))?;
    let rules = counter.rules();
    let (body, room) = body::read(counter, &rules, form, &caller.token, headers, body).await?;
    let request = Request { caller, peer, form, query, body, key, rules, room };
    let counter = Arc::clone(counter);
    let work = tokio::spawn(async move { request.settle(&counter).await });
    work.await.unwrap_or_else(|_| Err(turned("busy")(Refusal::local().into())))
}

/// One request, read.
struct Request {
    caller: Caller,
    peer: Peer,
    form: Form,
    query: String,
    body: Bytes,
    key: Option<String>,
    rules: Arc<Rules>,
    room: Share,
}

impl Request {
    /// Has the mail taken in, once.
    async fn settle(mut self, counter: &Counter) -> Result<(Accepted, bool), Turned> {
        counter.gate.still(&self.caller, self.peer.address.ip())?;
        let Some(key) = &self.key else { return Ok((self.accept(counter, None).await?, false)) };
        let name = repeat::name(&self.caller.token, key);
        let request = repeat::fingerprint(self.form.name(), &self.query, &self.body);
        let Some(_held) = counter.under_way.hold(&name) else {
            let words = "a request with this Idempotency-Key is being worked on; ask again in a moment";
            let problem = Problem { retry_after: Some(1), ..Problem::new(StatusCode::CONFLICT, words) };
            return Err(turned("in_flight")(problem));
        };
        let fact = counter.intake.remembered(name.clone()).await.map_err(|refusal| turned("busy")(refusal.into()))?;
        let keep = i64::try_from(self.rules.keep_keys.as_millis()).unwrap_or(i64::MAX);
        let oldest = Wall::from_millis(counter.clock.now().wall.as_millis().saturating_sub(keep));
        if let Some(answer) = repeat::judge(fact.as_deref(), &request, oldest).map_err(turned("other_body"))? {
            return Ok((answer, true));
        }
        Ok((self.accept(counter, Some((name, request))).await?, false))
    }

    /// Has it taken in; `keep` is where the answer goes and for which request it is.
    async fn accept(&mut self, counter: &Counter, keep: Option<(String, String)>) -> Result<Accepted, Turned> {
        let (envelope, body) = self.message(counter).await?;
        if body.len() as u64 > self.rules.max_message_bytes {
            return Err(turned("invalid")(Problem::too_large(self.rules.max_message_bytes)));
        }
        let told = look(&body, self.rules.max_header_bytes).map_err(|refusal| turned("refused")(refusal.into()))?;
        body::keep(&mut self.room, &body).await?;
        let (recipients, verdicts) = self.judged(counter, envelope.to)?;
        let octets = body.len() as u64;
        let eight_bit = !body.is_ascii();
        let nonce = token::nonce().map_err(|_| turned("busy")(Refusal::local().into()))?;
        let wishes = Wishes { tls: told.tls, utf8: envelope.wishes.utf8 || told.utf8, ..envelope.wishes };
        let count = recipients.len() as u64;
        let transaction = Transaction {
            listener: usize::MAX,
            client: SocketAddr::new(self.peer.address.ip().to_canonical(), self.peer.address.port()),
            trusted: false,
            helo: literal(self.peer.address),
            esmtp: false,
            reverse_path: envelope.from,
            recipients,
            report: false,
            eight_bit,
            body: begun(&self.rules, envelope.stream.as_deref(), body, &nonce, counter.clock.now().wall),
            auth_user: Some(format!("{TOKEN}{}", self.caller.token)),
            wishes,
            tls: self.peer.is_tls.then(|| "TLS".into()),
            submission: false,
        };
        let tenant = self.caller.tenant.to_string();
        let answer = move |id: MessageId| Accepted { id: id.to_string(), tenant, recipients: verdicts };
        let (noted, at) = (answer.clone(), counter.clock.now().wall);
        let note = Box::new(move |id| {
            let kept = keep.and_then(|(name, request)| Kept::new(request, noted(id), at).op(name));
            kept.into_iter().collect()
        });
        let refused = |refusal: Refusal| {
            let result = if refusal.code < 500 { "busy" } else { "refused" };
            turned(result)(refusal.into())
        };
        // The last moment: from here on it is judged by what the intake goes by, which is told whose mail it has to be.
        counter.gate.still(&self.caller, self.peer.address.ip())?;
        let owner = self.caller.tenant.clone();
        let id = counter.intake.accept_noting(transaction, Some(owner), note).await.map_err(refused)?;
        IngressStats::add(&counter.stats.messages, 1);
        IngressStats::add(&counter.stats.recipients, count);
        IngressStats::add(&counter.stats.bytes, octets);
        Ok(answer(id))
    }

    /// Envelope and message, as the form says. The body goes into it.
    async fn message(&mut self, counter: &Counter) -> Result<(Envelope, Bytes), Turned> {
        let most = self.rules.max_recipients;
        let body = std::mem::take(&mut self.body);
        match self.form {
            Form::Whole => {
                let uri = Uri::builder().path_and_query(format!("/?{}", self.query)).build().unwrap_or_default();
                let pairs = Query::<Vec<(String, String)>>::try_from_uri(&uri).map(|Query(pairs)| pairs);
                let unreadable =
                    |_| turned("invalid")(Problem::new(StatusCode::BAD_REQUEST, "the query cannot be read"));
                let envelope = Envelope::read(&pairs.map_err(unreadable)?, most)?;
                Ok((envelope, text::read(body)?))
            }
            Form::Described if !self.query.is_empty() => {
                Err(Wrong::new("query", "with JSON the envelope follows from the body").into())
            }
            Form::Described => {
                let rules = Arc::clone(&self.rules);
                let now = counter.clock.now().wall;
                let nonce = token::nonce().map_err(|_| turned("busy")(Refusal::local().into()))?;
                // A large one takes a core for a while.
                let work = tokio::task::spawn_blocking(move || {
                    let message = compose::read(&body, compose::most_values(most))?;
                    drop(body);
                    let envelope = message.envelope(most)?;
                    let given = Given { now, nonce: &nonce, control_headers: &rules.control_headers };
                    Ok::<_, Wrong>((envelope, compose::build(&message, given)?))
                });
                let made = work.await.map_err(|_| turned("busy")(Refusal::local().into()))?;
                let (envelope, octets) = made?;
                Ok((envelope, octets.into()))
            }
        }
    }

    /// Those who may have it, and what is said of each.
    fn judged(&self, counter: &Counter, all: Vec<ForwardPath>) -> Result<(Vec<ForwardPath>, Vec<Verdict>), Turned> {
        let (mut recipients, mut verdicts, mut first) =
            (Vec::with_capacity(all.len()), Vec::with_capacity(all.len()), None);
        for path in all {
            let verdict = match counter.intake.addressee(&path.address) {
                Ok(Addressee::Elsewhere) => Ok(()),
                Ok(Addressee::Reports { .. }) => {
                    Err(Refusal::new(550, 5, 7, "mail for this address comes by SMTP only"))
                }
                Err(refusal) => Err(refusal),
            };
            let address = path.address.to_string();
            match verdict {
                Ok(()) => {
                    verdicts.push(Verdict { address, accepted: true, reply: None });
                    recipients.push(path);
                }
                Err(refusal) => {
                    verdicts.push(Verdict { address, accepted: false, reply: Some(reply(&refusal)) });
                    first.get_or_insert(refusal);
                }
            }
        }
        match first {
            Some(refusal) if recipients.is_empty() => {
                Err(turned("refused")(Problem { field: Some("to".into()), ..refusal.into() }))
            }
            _ => Ok((recipients, verdicts)),
        }
    }
}

/// What stands where SMTP has the name of EHLO (RFC 5321 §4.1.3).
fn literal(client: SocketAddr) -> String {
    let address = client.ip().to_canonical();
    let tag = if address.is_ipv6() { "IPv6:" } else { "" };
    format!("[{tag}{address}]")
}

/// The message with fields in front: the stream's, which is named as by SMTP, by a control header that goes out again; and
/// those it must have and lacks, since here is where mail begins (RFC 6409 §8).
fn begun(rules: &Rules, stream: Option<&str>, body: Bytes, nonce: &str, now: Wall) -> Bytes {
    let stream = stream.map(|stream| format!("{}: {stream}\r\n", rules.stream_header)).unwrap_or_default();
    let lines = stream + &missing(&body, &rules.hostname, nonce, now);
    if lines.is_empty() { body } else { rewrite(&body, lines.as_bytes(), &[]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_a_literal_where_smtp_has_a_name() {
        let of = |text: &str| literal(text.parse().expect("an address"));
        assert_eq!(of("192.0.2.7:4"), "[192.0.2.7]");
        assert_eq!(of("[::ffff:192.0.2.7]:4"), "[192.0.2.7]");
        assert_eq!(of("[2001:db8::1]:4"), "[IPv6:2001:db8::1]");
    }
}
