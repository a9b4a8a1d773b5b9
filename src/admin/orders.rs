//! Orders in force, and taking them back.

use utoipa_axum::router::OpenApiRouter;

use super::Sources;

/// Its routes.
pub(super) fn routes() -> OpenApiRouter<Sources> {
    OpenApiRouter::new()
}
