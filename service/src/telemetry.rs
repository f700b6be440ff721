//! Logs and metrics of the process.

use std::{
    io::{IsTerminal as _, stderr},
    sync::OnceLock,
};

use clap::ValueEnum;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde::Serialize;
use tracing_subscriber::{EnvFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Pretty,
    /// One JSON object a line, for machines.
    Json,
}

/// Upper bounds in seconds of the buckets of every `*_duration_seconds` histogram: from an answer
/// out of memory to a large upload.
const DURATION_BUCKETS: &[f64] = &[
    0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0,
];

/// Writes logs to stderr from now on. `filter` is a `tracing` directive list such as
/// `info,cloudstore_upload=debug`; invalid directives are left out. Later calls change nothing.
pub fn init(format: LogFormat, filter: &str) {
    let filter = EnvFilter::builder().parse_lossy(filter);
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal());
    // Failing means that somebody (a test) listens already.
    let _ = match format {
        LogFormat::Pretty => registry.with(lines).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
}

/// The process's metrics; the first call starts recording. Several services, or several tests, in
/// one process share them.
pub fn metrics() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(
                Matcher::Suffix("_duration_seconds".into()),
                DURATION_BUCKETS,
            )
            .expect("the list of buckets is not empty")
            .build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another metrics recorder is installed; /metrics stays empty");
        }
        describe();
        handle
    })
}

fn describe() {
    metrics::describe_counter!("cloudstore_http_requests_total", "HTTP requests answered");
    metrics::describe_histogram!(
        "cloudstore_http_request_duration_seconds",
        metrics::Unit::Seconds,
        "From the request's head to the response's head"
    );
    metrics::describe_gauge!(
        "cloudstore_http_requests_in_flight",
        "HTTP requests being served"
    );
    metrics::describe_gauge!("cloudstore_http_connections", "Open HTTP connections");
    metrics::describe_histogram!(
        "cloudstore_rpc_duration_seconds",
        metrics::Unit::Seconds,
        "Calls to other services, with their repetitions"
    );
    metrics::describe_counter!(
        "cloudstore_rpc_retries_total",
        "Calls to other services that were sent again"
    );
}
