//! Whether the service answers.

use std::sync::Arc;

use axum::{Json, extract::State};
use carrel_model::TimeMs;
use serde::Serialize;
use utoipa::ToSchema;

use super::{App, failure::Failure};

/// The service is well.
#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    /// `carrel`: tells this service from whatever else answers at an address.
    service: &'static str,
    /// Its version.
    version: &'static str,
    /// Its clock.
    server_time: TimeMs,
}

/// Whether the service and its database answer.
#[utoipa::path(get, path = "/health", tag = "health", responses((status = 200, body = Health)))]
pub(super) async fn health(State(app): State<Arc<App>>) -> Result<Json<Health>, Failure> {
    app.store.ping().await?;
    Ok(Json(Health { service: "carrel", version: env!("CARGO_PKG_VERSION"), server_time: (app.clock)() }))
}
