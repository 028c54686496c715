//! What `deploy/` gives to Prometheus and Grafana, held against the shop: each metric that it names exists with the
//! labels that it names, each alert has its row in the runbook, and a real Prometheus carries out all of it.

use std::{
    collections::BTreeSet,
    fs,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    recorded::Process,
    skipped::skip,
    support::{PASSWORD, TestApp},
};

const RULES: &str = include_str!("../../deploy/prometheus/souk.rules.yml");
const CONFIG: &str = include_str!("../../deploy/prometheus/prometheus.yml");
const RULE_TESTS: &str = include_str!("../../deploy/prometheus/souk.tests.yml");
const DASHBOARD: &str = include_str!("../../deploy/grafana/souk.json");
/// How long Prometheus may take to notice something: it scrapes and evaluates once a second here.
const NOTICED: Duration = Duration::from_secs(60);

/// The queries of the dashboard.
fn queries() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

/// The names of the alerts.
fn alerts() -> BTreeSet<&'static str> {
    RULES.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect()
}

/// Each metric that a text names, with the labels that it wants: `name` or `name{label="value", …}`. Matchers that are
/// patterns, and labels that Prometheus itself gives, are left out.
fn selectors(text: &str) -> Vec<(String, Vec<String>)> {
    let is_in_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = ["souk_", "process_"].into_iter().filter_map(|prefix| rest.find(prefix)).min() {
        rest = &rest[at..];
        let name = &rest[..rest.find(|character| !is_in_name(character)).unwrap_or(rest.len())];
        rest = &rest[name.len()..];
        let matchers = rest.strip_prefix('{').and_then(|rest| rest.split('}').next()).unwrap_or_default();
        let plain = matchers.split(',').map(str::trim).filter(|matcher| matcher.contains("=\""));
        let own = plain.filter(|matcher| !matcher.starts_with("job=") && !matcher.starts_with("instance="));
        found.push((name.to_owned(), own.map(str::to_owned).collect()));
    }
    found
}

