//! The document of this interface (OpenAPI 3.1), apart from that of the operator's side. A copy of it is committed as
//! `config/openapi-injection.json`; a test holds the two together.

use axum::Json;
use std::sync::Arc;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Components, InfoBuilder, OpenApi};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::Problem;
use super::{Counter, messages};

const DESCRIPTION: &str = "Sends mail. 202 says that the mail is on disk: it will be delivered, or its sender told that it \
                           cannot be. What goes wrong is a problem (RFC 9457) that names the field and says what to do.";

/// Everything that is served.
pub(super) fn routes() -> OpenApiRouter<Arc<Counter>> {
    OpenApiRouter::new().routes(routes!(messages::send)).routes(routes!(served))
}

/// This document. Answers everybody.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "document", security(()),
    responses((status = 200, body = Object, content_type = "application/json")))]
async fn served() -> Json<OpenApi> {
    Json(document())
}

pub(super) fn document() -> OpenApi {
    let mut document = routes().into_openapi();
    document.info = InfoBuilder::new()
        .title("Remuda: mail over HTTP")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(DESCRIPTION))
        .license(Some(utoipa::openapi::License::new(env!("CARGO_PKG_LICENSE"))))
        .build();
    let components = document.components.get_or_insert_with(Components::new);
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
    let bearer =
        bearer.description(Some("A token as `remuda token NAME --role send --tenant TENANT` makes it.")).build();
    components.security_schemes.insert("token".into(), SecurityScheme::Http(bearer).into());
    components.schemas.insert(Problem::name().into_owned(), Problem::schema());
    let none: [&str; 0] = [];
    document.security = Some(vec![SecurityRequirement::new("token", none)]);
    document
}
