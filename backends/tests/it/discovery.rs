//! Instances and settings that never change.

use std::{collections::HashMap, sync::Arc};

use cloudstore_backends::discovery::{
    Discovery as _, Settings,
    fixed::FixedDiscovery,
    testing::{self, registration},
};

#[tokio::test]
async fn contract() {
    let fixed = FixedDiscovery::new(HashMap::new(), Settings::new());
    testing::contract(Arc::new(fixed), "fixed").await;
}

#[tokio::test]
async fn what_is_given_is_there_from_the_start() {
    let address = "127.0.0.1:1".parse().unwrap();
    let instance = |id| registration("upload-svc", id, address).instance;
    let given = HashMap::from([("upload-svc".to_owned(), vec![instance("b"), instance("a")])]);
    let settings = [("settings/x", "1"), ("settings/", "?"), ("keys/y", "2")];
    let settings = settings.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()));
    let fixed = FixedDiscovery::new(given, settings.into());
    assert_eq!(
        *fixed.watch("upload-svc").borrow(),
        [instance("a"), instance("b")]
    );
    assert!(fixed.watch("dbproxy").borrow().is_empty());
    let expected = Settings::from([("x".to_owned(), b"1".to_vec())]);
    assert_eq!(*fixed.watch_settings("settings/").borrow(), expected);
    assert_eq!(fixed.read_settings("settings/").await.unwrap(), expected);
}
