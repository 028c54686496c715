//! TLS: protocols, the limits of handshakes, and certificates that are replaced while the server runs.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use tempfile::TempDir;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore, SupportedProtocolVersion,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
        version::{TLS12, TLS13},
    },
};

use super::*;

const FIRST: [&str; 2] =
    [include_str!("../../../../tests/tls/first.pem"), include_str!("../../../../tests/tls/first.key")];
const SECOND: [&str; 2] =
    [include_str!("../../../../tests/tls/second.pem"), include_str!("../../../../tests/tls/second.key")];
/// The head of a record that says that 512 bytes of a handshake follow, and the beginning of a ClientHello.
const HALF_HELLO: &[u8] = &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];

/// A directory with a certificate and its key.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.replace(FIRST);
        files
    }

    fn paths(&self) -> TlsFiles {
        TlsFiles { certificate: self.0.path().join("shop.pem"), key: self.0.path().join("shop.key") }
    }

    fn replace(&self, [certificate, key]: [&str; 2]) {
        let paths = self.paths();
        put(&paths.certificate, certificate);
        put(&paths.key, key);
    }
}

/// Writes a file beside the old one and puts it in its place, as programs that renew certificates do.
fn put(file: &Path, text: &str) {
    let beside = file.with_extension("new");
    fs::write(&beside, text).unwrap();
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(&beside, file).unwrap();
}

struct WithTls {
    server: Running,
    files: Files,
    tls: Arc<Tls>,
}

impl WithTls {
    async fn new(change: impl FnOnce(&mut Limits)) -> Self {
        let files = Files::new();
        let tls = Tls::load(files.paths(), 600).unwrap();
        let of_server = Arc::clone(&tls);
        let server = Running::serving(change, |server| server.with_tls(of_server)).await;
        Self { server, files, tls }
    }

    async fn connect(&self) -> TlsStream<TcpStream> {
        self.connect_as(&TLS13, &[]).await.unwrap()
    }

    async fn connect_as(
        &self,
        version: &'static SupportedProtocolVersion,
        protocols: &[&str],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        for [certificate, _] in [FIRST, SECOND] {
            roots.add(CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()).unwrap();
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let mut config =
            builder.with_protocol_versions(&[version]).unwrap().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, self.server.connect().await).await
    }

    /// Which of the two certificates new connections get.
    async fn certificate(&self) -> [&'static str; 2] {
        let stream = self.connect().await;
        let shown = stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned();
        let is_shown = |pair: &[&str; 2]| CertificateDer::from_pem_slice(pair[0].as_bytes()).unwrap() == shown;
        [FIRST, SECOND].into_iter().find(is_shown).unwrap()
    }

    /// How often the files were read again and used, and read again and refused.
    fn read_again(&self) -> [u64; 2] {
        self.server.figures.certificates_by_outcome().map(|(_, times)| times)
    }

