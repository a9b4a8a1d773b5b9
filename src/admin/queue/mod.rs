//! The queue: listing, one entry, and the operator's acts on what waits.

use utoipa_axum::router::OpenApiRouter;

use crate::admin::Sources;

/// Its routes.
pub(in crate::admin) fn routes() -> OpenApiRouter<Sources> {
    OpenApiRouter::new()
}
