//! Signing in and out of the console.

use utoipa_axum::router::OpenApiRouter;

use super::Sources;

/// Its routes.
pub(super) fn routes() -> OpenApiRouter<Sources> {
    OpenApiRouter::new()
}
