//! The web console: pages, styles and scripts that are part of the program, and the data only they need.
//!
//! The page is static and the same for everybody, signed in or not ([`files`]); it fetches what it shows from the API as
//! any other client would. What one screen needs at once and nobody else does is put together here: [`board`] (pools,
//! bindings, listings, the last hour, orders, alerts, in one answer), [`past`] (the minutes behind the sparklines, for the
//! bindings on the screen), [`waiting`] (what waits, by tenant). A wall of screens asks no more of the relay than one: a
//! board is taken at most twice a second and the queue gone through at most every two, whoever asks ([`kept`]).
//!
//! These are not part of the API that others may build on: they follow the console of the same version.

// The macro that documents a handler names its parameters by their path.
#![allow(unused_qualifications)]

mod board;
mod files;
mod kept;
mod past;
mod waiting;

use std::sync::Arc;

use axum::Extension;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::admin::Sources;

/// Answers that many ask for.
#[derive(Default)]
struct Answers {
    board: kept::Kept,
    waiting: kept::Kept,
}

/// Its routes.
pub(in crate::admin) fn routes() -> OpenApiRouter<Sources> {
    let data = OpenApiRouter::new()
        .routes(routes!(board::board))
        .routes(routes!(past::past))
        .routes(routes!(waiting::waiting));
    data.layer(Extension(Arc::new(Answers::default()))).merge(files::routes())
}
