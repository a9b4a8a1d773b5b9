//! Bindings: as they are, and the operator's acts on them.

use utoipa_axum::router::OpenApiRouter;

use super::Sources;

/// Its routes.
pub(super) fn routes() -> OpenApiRouter<Sources> {
    OpenApiRouter::new()
}
