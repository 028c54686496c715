//! The program from its start to its end: signals, the lead time of a stop, TLS, and the listener for operators.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use reqwest::{Certificate, Client};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A shop as a process. Dropping it kills it.
struct Running {
    child: Child,
    /// What it printed, in lines.
    greeting: Vec<String>,
    log: mpsc::Receiver<String>,
}

impl Running {
    fn start(data: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_souk"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data).args(arguments);
        command.env("SOUK_LOG", "info").envs(variables.iter().copied());
        Self::begin(command, 1 + usize::from(arguments.contains(&"--admin-listen")))
    }

    /// Starts it, and reads so many lines of its greeting.
    fn begin(mut command: Command, lines: usize) -> Self {
        command.stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, log) = mpsc::channel();
        let errors = child.stderr.take().unwrap();
        thread::spawn(move || {
            BufReader::new(errors).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let printed = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let greeting: Vec<_> = printed.take(lines).collect();
        assert!(!greeting.is_empty(), "{:?}", log.iter().collect::<Vec<_>>());
        Self { child, greeting, log }
    }

    /// The address in the line of the greeting that begins so.
    fn url(&self, begins: &str) -> String {
        let line = self.greeting.iter().find(|line| line.starts_with(begins));
        line.unwrap_or_else(|| panic!("{:?}", self.greeting)).rsplit(' ').next().unwrap().to_owned()
    }

    fn shop(&self) -> String {
        self.url("Souk listens on ")
    }

    fn address(&self) -> SocketAddr {
        self.shop().rsplit('/').next().unwrap().parse().unwrap()
    }

    fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for a line of the log with these words.
    fn logs(&self, words: &str) -> String {
        let began = Instant::now();
        while let Ok(line) = self.log.recv_timeout(PATIENCE.saturating_sub(began.elapsed())) {
            if line.contains(words) {
                return line;
            }
        }
        panic!("the log never says {words:?}");
    }

    fn ends(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return status,
                None if Instant::now() > deadline => panic!("it does not end"),
                None => thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn get(client: &Client, url: &str) -> (u16, String) {
    let answer = client.get(url).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// Waits until `/readyz` answers with this status.
async fn until_ready_is(client: &Client, url: &str, status: u16) {
    let deadline = Instant::now() + PATIENCE;
    while get(client, &format!("{url}/readyz")).await.0 != status {
        assert!(Instant::now() < deadline, "/readyz never answers {status}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn signals_that_mean_nothing_do_nothing_and_those_that_stop_let_requests_finish() {
    let data = tempfile::tempdir().unwrap();
    for stop in [Signal::TERM, Signal::INT, Signal::QUIT, Signal::POWER] {
        let mut shop = Running::start(data.path(), &[], &[]);
        for signal in [
            Signal::USR1,
            Signal::USR2,
            Signal::PIPE,
            Signal::ALARM,
            Signal::VTALARM,
            Signal::PROF,
            Signal::IO,
            Signal::STKFLT,
            Signal::XCPU,
            Signal::XFSZ,
            Signal::HUP,
        ] {
            shop.send(signal);
        }
        shop.logs("SIGHUP: the log filter and the TLS certificate are read again");
        // A request of which the body has not come yet when the shop is told to stop.
        let mut stream = TcpStream::connect(shop.address()).unwrap();
        let body = r#"{"email":"asha@example.com","password":"correct horse battery"}"#;
        let head =
            "POST /auth/register HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n";
        write!(stream, "{head}Content-Length: {}\r\n\r\n", body.len()).unwrap();
        // It has begun when the shop asks for its body.
        let mut asked = [0; 25];
        stream.read_exact(&mut asked).unwrap();
        assert!(asked.starts_with(b"HTTP/1.1 100"), "{}", String::from_utf8_lossy(&asked));
        shop.send(stop);
        shop.logs("stopping: finishing the requests in flight");
        stream.write_all(body.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 201") || answer.starts_with("HTTP/1.1 409"), "{stop:?}: {answer}");
        shop.logs("stopped");
        assert!(shop.ends().success(), "{stop:?}");
    }
}

#[tokio::test]
async fn a_stop_with_a_lead_time_is_announced_before_the_listener_closes() {
    let data = tempfile::tempdir().unwrap();
    let client = Client::new();
    let mut shop = Running::start(data.path(), &[], &[("SOUK_LIMITS__DRAIN_LEAD_MS", "1500")]);
    let url = shop.shop();
    until_ready_is(&client, &url, 200).await;
    let told = Instant::now();
    shop.send(Signal::TERM);
    until_ready_is(&client, &url, 503).await;
    let (status, body) = get(&client, &format!("{url}/readyz")).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["problems"][0]), (503, &"the shop is stopping".into()));
    // Newcomers are served.
    assert_eq!(get(&Client::new(), &format!("{url}/products")).await.0, 200);
    assert!(told.elapsed() < Duration::from_millis(1_500));
    shop.logs("stopping: finishing the requests in flight");
    assert!(told.elapsed() >= Duration::from_millis(1_500));
    assert!(shop.ends().success());

    // Told twice it does not wait.
    let mut shop = Running::start(data.path(), &[], &[("SOUK_LIMITS__DRAIN_LEAD_MS", "3600000")]);
    shop.send(Signal::TERM);
    shop.logs("the listener stays open");
    shop.send(Signal::TERM);
    assert!(shop.ends().success());
}

/// A pair of the two that the tests have, in a directory of its own.
fn put_pair(directory: &Path, certificate: &str, key: &str) -> [PathBuf; 2] {
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls");
    [(format!("{certificate}.pem"), "shop.pem"), (format!("{key}.key"), "shop.key")].map(|(from, to)| {
        let (beside, to) = (directory.join("new"), directory.join(to));
        fs::copy(made.join(from), &beside).unwrap();
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(&beside, &to).unwrap();
        to
    })
}

/// A client that believes this certificate alone.
fn client_of(certificate: &str) -> Client {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/tls/{certificate}.pem"));
    let certificate = Certificate::from_pem(&fs::read(file).unwrap()).unwrap();
    Client::builder().tls_certs_only([certificate]).pool_max_idle_per_host(0).build().unwrap()
}

#[tokio::test]
async fn a_shop_with_a_certificate_speaks_tls_and_takes_another_one_while_it_runs() {
    let directory = tempfile::tempdir().unwrap();
    let [certificate, key] = put_pair(directory.path(), "first", "first");
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let data = directory.path().join("data");
    let mut shop = Running::start(&data, &["--tls-certificate", certificate, "--tls-key", key], &[]);
    let url = format!("{}/livez", shop.shop());
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");
    let answer = client_of("first").get(&url).send().await.unwrap();
    assert_eq!(answer.version(), reqwest::Version::HTTP_2);
    assert_eq!(answer.headers()["strict-transport-security"], "max-age=31536000");
    assert_eq!(answer.text().await.unwrap(), "alive\n");
    assert!(client_of("second").get(&url).send().await.is_err());
    put_pair(directory.path(), "second", "first");
    shop.send(Signal::HUP);
    shop.logs("the new TLS certificate is unusable: the old one stays");
    assert_eq!(get(&client_of("first"), &url).await.0, 200);
    put_pair(directory.path(), "second", "second");
    shop.send(Signal::HUP);
    shop.logs("the TLS certificate was read again");
    assert_eq!(get(&client_of("second"), &url).await.0, 200);
    assert!(client_of("first").get(&url).send().await.is_err());
    // Without a signal, too, and a key that others can read is noticed.
    put_pair(directory.path(), "first", "first");
    fs::set_permissions(key, fs::Permissions::from_mode(0o644)).unwrap();
    shop.logs("a file with secrets is open to others");
    shop.logs("the TLS certificate was read again");
    assert_eq!(get(&client_of("first"), &url).await.0, 200);
    shop.send(Signal::TERM);
    assert!(shop.ends().success());
}

#[test]
fn a_certificate_that_cannot_be_used_is_refused_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let [certificate, key] = put_pair(directory.path(), "first", "second");
    let missing = directory.path().join("missing.pem");
    for (certificate, key, named, says) in [
        (&certificate, &key, "shop.pem", "shop.key"),
        (&key, &key, "shop.key", "no certificate"),
        (&certificate, &certificate, "shop.pem", "no private key"),
        (&missing, &key, "missing.pem", "No such file"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_souk"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--tls-certificate"]).arg(certificate);
        command.arg("--tls-key").arg(key).arg("--data-dir").arg(directory.path().join("data"));
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(named) && said.contains(says), "{said}");
    }
    assert!(!directory.path().join("data").exists(), "no shop is made");
}

#[tokio::test]
async fn operators_have_a_listener_of_their_own() {
    let data = tempfile::tempdir().unwrap();
    let client = Client::new();
    let limits = [("SOUK_LIMITS__CONNECTIONS_MAX", "4"), ("SOUK_LIMITS__CONNECTIONS_PER_PEER_MAX", "4")];
    let mut shop = Running::start(data.path(), &["--admin-listen", "127.0.0.1:0"], &limits);
    let (url, operators) = (shop.shop(), shop.url("For operators it listens on "));
    until_ready_is(&client, &operators, 200).await;
    let (status, metrics) = get(&client, &format!("{operators}/metrics")).await;
    assert!(status == 200 && metrics.contains("souk_connections_open "), "{metrics}");
    let (status, refused) = get(&client, &format!("{url}/metrics")).await;
    assert!(status == 403 && refused.contains("the metrics are on the listener for operators"), "{refused}");
    for (address, path) in [(&operators, "/products"), (&url, "/admin/log"), (&url, "/admin/actors")] {
        assert_eq!(get(&client, &format!("{address}{path}")).await.0, 404, "{address}{path}");
    }

    // The filter of the logs.
    let filter = format!("{operators}/admin/log");
    let (_, shown) = get(&client, &filter).await;
    assert_eq!(shown, r#"{"filter":"info"}"#);
    let set = async |body: &str| {
        let request = client.put(&filter).header("content-type", "application/json").body(body.to_owned());
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(set(r#"{"filter":"info,souk::http=debug"}"#).await.0, 200);
    get(&client, &format!("{url}/products")).await;
    shop.logs("DEBUG");
    for (wrong, says) in [(r#"{"filter":"loud"}"#, "loud"), (r#"{"filter":""}"#, "neither a level"), ("{}", "filter")] {
        let (status, said) = set(wrong).await;
        assert!(status == 422 && said.contains(says), "{wrong}: {said}");
    }
    assert_eq!(get(&client, &filter).await.1, r#"{"filter":"info,souk::http=debug"}"#);
    let by_a_script = client.put(&filter).header("origin", &operators).header("content-type", "application/json");
    assert_eq!(by_a_script.body(r#"{"filter":"off"}"#).send().await.unwrap().status(), 403);
    // What the settings say is set again.
    shop.send(Signal::HUP);
    shop.logs("the log filter was set");
    assert_eq!(get(&client, &filter).await.1, r#"{"filter":"info"}"#);

    // The actors.
    let account = r#"{"email":"asha@example.com","password":"correct horse battery"}"#;
    let request = client.post(format!("{url}/auth/register")).header("content-type", "application/json");
    assert_eq!(request.body(account).send().await.unwrap().status(), 201);
    let deadline = Instant::now() + PATIENCE;
    let (actors, accounts) = loop {
        let (_, actors) = get(&client, &format!("{operators}/admin/actors")).await;
        let actors: Value = serde_json::from_str(&actors).unwrap();
        let kinds = actors["kinds"].as_array().unwrap();
        let accounts = kinds.iter().find(|kind| kind["kind"] == "account").unwrap().clone();
        // A command is counted until a moment after its answer.
        if accounts["mailbox_depth"] == 0 && !accounts["slowest"].is_null() || Instant::now() > deadline {
            break (actors, accounts);
        }
    };
    let kinds = actors["kinds"].as_array().unwrap();
    assert_eq!(
        (&accounts["live"], &accounts["restarts"], &accounts["mailbox_depth"]),
        (&1.into(), &0.into(), &0.into())
    );
    assert!(accounts["slowest"]["milliseconds"].as_f64().unwrap() > 0.0, "{accounts}");
    assert_eq!(kinds.len(), 9);
    let children = actors["children"].as_array().unwrap();
    assert!(children.iter().any(|child| child["name"] == "search" && child["restarts"] == 0), "{actors}");

    // Who takes all connections of the shop's port takes none of theirs, and they see it stop.
    let address = shop.address();
    let flood: Vec<_> = (0..8).map(|_| TcpStream::connect(address).unwrap()).collect();
    let (status, metrics) = get(&Client::new(), &format!("{operators}/metrics")).await;
    assert!(status == 200 && metrics.contains("souk_connections_open "), "{metrics}");
    drop(flood);
    shop.send(Signal::TERM);
    shop.logs("stopped");
    assert!(shop.ends().success());
}

#[tokio::test]
async fn without_that_listener_only_this_machine_sees_the_metrics() {
    let data = tempfile::tempdir().unwrap();
    let client = Client::new();
    let status_of = async |url: &str, headers: &[(&str, &str)]| {
        let mut request = client.get(format!("{url}/metrics"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap().status().as_u16()
    };
    let shop = Running::start(data.path(), &[], &[]);
    let url = shop.shop();
    assert_eq!(status_of(&url, &[]).await, 200);
    // A proxy that nobody has named forwards somebody's request.
    for header in [("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=192.0.2.1"), ("via", "1.1 proxy")] {
        assert_eq!(status_of(&url, &[header]).await, 403, "{header:?}");
    }
    drop(shop);
    let shop = Running::start(data.path(), &[], &[("SOUK_TRUSTED_PROXIES", "127.0.0.1")]);
    let url = shop.shop();
    assert_eq!(status_of(&url, &[]).await, 200);
    assert_eq!(status_of(&url, &[("x-forwarded-for", "192.0.2.1")]).await, 403);
    // A trusted proxy forwards for others, too.
    assert_eq!(status_of(&url, &[("x-forwarded-for", "127.0.0.2")]).await, 403);
}

#[tokio::test]
async fn a_hangup_has_the_log_filter_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let settings = directory.path().join("souk.toml");
    let data = directory.path().join("data");
    fs::write(&settings, "log = \"info\"\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_souk"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(&settings).arg("--data-dir").arg(&data);
    let mut shop = Running::begin(command, 1);
    let url = format!("{}/products", shop.shop());
    fs::write(&settings, "log = \"info,souk::http=debug\"\n").unwrap();
    shop.send(Signal::HUP);
    shop.logs("the log filter was set");
    get(&Client::new(), &url).await;
    shop.logs("DEBUG");
    fs::write(&settings, "log = \"loud\"\n").unwrap();
    shop.send(Signal::HUP);
    let line = shop.logs("the settings cannot be read again");
    assert!(line.contains("loud"), "{line}");
    get(&Client::new(), &url).await;
    shop.logs("DEBUG");
    shop.send(Signal::TERM);
    assert!(shop.ends().success());
}
