//! How far a database has to be, and how far it got, in the call being served.
//!
//! A position names a state of the primary that contains a write. Whoever writes gets one back and
//! sends it with later calls; a read with a position is answered from a state that contains the
//! write, whichever server answers. The text is the database's own and opaque to everybody else.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

tokio::task_local! {
    static CALL: Arc<Call>;
}

#[derive(Debug, Default)]
struct Call {
    required: Option<String>,
    reached: Mutex<Option<String>>,
}

/// Runs a call that has to see the state named by `required`; says which state it made, if it
/// wrote something, whether it failed or not.
pub async fn scope<F: Future>(required: Option<String>, call: F) -> (F::Output, Option<String>) {
    let state = Arc::new(Call {
        required,
        reached: Mutex::default(),
    });
    let output = CALL.scope(state.clone(), call).await;
    let reached = state
        .reached
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    (output, reached)
}

/// The state that a read of this call has to see; `None` when any will do, and outside of a call.
#[must_use]
pub fn required() -> Option<String> {
    CALL.try_with(|call| call.required.clone()).ok().flatten()
}

/// Notes the state after a commit of this call. The last one counts. Outside of a call nobody asks.
pub fn reached(position: String) {
    // Without a call there is nobody who could come back with the position.
    let _ = CALL.try_with(|call| {
        *call.reached.lock().unwrap_or_else(PoisonError::into_inner) = Some(position);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_has_its_own_positions() {
        let (seen, after) = scope(Some("0-1-7".to_owned()), async {
            reached("0-1-8".to_owned());
            let inner = scope(None, async { required() }).await;
            assert_eq!(inner, (None, None));
            reached("0-1-9".to_owned());
            required()
        })
        .await;
        assert_eq!(
            (seen.as_deref(), after.as_deref()),
            (Some("0-1-7"), Some("0-1-9"))
        );
        reached("outside".to_owned());
        assert_eq!(required(), None);
    }
}
