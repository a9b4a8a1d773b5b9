//! What goes round every request: whether the host it names is us, and what every answer says to a browser.

use axum::body::to_bytes;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::listener::Peer;
use super::problem::{MEDIA_TYPE, Problem};
use super::{BODY_MAX, Sources};

/// Nothing from elsewhere, no script or style but our own files, in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
/// Octets of an answer in words that become a problem's.
const WORDS: usize = 8 * 1024;

/// On every answer.
const ALWAYS: [(HeaderName, &str); 4] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Asks the handler, where the request is for us.
pub(super) async fn guard(State(sources): State<Sources>, request: Request, next: Next) -> Response {
    let is_health = request.uri().path() == "/healthz";
    let misdirected = if is_health { None } else { misdirected(&sources, &request) };
    let refused = misdirected.or_else(|| too_large(&request));
    let mut answer = match refused {
        Some(problem) => problem.into_response(),
        None => as_problem(next.run(request).await).await,
    };
    dress(answer.headers_mut());
    answer
}

fn dress(headers: &mut HeaderMap) {
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Files of the console say for themselves how long they are good.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

/// 421 where the request names a host that we are not; see [`super::auth`].
fn misdirected(sources: &Sources, request: &Request) -> Option<Problem> {
    let peer = request.extensions().get::<ConnectInfo<Peer>>().map(|info| &info.0);
    let named = request.uri().authority().map(|authority| authority.as_str());
    let mut given = request.headers().get_all(header::HOST).iter();
    let host = match (named, given.next()) {
        (Some(named), _) => named,
        (None, Some(value)) => value.to_str().unwrap_or("?"),
        // HTTP/1.0: no browser speaks that.
        (None, None) => return None,
    };
    if given.next().is_none() && sources.auth.is_host(host, peer) {
        return None;
    }
    sources.dispatcher.metrics().admin.refused.with_label_values(&["host"]).inc();
    let host: String = host.chars().filter(|c| !c.is_control()).take(100).collect();
    let words = format!("{host:?} is no name of this relay: add it to admin.hosts if it should be");
    Some(Problem::new(StatusCode::MISDIRECTED_REQUEST, words))
}

/// 413 where more is announced than is ever read; what comes without announcement is cut off where it is read.
fn too_large(request: &Request) -> Option<Problem> {
    let length = request.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse::<u64>().ok()?;
    let words = || format!("a request has at most {BODY_MAX} octets");
    (length > BODY_MAX as u64).then(|| Problem::new(StatusCode::PAYLOAD_TOO_LARGE, words()))
}

/// What is answered in plain text, or in nothing, where something went wrong, as a problem.
async fn as_problem(answer: Response) -> Response {
    let status = answer.status();
    let kind = answer.headers().get(header::CONTENT_TYPE).map(|kind| kind.to_str().unwrap_or_default().to_owned());
    let is_words = kind.as_deref().is_none_or(|kind| kind.starts_with("text/plain"));
    if !(status.is_client_error() || status.is_server_error()) || !is_words || kind.as_deref() == Some(MEDIA_TYPE) {
        return answer;
    }
    let (parts, body) = answer.into_parts();
    let words = to_bytes(body, WORDS).await.map(|octets| String::from_utf8_lossy(&octets).trim().to_owned());
    let words = words.ok().filter(|words| !words.is_empty()).unwrap_or_else(|| usual(status).to_owned());
    let mut answer = Problem::new(status, words).into_response();
    for name in [header::ALLOW, header::RETRY_AFTER] {
        if let Some(value) = parts.headers.get(&name) {
            answer.headers_mut().insert(name, value.clone());
        }
    }
    answer
}

/// What is said where nothing was.
fn usual(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "there is nothing here: /api/v1/openapi.json says what there is",
        StatusCode::METHOD_NOT_ALLOWED => "this can be asked by another method only: see Allow",
        StatusCode::PAYLOAD_TOO_LARGE => "the request is too large",
        _ => "no more is known",
    }
}
