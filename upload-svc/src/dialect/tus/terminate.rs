//! Termination.

use ::http::StatusCode;
use axum::{body::Body, extract::State};
use cloudstore_service::{Result, auth::insufficient, path::Path};
use std::sync::Arc;
use uuid::Uuid;

use super::{fields, find};
use crate::{
    drop_box::Depositor,
    engine::{Engine, Found},
};

/// `DELETE /files/{id}`: of a finished upload the file goes, unless who asks may only add files.
#[utoipa::path(
    delete,
    path = "/files/{id}",
    tag = "tus",
    operation_id = "tus_terminate",
    security((), ("login" = []), ("token" = ["full", "upload"]), ("basic" = ["full", "upload"])),
    params(("id" = Uuid, Path, description = "Its id"), ("Tus-Resumable" = String, Header, description = "`1.0.0`")),
    responses((status = 204, description = "It is no more")),
    extensions(("x-problems" = json!(["unsupported-version", "busy", "precondition-failed", "locked", "method-not-allowed", "upload-gone", "upload-lost"]))),
)]
pub(crate) async fn terminate(
    State(engine): State<Arc<Engine>>,
    user: Depositor,
    Path(id): Path<Uuid>,
    body: Body,
) -> Result<StatusCode> {
    fields::refuse_body(&body)?;
    match find(&engine, user.account_id, id).await? {
        Found::Open(_) => engine.cancel(user.account_id, id).await?,
        Found::Done(_) if !user.may_replace => {
            return Err(insufficient(
                "to remove a file, a token needs the scope full",
            ));
        }
        Found::Done(done) => engine.remove_file(user.account_id, &done.file).await?,
    }
    Ok(StatusCode::NO_CONTENT)
}
