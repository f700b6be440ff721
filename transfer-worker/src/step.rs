//! Places where tests let the process die, as by `kill -9`. Built only with the feature
//! `failpoints`, they are chosen by the environment: `FAILPOINTS="after-claim=return"`.

/// The places, in the order in which a transfer passes them.
pub const STEPS: [&str; 8] = [
    "after-claim",
    "after-open",
    "during-parts",
    "after-blob",
    "after-outboard",
    "before-commit",
    "after-commit",
    "after-removal",
];

/// Lets the process die here, if it is this step's turn.
#[cfg(feature = "failpoints")]
pub(crate) fn step(name: &'static str) {
    debug_assert!(STEPS.contains(&name), "{name}");
    fail::fail_point!(name, |_| std::process::abort());
}

/// Nothing, in every build but that for such tests.
#[cfg(not(feature = "failpoints"))]
pub(crate) fn step(_name: &'static str) {}

/// Reads which steps the environment has chosen, once in a process.
pub(crate) fn read_environment() {
    #[cfg(feature = "failpoints")]
    {
        static READ: std::sync::Once = std::sync::Once::new();
        READ.call_once(|| std::mem::forget(fail::FailScenario::setup()));
    }
}
