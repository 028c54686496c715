//! The secrets of the payment provider appear in nothing that the shop prints, logs or stores while it uses them.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::recorded::{Process, START_MAX, World};

const KEY: &str = "sk_test_canary4711";
/// Two secrets, as during a rotation.
const WEBHOOK_SECRETS: [&str; 2] = ["whsec_canary4712", "whsec_canary4713"];

fn variables() -> [(&'static str, String); 5] {
    [
        ("SOUK_PAYMENTS__PROVIDER", "stripe".into()),
        // Nothing listens there, so the failure is logged.
        ("SOUK_PAYMENTS__URL", "http://127.0.0.1:1".into()),
        ("SOUK_PAYMENTS__KEY", KEY.into()),
        ("SOUK_PAYMENTS__WEBHOOK_SECRETS", WEBHOOK_SECRETS.join(",")),
        ("SOUK_LIMITS__PAYMENT_WAIT_MS_MAX", "200".into()),
    ]
}

#[test]
fn a_file_with_secrets_that_is_open_to_others_is_warned_about() {
    use std::os::unix::fs::PermissionsExt;

    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("key"), KEY).unwrap();
    fs::write(at("webhook"), WEBHOOK_SECRETS[0]).unwrap();
    fs::write(at("rows.jsonl"), "").unwrap();
    let warned = |mode: u32, credentials: &Path| {
        for name in ["key", "webhook"] {
            fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_souk"));
        command
            .arg("import")
            .arg(at("rows.jsonl"))
            .env("SOUK_DATA_DIR", at("data"))
            .env("SOUK_PAYMENTS__PROVIDER", "stripe");
        command
            .env("SOUK_PAYMENTS__WEBHOOK_SECRETS_FILE", at("webhook"))
            .env("SOUK_PAYMENTS__URL", "http://127.0.0.1:1");
        command.env("SOUK_PAYMENTS__KEY_FILE", at("key")).env("CREDENTIALS_DIRECTORY", credentials);
        let Output { stderr, stdout, .. } = command.output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&stderr), String::from_utf8_lossy(&stdout));
        assert!(found_in("what was said", said.as_bytes()).is_empty(), "{said}");
        said.lines().filter(|line| line.contains("is open to others: run chmod go=")).count()
    };
    let elsewhere = Path::new("/run/credentials/another.service");
    assert_eq!(warned(0o644, elsewhere), 2, "the key and the webhook's secret");
    assert_eq!(warned(0o440, elsewhere), 2);
    assert_eq!(warned(0o600, elsewhere), 0);
    // As systemd shows credentials, which the service alone can read.
    assert_eq!(warned(0o440, directory.path()), 0);
    assert_eq!(warned(0o444, directory.path()), 2);
}

fn found_in(what: &str, text: &[u8]) -> Vec<String> {
    let secrets = [KEY, WEBHOOK_SECRETS[0], WEBHOOK_SECRETS[1], "canary47"];
    let holds = |secret: &&str| text.windows(secret.len()).any(|window| window == secret.as_bytes());
    secrets.iter().filter(|secret| holds(secret)).map(|secret| format!("{secret} is in {what}")).collect()
}

fn files(directory: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.is_file() {
            found.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_providers_secrets_are_not_printed_logged_or_stored() {
    let directory = tempfile::tempdir().unwrap();
    let (data, log) = (directory.path().join("data"), directory.path().join("log"));
    let mut command = Process::command(&data, &[]);
    command.envs(variables()).env("SOUK_LOG", "trace").stderr(fs::File::create(&log).unwrap());
    let shop = Process::begin(command, START_MAX).unwrap();
    let mut said: Vec<(String, Vec<u8>)> = Vec::new();

    let world = World::new(&directory.path().join("history.jsonl"), &shop.url);
    let (seller, admin) = (world.enter("s", "seller@demo.example").await, world.enter("a", "admin@demo.example").await);
    seller.list("pen", 700).await;
    seller.set_stock("pen", 5).await;
    let customer = world.enter("c", "c@example.org").await;
    customer.add("pen", 1, None).await;
    let order = customer.checkout(700, "k").await.unwrap();
    let pay = json!({ "order_id": order, "payment_method": "pm_card_visa" });
    let (status, answer) = customer.send(Method::POST, "/payment", pay, None).await.unwrap();
    assert_eq!(status, 202, "nobody knows: {answer}");
    said.push(("the payment".into(), answer.to_string().into_bytes()));
    for path in ["/settings", "/admin/payments/attention", "/admin/payments/reconciliation"] {
        let (status, answer) = admin.send(Method::GET, path, Value::Null, None).await.unwrap();
        assert_eq!(status, 200, "{path}: {answer}");
        said.push((path.into(), answer.to_string().into_bytes()));
    }
    let client = Client::new();
    // A ticket stands in an address, where logs like to show it.
    let path = format!("/orders/{}/events/tickets", order.as_str());
    let (status, issued) = customer.send(Method::POST, &path, Value::Null, None).await.unwrap();
    assert_eq!(status, 200, "{issued}");
    let (ticket, url) = (issued["ticket"].as_str().unwrap(), issued["url"].as_str().unwrap());
    for address in [url.to_owned(), format!("{url}x"), format!("/nowhere?ticket={ticket}"), format!("{url}&a=%zz")] {
        let answer = client.get(format!("{}{address}", shop.url)).send().await.unwrap();
        if answer.status() != 200 {
            said.push((format!("the answer to {}", answer.status()), answer.bytes().await.unwrap().to_vec()));
        }
    }
    let ticket = ticket.as_bytes().to_vec();
    let forged =
        client.post(format!("{}/webhooks/stripe", shop.url)).header("stripe-signature", "t=1,v1=00").body("{}");
    let forged = forged.send().await.unwrap();
    assert_eq!(forged.status(), 400);
    said.push(("the refused notice".into(), forged.bytes().await.unwrap().to_vec()));
    for path in ["/metrics", "/readyz"] {
        let answer = client.get(format!("{}{path}", shop.url)).send().await.unwrap();
        said.push((path.into(), answer.bytes().await.unwrap().to_vec()));
    }
    shop.stop();

    let Output { stdout, stderr, status } =
        Command::new(env!("CARGO_BIN_EXE_souk")).arg("config").envs(variables()).output().unwrap();
    assert!(status.success() && String::from_utf8_lossy(&stdout).contains("stripe"));
    said.extend([("souk config".into(), stdout), ("the errors of souk config".into(), stderr)]);
    let log = fs::read(&log).unwrap();
    assert!(String::from_utf8_lossy(&log).contains("a step of an order is to be repeated"), "the log tells of it");
    said.push(("the log".into(), log));
    files(&data, &mut said);
    assert!(said.len() > 10 && found_in("a log", format!("key={KEY}").as_bytes()).len() == 2, "it would be found");
    let found: Vec<String> = said.iter().flat_map(|(what, text)| found_in(what, text)).collect();
    let shows_it = |text: &[u8]| text.windows(ticket.len()).any(|window| window == ticket);
    assert!(!said.iter().any(|(_, text)| shows_it(text)), "the ticket is shown");
    assert!(found.is_empty(), "{found:?}");
}