#[tokio::test]
async fn every_metric_of_the_dashboard_and_the_alerts_exists() {
    let app = TestApp::new().await;
    app.seller().await;
    let customer = app.customer("asha").await;
    customer.buy("CABLE", 1).await;
    customer.post("/auth/login", &json!({"email": "asha@example.com", "password": PASSWORD})).await.expect(200);
    let text = customer.get("/metrics").await.expect_text(200).to_owned();
    let mut wanted = selectors(RULES);
    wanted.extend(queries().iter().flat_map(|query| selectors(query)));
    assert!(wanted.len() > 80, "only {} selectors were seen", wanted.len());
    let exists = |name: &str, labels: &[String]| {
        text.lines().any(|line| match line.split_once(['{', ' ']) {
            Some((series, rest)) => series == name && labels.iter().all(|label| rest.contains(label.as_str())),
            None => false,
        })
    };
    let missing: BTreeSet<_> = wanted.iter().filter(|(name, labels)| !exists(name, labels)).collect();
    assert!(missing.is_empty(), "the shop has no such series: {missing:#?}\n{text}");
    let read = selectors(r#"rate(souk_a{x="1", y=~"2", instance=~"$i"}[5m]) > process_b{job="souk"}"#);
    assert_eq!(read, [("souk_a".to_owned(), vec![r#"x="1""#.to_owned()]), ("process_b".to_owned(), vec![])]);
}

#[test]
fn every_alert_has_its_row_and_its_tests() {
    let operations = include_str!("../../docs/OPERATIONS.md");
    let (_, table) = operations.split_once("| alert | alarm | who |").unwrap();
    let rows = table.split("\n\n").next().unwrap().lines().filter_map(|row| row.split('|').nth(1));
    let named: BTreeSet<&str> = rows.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    assert_eq!(named, alerts());
    assert!(operations.contains("\n### What pages whom\n"));
    let runbooks = RULES.matches("runbook: docs/OPERATIONS.md#what-pages-whom\n").count();
    assert_eq!(runbooks, alerts().len(), "each alert leads to the table");
    for alert in alerts() {
        for side in ["sound", "bad"] {
            assert!(RULE_TESTS.contains(&format!("- name: {alert}, {side}\n")), "{alert} has no test: {side}");
        }
    }
}

#[test]
fn panels_have_their_own_places() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert!(panels.len() > 40 && ids.len() == panels.len(), "{ids:?}");
    let mut taken = BTreeSet::new();
    for panel in panels {
        let side = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        assert!(side("x") + side("w") <= 24, "{}", panel["title"]);
        for x in side("x")..side("x") + side("w") {
            for y in side("y")..side("y") + side("h") {
                assert!(taken.insert((x, y)), "{} lies over another panel", panel["title"]);
            }
        }
    }
}

#[test]
fn promtool_accepts_the_alerts_and_their_tests() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/prometheus");
    for arguments in [
        &["check", "rules", "souk.rules.yml"][..],
        &["check", "config", "prometheus.yml"],
        &["test", "rules", "souk.tests.yml"],
    ] {
        match Command::new("promtool").args(arguments).current_dir(directory).output() {
            Ok(output) => assert!(output.status.success(), "{arguments:?}: {output:?}"),
            Err(error) => return skip("promtool test rules", &format!("promtool cannot be started: {error}")),
        }
    }
}

/// A Prometheus that watches a shop. Dropping it kills it.
struct Prometheus {
    child: Child,
    url: String,
    client: reqwest::Client,
}

impl Prometheus {
    /// Starts it with the configuration of `deploy/`, hurried: it scrapes and evaluates every second, and alerts do not
    /// wait. `None` where there is no such program.
    fn start(directory: &Path, shop: &str) -> Option<Self> {
        let target = shop.trim_start_matches("http://");
        let config = CONFIG.replace("127.0.0.1:9464", target).replace(": 15s", ": 1s");
        assert!(config.contains(target) && config.matches(": 1s").count() == 2, "{config}");
        let rules: Vec<&str> = RULES.lines().filter(|line| !line.trim().starts_with("for: ")).collect();
        fs::write(directory.join("prometheus.yml"), config).unwrap();
        fs::write(directory.join("souk.rules.yml"), rules.join("\n")).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", directory.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", directory.join("series").display()))
            .arg(format!("--web.listen-address={address}"))
            .current_dir(directory)
            .stdout(Stdio::null())
            .stderr(fs::File::create(directory.join("log")).unwrap())
            .spawn();
        match child {
            Ok(child) => Some(Self { child, url: format!("http://{address}/api/v1"), client: reqwest::Client::new() }),
            Err(error) => {
                skip("a run with Prometheus", &format!("prometheus cannot be started: {error}"));
                None
            }
        }
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Option<Value> {
        let url = reqwest::Url::parse_with_params(&format!("{}{path}", self.url), query).unwrap();
        self.client.get(url).send().await.ok()?.json().await.ok()
    }

    /// Whether a query has a result.
    async fn shows(&self, query: &str) -> bool {
        let answer = self.get("/query", &[("query", query)]).await;
        answer.is_some_and(|answer| answer["data"]["result"].as_array().is_some_and(|rows| !rows.is_empty()))
    }

    async fn until_it_shows(&self, query: &str) {
        let began = Instant::now();
        while !self.shows(query).await {
            assert!(began.elapsed() < NOTICED, "{query} shows nothing");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_prometheus_carries_out_every_query_and_raises_an_alert() {
    let directory = tempfile::tempdir().unwrap();
    let mut shop = Process::start(&directory.path().join("data"), &[]);
    let Some(prometheus) = Prometheus::start(directory.path(), &shop.url) else { return };
    prometheus.until_it_shows("up == 1").await;
    prometheus.until_it_shows("souk_ready == 1").await;
    let queries = queries();
    assert!(queries.len() > 50, "{queries:?}");
    for query in queries {
        let query = query.replace("$instance", ".+").replace("$__rate_interval", "10s");
        let answer = prometheus.get("/query", &[("query", &query)]).await.unwrap();
        assert_eq!(answer["status"], "success", "{query}: {answer}");
    }
    assert!(!prometheus.shows(r#"ALERTS{alertname="SoukDown"}"#).await);
    shop.kill();
    prometheus.until_it_shows(r#"ALERTS{alertname="SoukDown", alertstate="firing"}"#).await;
    let groups = prometheus.get("/rules", &[]).await.unwrap()["data"]["groups"].take();
    let rules: Vec<&Value> = groups.as_array().unwrap().iter().flat_map(|g| g["rules"].as_array().unwrap()).collect();
    assert_eq!(rules.len(), alerts().len());
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
}
