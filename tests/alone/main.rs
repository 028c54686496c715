//! The library without the feature `stripe`, as a program that embeds it may compile it:
//! `cargo test --test alone --no-default-features`.
#![cfg(not(feature = "stripe"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use souk::{
    Config, Shop,
    config::{ConfigError, Payments, Provider},
    shop::OpenShopError,
};

#[tokio::test]
async fn a_provider_whose_adapter_is_left_out_is_refused_before_anything_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let data_dir = directory.path().join("data");
    for provider in [Provider::Stripe, Provider::Simulator] {
        let url = Some("http://127.0.0.1:1".to_owned());
        let payments = Payments { provider, url, key_file: Some("/nowhere/key".into()), ..Payments::default() };
        let refused = Shop::open(Config { data_dir: data_dir.clone(), payments, ..Config::default() }).await.err();
        let refused = refused.unwrap();
        let OpenShopError::Config(ConfigError::NoAdapter { provider: named }) = &refused else { panic!("{refused}") };
        assert_eq!(*named, provider);
        assert!(refused.to_string().contains("needs the feature `stripe`"), "{refused}");
        assert!(!data_dir.exists(), "a data directory was made");
    }
    let simulated = Config { data_dir, ..Config::default() };
    Shop::open(simulated).await.unwrap().close().await.unwrap();
}
