//! The web console: pages, styles and scripts that are part of the program, and the data only they need.

use utoipa_axum::router::OpenApiRouter;

use crate::admin::Sources;

/// Its routes.
pub(in crate::admin) fn routes() -> OpenApiRouter<Sources> {
    OpenApiRouter::new()
}
