//! The document of the interface (OpenAPI 3.1): made of what stands at the handlers, and of what holds for all of them.
//!
//! It is served, and a copy of it is committed as `config/openapi.json` for those who generate clients; a test holds the
//! two together.

use axum::Json;
use axum::extract::Extension;
use std::sync::Arc;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{Components, ContentBuilder, InfoBuilder, OpenApi, Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Sources;
use super::auth::sessions::COOKIE;
use super::problem::{MEDIA_TYPE, Problem};

const DESCRIPTION: &str = "What the relay does, and what an operator may do with it. Answers are JSON; what goes wrong is a \
                           problem (RFC 9457) that says what to do. A token goes in `Authorization: Bearer`; the console \
                           begins a session with one. Moments are RFC 3339, spans are written as in the configuration \
                           (`90m`, `2h`).";

/// Its routes.
pub(super) fn routes() -> OpenApiRouter<Sources> {
    OpenApiRouter::new().routes(routes!(document))
}

/// The document that is served.
#[derive(Clone)]
pub(super) struct Served(pub(super) Arc<OpenApi>);

/// This document. Answers everybody.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "health", security(()),
    responses((status = 200, body = Object, content_type = "application/json")))]
async fn document(Extension(Served(document)): Extension<Served>) -> Json<OpenApi> {
    Json(OpenApi::clone(&document))
}

/// Adds to what the handlers say what holds for all of them.
pub(super) fn finished(mut document: OpenApi) -> OpenApi {
    document.info = InfoBuilder::new()
        .title("Remuda")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(DESCRIPTION))
        .license(Some(utoipa::openapi::License::new(env!("CARGO_PKG_LICENSE"))))
        .build();
    let components = document.components.get_or_insert_with(Components::new);
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
    let bearer = bearer.description(Some("A token as `remuda token` makes it.")).build();
    components.security_schemes.insert("token".into(), SecurityScheme::Http(bearer).into());
    let cookie = ApiKeyValue::with_description(COOKIE, "A session, begun at POST /api/v1/session.");
    components.security_schemes.insert("session".into(), SecurityScheme::ApiKey(ApiKey::Cookie(cookie)).into());
    components.schemas.insert(Problem::name().into_owned(), Problem::schema());
    let none: [&str; 0] = [];
    document.security = Some(["token", "session"].map(|name| SecurityRequirement::new(name, none)).to_vec());
    for (path, item) in &mut document.paths.paths {
        if path.starts_with("/api/") || path == "/metrics" {
            for (is_act, operation) in operations(item) {
                told_as_problems(operation);
                refusals(path, is_act, operation);
            }
        }
    }
    document
}

/// Every operation of a path, and whether it changes something.
fn operations(item: &mut PathItem) -> impl Iterator<Item = (bool, &mut Operation)> {
    let all = [(false, &mut item.get), (true, &mut item.post), (true, &mut item.put), (true, &mut item.delete)];
    all.into_iter().filter_map(|(is_act, operation)| operation.as_mut().map(|operation| (is_act, operation)))
}

/// What handlers say they may refuse is told as problem details, whatever the macro takes a body for.
fn told_as_problems(operation: &mut Operation) {
    for (status, response) in &mut operation.responses.responses {
        if let (true, RefOr::T(response)) = (status.starts_with(['4', '5']), response)
            && let Some(content) = response.content.swap_remove("application/json")
        {
            response.content.insert(MEDIA_TYPE.to_owned(), content);
        }
    }
}

/// What may be answered instead.
fn refusals(path: &str, is_act: bool, operation: &mut Operation) {
    let is_open = operation.security.as_ref().is_some_and(|needs| needs.iter().all(|one| *one == <_>::default()));
    let all = [
        ("400", true, "The request means nothing."),
        ("401", !is_open || is_act, "Nobody is known by that token, or one is needed."),
        ("403", !is_open || is_act, "Whoever asks may not do this."),
        ("404", path.contains('{') || path == "/api/v1/limits", "There is no such thing."),
        ("409", is_act, "It cannot be done as things are."),
        ("413", operation.request_body.is_some(), "The body is too large."),
        ("415", operation.request_body.is_some(), "The body is not said to be JSON."),
        ("421", true, "The request is for a host that this is not."),
        ("422", operation.request_body.is_some(), "The body does not say what is needed."),
        (
            "429",
            !is_open || is_act,
            "Too many wrong tokens, or too many who follow: Retry-After says how long to wait.",
        ),
    ];
    for (status, _, words) in all.into_iter().filter(|(_, applies, _)| *applies) {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(Problem::name()))).build();
        let response = ResponseBuilder::new().description(words).content(MEDIA_TYPE, content).build();
        operation.responses.responses.entry(status.to_owned()).or_insert(RefOr::T(response));
    }
}