    async fn until_read_again(&self, times: [u64; 2]) {
        let deadline = Instant::now() + PATIENCE;
        while self.read_again() != times {
            assert!(Instant::now() < deadline, "{:?} instead of {times:?}", self.read_again());
            sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn a_client_gets_the_newest_protocols_that_it_speaks() {
    let shop = WithTls::new(|_| ()).await;
    for version in [&TLS12, &TLS13] {
        for (offered, agreed) in [
            (&["h2", "http/1.1"][..], Some("h2")),
            (&["http/1.1", "h2"], Some("h2")),
            (&["http/1.1"], Some("http/1.1")),
            (&[], None),
        ] {
            let mut stream = shop.connect_as(version, offered).await.unwrap();
            let protocol = stream.get_ref().1.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
            assert_eq!(protocol.as_deref(), agreed, "{offered:?}");
            if agreed == Some("h2") {
                stream.write_all(&[PREFACE, &frame(4, 0, 0, &[]), &get_frame(1, "/small")].concat()).await.unwrap();
                let mut all = Vec::new();
                while !String::from_utf8_lossy(&all).contains("small") {
                    assert!(timeout(PATIENCE, stream.read_buf(&mut all)).await.unwrap().unwrap() > 0, "{all:?}");
                }
            } else {
                let said = answer(&mut stream, SMALL).await;
                assert!(said.starts_with("HTTP/1.1 200") && said.ends_with("small"), "{said}");
                assert!(said.contains("strict-transport-security: max-age=600\r\n"), "{said}");
                assert!(said.contains("keep-alive: timeout=1\r\n"), "{said}");
            }
        }
    }
    let refused = shop.connect_as(&TLS13, &["gopher"]).await.unwrap_err();
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
    assert_eq!(shop.server.figures.handshakes_failed(), 1);
    // Without TLS browsers are told nothing that they would remember.
    let plain = Running::with(|_| ()).await;
    let said = answer(&mut plain.connect().await, SMALL).await;
    assert!(!said.contains("strict-transport-security"), "{said}");
}

#[tokio::test]
async fn a_handshake_that_does_not_end_in_time_ends_its_connection() {
    let shop = WithTls::new(|limits| limits.header_ms_max = 60_000).await;
    for begun in [&b""[..], &[22], HALF_HELLO] {
        let mut stream = shop.server.connect().await;
        stream.write_all(begun).await.unwrap();
        let (said, after) = until_closed(&mut stream).await;
        assert_eq!(said, "", "{begun:?}");
        assert!(after < Duration::from_millis(1_200), "{begun:?}: {after:?}");
    }
    // A byte now and then does not prolong it.
    let (mut read, mut write) = shop.server.connect().await.into_split();
    let drip = tokio::spawn(async move {
        write.write_all(HALF_HELLO).await.unwrap();
        while write.write_all(&[0]).await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    });
    let (_, after) = until_closed(&mut read).await;
    assert!(after < Duration::from_millis(1_200), "{after:?}");
    drip.abort();
    assert_eq!(shop.server.ended("slow_handshake"), 4);
}

#[tokio::test]
async fn after_the_handshake_the_limits_are_those_of_every_connection() {
    let shop = WithTls::new(|_| ()).await;
    let mut silent = shop.connect().await;
    let (said, after) = until_closed(&mut silent).await;
    assert!(said.is_empty() && after < Duration::from_millis(1_200), "{said} {after:?}");
    assert_eq!((shop.server.ended("slow_handshake"), shop.server.ended("slow_head")), (0, 1));
    let mut slow = shop.connect().await;
    let said = answer(&mut slow, "GET /small HT").await;
    assert!(said.starts_with("HTTP/1.1 408"), "{said}");
    let mut bad = shop.connect().await;
    let said = answer(&mut bad, "GET /small HTTP/9.9\r\nHost: x\r\n\r\n").await;
    assert!(said.starts_with("HTTP/1.1 505"), "{said}");
    // It reads none of its answers.
    let mut greedy = shop.connect().await;
    greedy.write_all("GET /large HTTP/1.1\r\nHost: x\r\n\r\n".repeat(500).as_bytes()).await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    while shop.server.ended("slow_reader") == 0 {
        assert!(Instant::now() < deadline, "the connection is never closed");
        sleep(Duration::from_millis(50)).await;
    }
    assert!(shop.server.large.load(Ordering::Relaxed) < 50);
}

#[tokio::test]
async fn connections_in_their_handshake_count_for_their_peer_and_make_room() {
    let shop = WithTls::new(|limits| {
        limits.connections_per_peer_max = 3;
        limits.handshake_ms_max = 60_000;
    })
    .await;
    let mut halves = Vec::new();
    for _ in 0..10 {
        let mut half = shop.server.connect().await;
        half.write_all(HALF_HELLO).await.unwrap();
        halves.push(half);
    }
    let mut honest = shop.connect().await;
    assert!(answer(&mut honest, SMALL).await.starts_with("HTTP/1.1 200"));
    assert!(shop.server.figures.open() <= 3);
    assert!(shop.server.ended("too_many") >= 8);
}

#[tokio::test]
async fn what_is_not_tls_is_told_so() {
    let shop = WithTls::new(|_| ()).await;
    let mut plain = shop.server.connect().await;
    plain.write_all(SMALL.as_bytes()).await.unwrap();
    let (said, _) = until_closed(&mut plain).await;
    assert!(said.starts_with("HTTP/1.1 400") && said.contains("this port speaks TLS"), "{said}");
    assert_eq!(shop.server.refused("without_tls"), 1);
    let mut garbage = shop.server.connect().await;
    garbage.write_all(&[22, 3, 1, 0, 4, 9, 9, 9, 9]).await.unwrap();
    until_closed(&mut garbage).await;
    assert_eq!(shop.server.figures.handshakes_failed(), 1);
}

#[tokio::test]
async fn a_stop_does_not_wait_for_handshakes() {
    let mut shop = WithTls::new(|limits| limits.handshake_ms_max = 60_000).await;
    let mut half = shop.server.connect().await;
    half.write_all(HALF_HELLO).await.unwrap();
    sleep(Duration::from_millis(150)).await;
    drop(shop.server.stop.take());
    let drained = timeout(Duration::from_secs(1), shop.server.drained).await.unwrap().unwrap();
    assert_eq!(drained, Drained::All);
}

#[tokio::test]
async fn a_certificate_is_replaced_when_its_files_change_or_when_asked_to() {
    let shop = WithTls::new(|limits| limits.keep_alive_ms_max = 60_000).await;
    let mut long = shop.connect().await;
    answer(&mut long, SMALL).await;
    assert_eq!(shop.certificate().await, FIRST);
    shop.files.replace(SECOND);
    shop.until_read_again([1, 0]).await;
    assert_eq!(shop.certificate().await, SECOND);
    // Connections stay as they are.
    assert!(answer(&mut long, SMALL).await.starts_with("HTTP/1.1 200"));
    shop.tls.reload();
    shop.until_read_again([2, 0]).await;
    assert_eq!(shop.certificate().await, SECOND);
}

#[tokio::test]
async fn a_bad_pair_leaves_the_old_one_in_its_place() {
    let shop = WithTls::new(|_| ()).await;
    let paths = shop.files.paths();
    let mut refused = 0;
    let halves = SECOND[0].split_at(200);
    for [certificate, key] in [
        [FIRST[0], SECOND[1]],
        [halves.0, SECOND[1]],
        [SECOND[1], SECOND[1]],
        ["", ""],
        [SECOND[0], SECOND[0]],
        ["-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", FIRST[1]],
    ] {
        shop.files.replace([certificate, key]);
        shop.tls.reload();
        refused += 1;
        shop.until_read_again([0, refused]).await;
        assert_eq!(shop.certificate().await, FIRST, "{certificate} {key}");
        Tls::load(paths.clone(), 0).unwrap_err();
    }
    fs::remove_file(&paths.key).unwrap();
    shop.until_read_again([0, refused + 1]).await;
    assert_eq!(shop.certificate().await, FIRST);
    let said = Tls::load(paths.clone(), 0).unwrap_err().to_string();
    assert!(said.contains("shop.key") || said.contains("shop.pem"), "{said}");
    // The certificate came first, and its key a while later.
    shop.files.replace([SECOND[0], FIRST[1]]);
    shop.until_read_again([0, refused + 2]).await;
    put(&paths.key, SECOND[1]);
    shop.until_read_again([1, refused + 2]).await;
    assert_eq!(shop.certificate().await, SECOND);
}
