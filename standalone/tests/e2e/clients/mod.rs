//! Clients of others, unchanged, as their registries have them: deploy/local/setup.sh installs them,
//! `package.json` and `requirements.txt` say which.

mod curl;
mod litmus;
mod rclone;
mod tus_js;
mod tuspy;
mod uppy;

use std::{env, path::PathBuf, process::Stdio, time::Duration};

use cloudstore_proto::http::CreatedToken;
use serde_json::json;
use tokio::{process::Command, time::timeout};

use crate::support::{TestStack, User};

/// Far more than any of them takes. Debug builds of two services share two processors with ten others.
const PATIENCE: Duration = Duration::from_secs(500);
const MIB: usize = 1 << 20;

/// How many bytes a client may send twice: what was under way when the line broke, and the heads of its
/// requests. A gateway and the service that passes them on have buffers of their own, which may hold all
/// that came before; what comes out of them late makes the client ask once more where to go on, with
/// as much under way again. There this only shows that it does not go on for ever.
fn on_its_way(stack: &TestStack) -> usize {
    if stack.is_gateway() {
        36 * MIB
    } else {
        3 * MIB
    }
}

/// Where setup.sh puts what is not a package of the system.
fn tools() -> PathBuf {
    let set = env::var_os("CLOUDSTORE_TOOLS").map(PathBuf::from);
    set.unwrap_or_else(|| {
        let home = env::var_os("HOME").expect("HOME or CLOUDSTORE_TOOLS");
        PathBuf::from(home).join(".cache/cloudstore/tools")
    })
}

/// A script beside this file.
fn script(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/e2e/clients")
        .join(name)
}

/// A script for Node with the packages of `package.json`.
fn node(name: &str) -> Command {
    let mut command = Command::new("node");
    let packages = tools().join("clients/node_modules");
    command.arg(script(name)).env("NODE_PATH", packages);
    command
}

/// Runs a client to its good end and gives what it printed.
async fn run(mut command: Command) -> String {
    command.stdin(Stdio::null()).kill_on_drop(true);
    // Some ask the environment for proxies.
    for name in ["http_proxy", "https_proxy", "all_proxy"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    let name = command.as_std().get_program().display().to_string();
    let finished = timeout(PATIENCE, command.output()).await;
    let output = finished.unwrap_or_else(|_| panic!("{name} does not end"));
    let output =
        output.unwrap_or_else(|error| panic!("{name} (setup.sh test installs it): {error}"));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{name}: {}\n{printed}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    printed
}

impl User {
    /// A token for a program.
    async fn api_token(&self, scope: &str) -> String {
        let body = json!({ "name": "a client", "scope": scope, "expires_in": 3_600 });
        let created: CreatedToken = self.post("/api/v1/tokens", &body).await.json(201);
        created.token
    }
}
