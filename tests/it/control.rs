//! The socket of the operator's commands: clients that are silent, slow, too many, or no clients at all.

use std::{
    io::Write as _,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::{CWD, FileType, Mode};
use serde_json::{Value, json};
use souk::{
    clock::Clock,
    config::Config,
    domain::{
        account::Role,
        ids::{ProductId, SellerId},
        product::{Details, Editor, Variant},
    },
    internals::{
        app::{
            control::{
                Request, Upkeep,
                client::{Connection, ControlError},
                server::{Control, ControlLimits},
            },
            failure::FailureKind,
            import::{Rows, Source, import_file},
        },
        catalogue::read::Options,
    },
    shop::import::{Listing, SetStock, Terms},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
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
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let app = TestApp::with(change, Clock::system()).await;
        let limits = ControlLimits {
            commands_max: 1,
            write_max: Duration::from_millis(500),
            idle_max: Duration::from_millis(500),
            beat: Duration::from_millis(50),
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
        let mut connection =
            Connection::open(&self.app.shop.config().data_dir, Duration::from_secs(30)).await.unwrap().unwrap();
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

/// The next message that the client receives.
async fn message(client: &mut UnixStream) -> Value {
    let length = client.read_u32().await.unwrap();
    let mut text = vec![0; length.try_into().unwrap()];
    client.read_exact(&mut text).await.unwrap();
    serde_json::from_slice(&text).unwrap()
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
    let row = r#"{"row":{"number":1,"keep":[],"row":{"change":{"id":"no id","price":null,"stock":1}}}}"#;
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
    let row = json!({"row": {"number": 1, "keep": [], "row": {"product": entries}}});
    let mut client = served.raw().await;
    client.write_all(&frame(IMPORT)).await.unwrap();
    // The shop is ready for rows. A client that leaves without reading that has its connection reset, and no row begun.
    assert_eq!(message(&mut client).await, json!("working"));
    assert_eq!(message(&mut client).await["ready"]["rows_max"], 32);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_waits_for_a_busy_shop_and_not_for_a_silent_one() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("control/souk.sock");
    std::fs::create_dir(socket.parent().unwrap()).unwrap();
    // A process that is stopped in its tracks: its socket takes connections, and nobody answers.
    let listener = UnixListener::bind(&socket).unwrap();
    let silence_max = Duration::from_millis(400);
    let open = async || Connection::open(directory.path(), silence_max).await.unwrap().unwrap();
    let ask = async |mut connection: Connection| connection.ask(&Request::Upkeep(Upkeep::Compact), |_| {}).await;
    assert!(matches!(ask(open().await).await, Err(ControlError::Silent(_))));
    let exported = open().await.export(Vec::new()).await;
    assert!(matches!(exported, Err(ControlError::Silent(_))), "{exported:?}");
    let imported = open().await.import(None, SetStock::Once, false).await;
    assert!(matches!(imported.err(), Some(ControlError::Silent(_))));

    let connection = open().await;
    let busy = tokio::spawn(async move {
        for _ in 0..3 {
            listener.accept().await.unwrap();
        }
        let (mut stream, _) = listener.accept().await.unwrap();
        for _ in 0..10 {
            stream.write_all(&frame("\"working\"")).await.unwrap();
            tokio::time::sleep(silence_max / 4).await;
        }
        stream.write_all(&frame(r#"{"failed":{"reason":"full","kind":"temporary"}}"#)).await.unwrap();
        stream
    });
    let failed = ask(connection).await.unwrap_err();
    assert!(matches!(&failed, ControlError::Failed(failure) if failure.kind == FailureKind::Temporary), "{failed:?}");
    busy.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_out_of_a_slow_pipe_keeps_its_place() {
    let served = Served::new().await;
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("rows.jsonl");
    rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let writer = std::thread::spawn({
        let pipe = pipe.clone();
        move || {
            let mut output = std::fs::File::create(pipe).unwrap();
            for number in 0..4 {
                // Longer than the shop waits for a client that is silent.
                std::thread::sleep(Duration::from_millis(700));
                writeln!(output, r#"{{"id":"s-{number}","title":"Slow"}}"#).unwrap();
            }
        }
    });
    let connection = Connection::open(&served.app.shop.config().data_dir, Duration::from_secs(30)).await;
    let rows = connection.unwrap().unwrap().import(None, SetStock::Once, false).await.unwrap();
    let source = Source { path: &pipe, options: Options::default(), from_line: 1 };
    let mut rows = Rows::Running(Box::new(rows));
    let outcome = import_file(&mut rows, source, &CancellationToken::new(), |_| {}).await.unwrap();
    assert!(outcome.stopped.is_none(), "{outcome:?}");
    assert_eq!(outcome.summary.imported.changed, 4);
    writer.join().unwrap();
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_without_its_client_keeps_its_place_until_it_ends() {
    let served = Served::with(|config| config.retention.work_percent = 1).await;
    let admin = served.app.user("admin", Role::Admin).await;
    for number in 0..200 {
        let body = json!({"id": format!("b-{number}"), "name": "B", "description": "long ".repeat(6_000)});
        admin.post("/products", &body).await.expect(201);
    }
    let directory = tempfile::tempdir().unwrap();
    let to = directory.path().join("backup");
    let mut client = served.raw().await;
    client.write_all(&frame(&json!({"upkeep": {"backup": {"to": to}}}).to_string())).await.unwrap();
    assert_eq!(message(&mut client).await, json!("working"));
    drop(client);
    let mut refused = 0;
    while let Err(error) = served.compact().await {
        assert!(matches!(error, ControlError::Busy), "{error}");
        refused += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(refused > 0, "the backup was too fast");
    assert!(to.join("manifest.json").exists(), "the place is free, and the backup is still written");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_keep_their_kind_over_the_socket() {
    let served = Served::new().await;
    let directory = tempfile::tempdir().unwrap();
    let kind = async |to: &Path| {
        let mut connection =
            Connection::open(&served.app.shop.config().data_dir, Duration::from_secs(30)).await.unwrap().unwrap();
        let wanted = Request::Upkeep(Upkeep::Backup { to: to.to_owned() });
        match connection.ask(&wanted, |_| {}).await {
            Err(ControlError::Failed(failure)) => failure.kind,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(kind(directory.path()).await, FailureKind::Usage, "it is there");
    served.is_free().await;
    assert_eq!(kind(Path::new("relative")).await, FailureKind::Usage);
    served.is_free().await;
    assert_eq!(kind(Path::new("/dev/null/backup")).await, FailureKind::Usage, "not a directory");
    served.is_free().await;
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_product_larger_than_any_message_is_exported() {
    let served = Served::new().await;
    let terms = Terms { by: Editor::Admin(SellerId(0)), set_stock: SetStock::Once, dry_run: false };
    let attribute = |number: usize| (format!("a{number}"), "x".repeat(1_000));
    let listing =
        |id: String, details: Details| Listing { id: id.parse().unwrap(), details, stock: None, keep: Vec::new() };
    let parent: ProductId = "big".parse().unwrap();
    let ids: Vec<String> = (0..180).map(|number| format!("big:{number}")).collect();
    let variants = ids.iter().map(|id| Variant { product: id.parse().unwrap(), options: Vec::new() }).collect();
    for id in &ids {
        let details = Details {
            title: "Big".into(),
            attributes: (0..200).map(attribute).collect(),
            variant_of: Some(parent.clone()),
            ..Details::default()
        };
        served.app.shop.import_products(terms, vec![listing(id.clone(), details)]).await.unwrap();
    }
    let details = Details { title: "Big".into(), variants, ..Details::default() };
    served.app.shop.import_products(terms, vec![listing("big".into(), details)]).await.unwrap();
    let mut connection =
        Connection::open(&served.app.shop.config().data_dir, Duration::from_secs(30)).await.unwrap().unwrap();
    let mut file = Vec::new();
    let products = connection.export(&mut file).await.unwrap();
    assert_eq!(products, 181);
    assert!(file.len() > 34_000_000, "{}", file.len());
    assert_eq!(file.iter().filter(|&&byte| byte == b'\n').count(), 181);
    served.end().await;
}
