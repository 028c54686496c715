//! Question: what do single parts cost: a catalogue file of a million products, an access token, a password? Each has
//! its question, prediction and result below; `-- catalogue token password` picks some.
//!
//! Depends on `support` and on the rooms `catalogue`, `domain` and `identity` of `souk`.
#![allow(clippy::print_stdout, missing_docs, reason = "a bench prints")]

mod support;

use std::{fs::File, io::BufWriter, time::Instant};

use secrecy::{ExposeSecret, SecretString};
use souk::{
    domain::account::Role,
    internals::{
        catalogue::{
            demo::DemoCatalogue,
            read::{Options, Reader},
            write::Writer,
        },
        identity::passwords::Passwords,
    },
};
use support::Latencies;

const PRODUCTS: usize = 1_000_000;
/// The number of access tokens: fewer than are cached.
const TOKENS: usize = 1_000;
const EMAIL: &str = "somebody@example.org";
const PASSWORD: &str = "a long password";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let picked = support::picked();
    let wanted = |name: &str| picked.is_empty() || picked.iter().any(|picked| picked == name);
    // The first, while nothing else has used memory.
    if wanted("catalogue") {
        catalogue()?;
    }
    if wanted("token") {
        token().await;
    }
    if wanted("password") {
        password().await?;
    }
    Ok(())
}

fn catalogue() -> anyhow::Result<()> {
    support::ask(
        "how long to make, write and read a catalogue of a million products?",
        "a minute; memory does not grow",
    );
    let before = support::resident_megabytes_max();
    let began = Instant::now();
    let entries = DemoCatalogue::new(1, PRODUCTS).count();
    println!("Result:     {PRODUCTS} products, {entries} entries: made in {:.1} s", began.elapsed().as_secs_f64());
    let (directory, began) = (support::scratch(), Instant::now());
    let path = directory.path().join("catalogue.jsonl");
    let mut writer = Writer::new(BufWriter::new(File::create(&path)?));
    DemoCatalogue::new(1, PRODUCTS).try_for_each(|entry| writer.write(entry))?;
    writer.finish()?.into_inner().map_err(|error| error.into_error())?.sync_all()?;
    let megabytes = path.metadata()?.len() >> 20;
    println!("            made and written in {:.1} s, {megabytes} MB", began.elapsed().as_secs_f64());
    let (began, mut read) = (Instant::now(), 0);
    for (_, row) in Reader::open(&path, Options::default())? {
        read += row?.into_entries().len();
    }
    anyhow::ensure!(read == entries, "{read} entries were read");
    println!("            read and checked in {:.1} s", began.elapsed().as_secs_f64());
    println!("            the most memory: {} MB, {before} MB before", support::resident_megabytes_max());
    Ok(())
}

async fn token() {
    support::ask("how long to verify an access token, seen before and not?", "1 µs and 30 µs");
    let (shop, _directory) = support::empty_shop().await;
    shop.ensure_account(EMAIL, SecretString::from(PASSWORD), Role::Customer).await.expect("an account");
    let mut session = shop.login(EMAIL, SecretString::from(PASSWORD)).await.expect("a login");
    let mut tokens = Vec::with_capacity(TOKENS);
    for _ in 0..TOKENS {
        tokens.push(session.tokens.access_token.clone());
        session = shop.refresh(session.tokens.refresh_token.expose_secret()).await.expect("new tokens");
    }
    let verify = |latencies: &mut Latencies| {
        for token in &tokens {
            let (now, began) = (shop.clock().now(), Instant::now());
            souk::internals::identity(&shop).verify(token.expose_secret(), now).expect("it is good");
            latencies.record(began);
        }
    };
    let (mut first, mut again) = (Latencies::default(), Latencies::default());
    verify(&mut first);
    let until = support::deadline();
    while Instant::now() < until {
        verify(&mut again);
    }
    for (when, latencies) in [("the first time", first), ("seen before", again)] {
        println!("Result:     {when}: p50 {:.2} µs, p99 {:.2} µs", latencies.at(0.5) * 1e3, latencies.at(0.99) * 1e3);
    }
    shop.close().await.expect("the shop closes");
}

async fn password() -> anyhow::Result<()> {
    support::ask("how long to hash a password, one at a time?", "15 ms");
    let (passwords, mut latencies, until) = (Passwords::new()?, Latencies::default(), support::deadline());
    while Instant::now() < until {
        let began = Instant::now();
        passwords.hash(None, SecretString::from(PASSWORD)).await?;
        latencies.record(began);
    }
    println!("Result:     {}", latencies.show());
    Ok(())
}
