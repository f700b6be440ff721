//! Uploads that a client of WebDAV begins by tus: a POST with `Tus-Resumable` to the folder that is to
//! hold the file (rclone's vendor "infinitescale" does so). They go on at `/files/`.

use axum::{body::Body, response::Response};
use cloudstore_proto::{lock::covers, upload::OnConflict};
use cloudstore_service::{Kind, Problem};

use super::{
    Call,
    refusal::Result,
    store::{is_folder, no_parent},
};
use crate::{
    dialect::tus::{Place, create_for},
    drop_box::Depositor,
};

/// Creates the upload. What is locked is refused now; who takes a lock while the upload is under way
/// finds the file changed.
pub(super) async fn create(call: Call, origin: &str, body: Body) -> Result<Response> {
    call.states.require(&call.store, &call.path).await?;
    if !call
        .store
        .find(&call.path)
        .await?
        .is_some_and(|there| is_folder(&there))
    {
        return Err(no_parent().into());
    }
    let tokens = call.states.tokens();
    let locks = call.store.locks().await?;
    // The name of the file is in the metadata: any lock on a member of this folder stands against it.
    let mut held = locks.iter().filter(|lock| {
        covers(lock, &call.path) || cloudstore_proto::path::parent(&lock.path) == call.path
    });
    if let Some(lock) = held.find(|lock| !tokens.contains(&lock.token)) {
        let problem = Problem::new(Kind::Locked, "this is locked by somebody else");
        return Err(problem.with("locked", &lock.path).into());
    }
    let user = Depositor {
        account_id: call.user.account_id,
        may_replace: true,
        is_anonymous: false,
        folder: "/".into(),
    };
    let place = Place {
        folder: call.path.clone(),
        on_conflict: OnConflict::Replace,
    };
    let created = create_for(&call.engine, user, origin, place, &call.headers, body).await;
    Ok(created?)
}
