//! Termination.

use ::http::StatusCode;
use axum::{body::Body, extract::State};
use cloudstore_service::{Result, auth::User, path::Path};
use std::sync::Arc;
use uuid::Uuid;

use super::{fields, find};
use crate::engine::{Engine, Found};

/// `DELETE /files/{id}`: of a finished upload the file goes.
pub(crate) async fn terminate(
    State(engine): State<Arc<Engine>>,
    user: User,
    Path(id): Path<Uuid>,
    body: Body,
) -> Result<StatusCode> {
    fields::refuse_body(&body)?;
    match find(&engine, user, id).await? {
        Found::Open(_) => engine.cancel(user.account_id, id).await?,
        Found::Done(done) => engine.remove_file(user.account_id, &done.file).await?,
    }
    Ok(StatusCode::NO_CONTENT)
}
