//! Events as they happen (server-sent events).

use utoipa_axum::router::OpenApiRouter;

use super::Sources;

/// Its routes.
pub(super) fn routes() -> OpenApiRouter<Sources> {
    OpenApiRouter::new()
}
