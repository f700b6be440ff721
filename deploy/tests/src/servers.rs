//! What tests do to the real servers beyond stopping them, through the servers' own tools.

use cloudstore_service::testing::server;
use tokio::process::Command;
use url::Url;

use crate::stack::{Stack, output};

/// The queue of the transfers and its companion for what was given up.
pub const QUEUE: &str = "cloudstore.transfers";
/// Where jobs are published.
const EXCHANGE: &str = "cloudstore";

fn port(address: &str) -> String {
    let url: Url = address.parse().unwrap();
    url.port().unwrap().to_string()
}

/// A statement on the replica, as its operator.
pub async fn on_replica(sql: &str) -> String {
    let port = port(&server("MYSQL_REPLICA_ADMIN_URL"));
    let mut mariadb = Command::new("mariadb");
    mariadb.args(["--no-defaults", "--protocol=tcp", "-h", "127.0.0.1"]);
    mariadb.args(["-P", &port, "-u", "root", "-N", "-B", "-e", sql]);
    output(&mut mariadb).await
}

/// Redis forgets everything.
pub async fn flush_redis() {
    let port = port(&server("REDIS_URL"));
    output(Command::new("redis-cli").args(["-p", &port, "FLUSHALL"])).await;
}

/// The broker's own tool.
async fn rabbitmqctl(stack: &Stack, args: &[&str]) -> String {
    let dir = stack.dir().join("rabbitmq");
    let mut command = match stack.is_root() {
        true => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=rabbitmq", "--regid=rabbitmq", "--init-groups"]);
            command.arg("/usr/lib/rabbitmq/bin/rabbitmqctl");
            command
        }
        false => Command::new("/usr/lib/rabbitmq/bin/rabbitmqctl"),
    };
    command
        .arg("--quiet")
        .args(args)
        .current_dir(&dir)
        .env("HOME", &dir)
        .env("HOSTNAME", "localhost")
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        // As servers.sh has them.
        .env("ERL_EPMD_PORT", "24369")
        .env("RABBITMQ_NODENAME", "cloudstore@localhost")
        .env("RABBITMQ_CONF_ENV_FILE", dir.join("none"));
    output(&mut command).await
}

/// Puts the same message into the queue so many times.
pub async fn publish(stack: &Stack, body: &str, times: usize) {
    let body = body.replace('"', "\\\"");
    let publish = format!(
        "[rabbit_basic:publish(rabbit_misc:r(<<\"/\">>, exchange, <<\"{EXCHANGE}\">>), \
         <<\"{QUEUE}\">>, [], <<\"{body}\">>) || _ <- lists:seq(1, {times})]."
    );
    rabbitmqctl(stack, &["eval", &publish]).await;
}

/// Removes a queue with all that is in it.
pub async fn delete_queue(stack: &Stack, name: &str) {
    rabbitmqctl(stack, &["delete_queue", name]).await;
}

/// How many messages and consumers a queue has; `None` when there is no such queue.
pub async fn queue(stack: &Stack, name: &str) -> Option<(u64, u64)> {
    let queues = rabbitmqctl(stack, &["list_queues", "name", "messages", "consumers"]).await;
    queues.lines().find_map(|line| {
        let mut fields = line.split('\t');
        (fields.next()? == name).then_some(())?;
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    })
}
