//! The socket of the operator's commands: clients that are silent, slow, too many, or no clients at all.

use std::{os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};

use serde_json::{Value, json};
use souk::{
    domain::{account::Role, product::Details},
    internals::app::control::{
        Request, Upkeep,
        client::{Connection, ControlError},
        server::{Control, ControlLimits},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::support::TestApp;

/// A shop whose socket is served with limits that a test does not wait long for.
struct Served {
    app: TestApp,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Served {
    async fn new() -> Self {
        let app = TestApp::new().await;
        let limits = ControlLimits {
            commands_max: 1,
            write_max: Duration::from_millis(500),
            idle_max: Duration::from_millis(500),
            ..ControlLimits::default()
        };
        let stop = CancellationToken::new();
        let control = Control::bind(&app.shop, limits).unwrap();
        let serving = tokio::spawn(control.serve(app.shop.clone(), stop.clone()));
        Self { app, stop, serving }
    }

    fn socket(&self) -> PathBuf {
        self.app.shop.config().data_dir.join("control/souk.sock")
    }

    async fn raw(&self) -> UnixStream {
        UnixStream::connect(self.socket()).await.unwrap()
    }

    async fn compact(&self) -> Result<(), ControlError> {
        let mut connection = Connection::open(&self.app.shop.config().data_dir).await.unwrap().unwrap();
        connection.ask(&Request::Upkeep(Upkeep::Compact), |_| {}).await.map(drop)
    }

    /// Waits until a command is served again.
    async fn is_free(&self) {
        for _ in 0..100 {
            match self.compact().await {
                // The command's own place is free a moment after its answer.
                Ok(()) => return tokio::time::sleep(Duration::from_millis(200)).await,
                Err(ControlError::Busy) => tokio::time::sleep(Duration::from_millis(50)).await,
                Err(error) => panic!("{error}"),
            }
        }
        panic!("the place is not freed");
    }

    async fn end(self) {
        self.stop.cancel();
        self.serving.await.unwrap();
    }
}

/// A message as the client sends it.
fn frame(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap();
    [&length.to_be_bytes()[..], text.as_bytes()].concat()
}

const IMPORT: &str = r#"{"import":{"seller":null,"set_stock":"once","dry_run":false}}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_are_silent_or_read_nothing_free_their_places() {
    let served = Served::new().await;
    let mode = std::fs::metadata(served.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let silent = served.raw().await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(matches!(served.compact().await, Err(ControlError::Busy)), "one command at a time");
    served.is_free().await;
    drop(silent);

    let mut idle = served.raw().await;
    idle.write_all(&frame(IMPORT)).await.unwrap();
    served.is_free().await;
    drop(idle);

    // A catalogue that fits into no buffer, for a client that does not read it.
    let admin = served.app.user("admin", Role::Admin).await;
    for number in 0..200 {
        let description = "long ".repeat(6_000);
        let body = json!({"id": format!("l-{number}"), "name": "L", "description": description});
        admin.post("/products", &body).await.expect(201);
    }
    let mut deaf = served.raw().await;
    deaf.write_all(&frame(r#""export""#)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(matches!(served.compact().await, Err(ControlError::Busy)), "the export is under way");
    served.is_free().await;
    drop(deaf);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_message_is_refused_and_the_shop_goes_on() {
    let served = Served::new().await;
    let long = u32::MAX.to_be_bytes();
    let row = r#"{"number":1,"keep_price":false,"row":{"change":{"id":"no id","price":null,"stock":1}}}"#;
    for (bytes, expected) in [
        (frame("nonsense"), "cannot be read"),
        (frame(r#"{"delete":"everything"}"#), "cannot be read"),
        (long.to_vec(), "frame"),
        ([frame(IMPORT), frame("nonsense")].concat(), "cannot be read"),
        ([frame(IMPORT), frame(row)].concat(), "not a valid product id"),
        ([frame(IMPORT), long.to_vec()].concat(), "frame"),
        (frame("\"expo")[..6].to_vec(), ""),
        (vec![], ""),
    ] {
        let mut stream = served.raw().await;
        stream.write_all(&bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.contains(expected), "{answer:?} {expected:?}");
        served.is_free().await;
    }
    served.app.anonymous().get("/products").await.expect(200);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_of_a_client_that_is_gone_is_taken_whole() {
    let served = Served::new().await;
    let entry = |number: usize| {
        let details = Details { title: "Kept".into(), ..Details::default() };
        json!({"id": format!("k-{number}"), "details": details, "stock": 3})
    };
    let entries: Vec<Value> = (0..200).map(entry).collect();
    let row = json!({"number": 1, "keep_price": false, "row": {"product": entries}});
    let mut client = served.raw().await;
    client.write_all(&frame(IMPORT)).await.unwrap();
    // The shop is ready for rows. A client that leaves without reading that has its connection reset, and no row begun.
    let length = client.read_u32().await.unwrap();
    client.read_exact(&mut vec![0; length.try_into().unwrap()]).await.unwrap();
    client.write_all(&frame(&row.to_string())).await.unwrap();
    drop(client);
    served.is_free().await;
    let admin = served.app.user("admin", Role::Admin).await;
    for number in 0..200 {
        admin.get(&format!("/products/k-{number}")).await.expect(200);
        assert_eq!(admin.inventory(&format!("k-{number}")).await["on_hand"], 3);
    }
    served.end().await;
}
