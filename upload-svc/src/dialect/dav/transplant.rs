//! COPY and MOVE (RFC 4918 sections 9.8 and 9.9): one transaction, whatever hangs below.

use axum::{
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use cloudstore_proto::{file::CopyRequest, path};
use cloudstore_service::{Kind, Problem};

use super::{
    super::malformed,
    Call, Depth, href,
    refusal::{Refusal, Result},
    store::no_parent,
};

/// Where to.
struct Target {
    path: String,
    /// What is there may go.
    overwrite: bool,
    /// Something is there.
    is_taken: bool,
}

/// COPY: no content is moved, the copy refers to the same.
pub(super) async fn copy(call: Call) -> Result<Response> {
    let depth = call.depth(Depth::Infinity, &[Depth::Zero, Depth::Infinity])?;
    let target = target(&call).await?;
    let request = CopyRequest {
        from: call.path.clone(),
        to: target.path.clone(),
        replace: target.overwrite,
        shallow: depth == Depth::Zero,
        precondition: Some(call.precondition()),
        ..CopyRequest::default()
    };
    done(&target, call.store.copy(request).await)
}

/// MOVE: in constant time.
pub(super) async fn rename(call: Call) -> Result<Response> {
    call.depth(Depth::Infinity, &[Depth::Infinity])?;
    let target = target(&call).await?;
    let (to, replace, under) = (target.path.clone(), target.overwrite, call.precondition());
    let moved = call.store.rename(call.path, to, replace, under).await;
    done(&target, moved)
}

/// What both begin with.
async fn target(call: &Call) -> Result<Target> {
    let overwrite = match call.headers.get("overwrite").map(|value| value.as_bytes()) {
        None | Some(b"T" | b"t") => true,
        Some(b"F" | b"f") => false,
        Some(_) => return Err(malformed("Overwrite is neither T nor F").into()),
    };
    let path = href::destination(&call.headers)?;
    call.states.require(&call.store, &call.path).await?;
    call.below_root()?;
    // What is missing at the source is 404, at the target 409.
    call.there().await?;
    if path == call.path || path == "/" {
        let detail = "nothing can take its own place, or that of the root folder";
        return Err(Problem::new(Kind::Forbidden, detail).into());
    }
    let path = path::normalize_new(&path).map_err(Problem::from)?;
    let is_taken = call.store.find(&path).await?.is_some();
    Ok(Target {
        path,
        overwrite,
        is_taken,
    })
}

fn done(target: &Target, done: cloudstore_service::Result<()>) -> Result<Response> {
    match done {
        Ok(()) if target.is_taken => Ok(StatusCode::NO_CONTENT.into_response()),
        Ok(()) => Ok(StatusCode::CREATED.into_response()),
        Err(problem) if problem.kind() == Kind::NotFound => Err(no_parent().into()),
        Err(problem) => Err(Refusal::from(problem)
            .instead(Kind::NameConflict, Kind::PreconditionFailed)
            // Into itself.
            .instead(Kind::InvalidPath, Kind::Forbidden)),
    }
}
