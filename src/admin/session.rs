//! Signing in and out of the console.
//!
//! The console hands a token over once and gets a cookie for it; see [`super::auth::sessions`]. It may also have neither,
//! where `admin.anonymous` lets everybody look.

use axum::extract::{ConnectInfo, FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Sources;
use super::auth::{Refused, Role, identify, sessions};
use super::extract::Json;
use super::listener::Peer;
use super::problem::Problem;

/// Longest token that is looked at.
const TOKEN_MAX: usize = 512;

/// Its routes.
pub(super) fn routes() -> OpenApiRouter<Sources> {
    OpenApiRouter::new().routes(routes!(show, begin, end))
}

/// Body of `POST /api/v1/session`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// The token, as `remuda token` printed it.
    #[schema(min_length = 1, max_length = 512)]
    token: String,
}

/// Who asks, and what they may.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SessionShown {
    /// Name of the token; nothing for somebody who brought none.
    pub name: Option<String>,
    /// What they may; nothing where they may not even look.
    pub role: Option<Role>,
    /// Whether one has to sign in to look.
    pub sign_in_needed: bool,
    /// Version of the program.
    pub version: String,
}

impl SessionShown {
    fn of(sources: &Sources, actor: Option<super::auth::Actor>) -> Self {
        Self {
            name: actor.as_ref().filter(|actor| !actor.is_anonymous()).map(|actor| actor.name.clone()),
            role: actor.map(|actor| actor.role),
            sign_in_needed: !sources.auth.may_anyone_read(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// What a request says before its body, whole.
pub(super) struct Head(pub(super) Parts);

impl<S: Sync> FromRequestParts<S> for Head {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(parts.clone()))
    }
}

/// Who asks, what they may, and whether signing in is needed. Answers everybody.
#[utoipa::path(get, path = "/api/v1/session", tag = "session", security(()), responses((status = 200, body = SessionShown)))]
async fn show(State(sources): State<Sources>, Head(parts): Head) -> Result<Json<SessionShown>, Problem> {
    let actor = match identify(&parts, &sources).await {
        Ok(actor) => Some(actor),
        // A wrong token is told so; nothing at all is an answer as well.
        Err(problem) if parts.headers.contains_key(header::AUTHORIZATION) => return Err(problem),
        Err(_) => None,
    };
    Ok(Json(SessionShown::of(&sources, actor)))
}

/// Begins a session: the answer sets a cookie that lasts twelve hours, or as long as the token is known.
#[utoipa::path(post, path = "/api/v1/session", tag = "session", security(()), request_body = SignIn,
    responses((status = 200, body = SessionShown)))]
async fn begin(
    State(sources): State<Sources>,
    Head(parts): Head,
    Json(body): Json<SignIn>,
) -> Result<Response, Problem> {
    super::auth::own_page(&parts).map_err(|refused: Refused| refused.told(&sources))?;
    if body.token.len() > TOKEN_MAX {
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "the token is longer than any of ours"));
    }
    let peer = parts.extensions.get::<ConnectInfo<Peer>>().map(|info| info.0);
    let now = sources.dispatcher.now();
    let signed = sources.auth.sign_in(body.token.trim(), peer.as_ref(), now);
    let (id, actor) = signed.map_err(|refused| refused.told(&sources))?;
    let client = peer.map(|peer| peer.address.ip().to_canonical().to_string()).unwrap_or_default();
    if sources.auth.is_news(&actor, peer.as_ref(), now) {
        sources.came(&actor, "session.begin", vec![("client", client)]).await;
    }
    Ok((with_cookie(&id, is_secure(&parts, peer)), Json(SessionShown::of(&sources, Some(actor)))).into_response())
}

/// Ends the session, and takes the cookie away.
#[utoipa::path(delete, path = "/api/v1/session", tag = "session", security(()),
    responses((status = 204, description = "There is none any more.")))]
async fn end(State(sources): State<Sources>, Head(parts): Head) -> Result<Response, Problem> {
    super::auth::own_page(&parts).map_err(|refused: Refused| refused.told(&sources))?;
    sources.auth.sign_out(&parts);
    let peer = parts.extensions.get::<ConnectInfo<Peer>>().map(|info| info.0);
    Ok((with_cookie("", is_secure(&parts, peer)), StatusCode::NO_CONTENT).into_response())
}

fn with_cookie(id: &str, is_secure: bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    // Hexadecimal digits and words of ours: always a header.
    if let Ok(cookie) = HeaderValue::from_str(&sessions::cookie(id, is_secure)) {
        headers.insert(header::SET_COOKIE, cookie);
    }
    headers
}

/// Whether the browser speaks TLS, with us or with a proxy before us. Who claims it without need only harms themselves.
fn is_secure(parts: &Parts, peer: Option<Peer>) -> bool {
    peer.is_some_and(|peer| peer.is_tls) || parts.headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https")
}
