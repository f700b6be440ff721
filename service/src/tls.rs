//! The one TLS implementation of the process.

/// Makes ring the provider of every rustls client in the process. Each `main` calls it first;
/// later calls change nothing.
pub fn install_provider() {
    // Failing means that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
