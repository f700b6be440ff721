//! For tests: where the real servers of this machine are.

/// The address of a server, as `deploy/local/servers.env` or the environment (with the prefix
/// `CLOUDSTORE_TEST_`) has it. Whoever uses it fails when the server is not there: `make test`
/// starts all of them.
///
/// # Panics
/// For a name that the file does not have.
#[must_use]
pub fn server(name: &str) -> String {
    if let Ok(value) = std::env::var(format!("CLOUDSTORE_TEST_{name}")) {
        return value;
    }
    let lines = include_str!("../../deploy/local/servers.env").lines();
    let mut pairs = lines.filter_map(|line| line.split_once('='));
    let found = pairs.find_map(|(key, value)| (key == name).then(|| value.to_owned()));
    found.unwrap_or_else(|| panic!("deploy/local/servers.env has no {name}"))
}
