//! Debian's Prometheus asks a running mesh, with our rules and our configuration: every query of
//! every dashboard and every alert finds the metrics that it names, and what is counted is what
//! happened.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bytes::Bytes;
use firstcome_e2e::{Sale, Shop, scenario, shop::Terms};
use firstcome_local::{Role, Service, port};
use firstcome_proto::{
    Reason,
    inventory_v1::{WatchStockRequest, stock_service_client::StockServiceClient},
};
use firstcome_testkit::eventually;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::Value as Json;
use sqlx::PgPool;
use tokio::process::{Child, Command};

/// Prometheus begins in a second; a debug mesh on two cores that others use takes longer to answer.
const SOON: Duration = Duration::from_secs(60);
/// Between two looks at what Prometheus knows.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// How often our own configuration asks, and how often the story does.
const INTERVAL: (&str, &str) = ("interval: 5s", "interval: 1s");
/// What Grafana puts in place of its variables.
const RANGE: (&str, &str) = ("$__rate_interval", "1m");
/// What the names of all our metrics begin with, and of those that every program tells.
const PREFIXES: [&str; 3] = ["firstcome_", "firstcome:", "process_"];
/// Queries that rightly find nothing in a story of one minute.
const MAY_BE_EMPTY: [&str; 0] = [];

fn prometheus() -> Option<PathBuf> {
    let path = std::env::var_os("FIRSTCOME_PROMETHEUS").filter(|path| !path.is_empty());
    if path.is_none() {
        eprintln!("skipped: FIRSTCOME_PROMETHEUS names no prometheus");
    }
    path.map(PathBuf::from)
}

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

fn promtool(prometheus: &Path, arguments: &[&str]) {
    let output = std::process::Command::new(prometheus.with_file_name("promtool"))
        .args(arguments)
        .current_dir(deploy().join("prometheus"))
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said));
}

#[test]
fn promtool_accepts_our_rules_and_their_tests_pass() {
    let Some(prometheus) = prometheus() else { return };
    promtool(&prometheus, &["check", "rules", "rules.yml"]);
    promtool(&prometheus, &["check", "config", "prometheus.yml"]);
    promtool(&prometheus, &["test", "rules", "rules.test.yml"]);
}

/// Every alert leads to a page of the runbook that is there.
#[test]
fn every_alert_has_its_place_in_the_runbook() {
    let rules = fs::read_to_string(deploy().join("prometheus/rules.yml")).unwrap();
    let runbook = fs::read_to_string(deploy().join("RUNBOOK.md")).unwrap();
    let headings = runbook.lines().filter_map(|line| line.strip_prefix("### "));
    let anchors: BTreeSet<String> = headings.map(str::to_lowercase).collect();
    let names = |prefix: &str| -> Vec<&str> {
        rules.lines().filter_map(|line| line.trim().strip_prefix(prefix)).collect()
    };
    let alerts = names("- alert: ");
    let links = names("runbook_url: deploy/RUNBOOK.md#");
    assert!(alerts.len() >= 15, "{alerts:?}");
    assert_eq!(alerts.len(), links.len());
    for (alert, link) in alerts.iter().zip(links) {
        assert_eq!(link, alert.to_lowercase(), "{alert} links to its own name");
        assert!(anchors.contains(link), "the runbook has no heading for {alert}");
    }
}

/// A Prometheus that asks one mesh; dropping it kills it.
struct Watcher {
    url: String,
    _process: Child,
    _folder: PathBuf,
}

impl Watcher {
    /// Starts with our files, in which only places and intervals are others.
    async fn start(program: &Path, folder: PathBuf, targets: &[(Service, u16)]) -> Self {
        let ours = |name: &str| fs::read_to_string(deploy().join("prometheus").join(name)).unwrap();
        let mut config = ours("prometheus.yml").replace(INTERVAL.0, INTERVAL.1);
        assert_eq!(config.matches(INTERVAL.1).count(), 2);
        for (service, port) in targets {
            let target = format!("{}:9100", service.name().trim_start_matches("firstcome-"));
            assert_eq!(config.matches(&target).count(), 1, "{target}");
            config = config.replace(&target, &format!("127.0.0.1:{port}"));
        }
        fs::write(folder.join("prometheus.yml"), config).unwrap();
        fs::write(folder.join("rules.yml"), ours("rules.yml").replace(INTERVAL.0, INTERVAL.1))
            .unwrap();
        let port = port::free_row(1).unwrap()[0];
        let log = fs::File::create(folder.join("prometheus.log")).unwrap();
        let process = Command::new(program)
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(["--log.level=warn"])
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { url: format!("http://127.0.0.1:{port}"), _process: process, _folder: folder }
    }

    async fn get(&self, path: &str) -> Result<Json, String> {
        let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
        let request = Request::get(format!("{}{path}", self.url)).body(Empty::new()).unwrap();
        let answer = client.request(request).await.map_err(|error| error.to_string())?;
        let body = answer.into_body().collect().await.map_err(|error| error.to_string())?;
        let answer: Json =
            serde_json::from_slice(&body.to_bytes()).map_err(|error| error.to_string())?;
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"].clone()),
            _ => Err(answer["error"].to_string()),
        }
    }

    /// The series that a query gives now.
    async fn query(&self, expression: &str) -> Result<Vec<Json>, String> {
        let expression: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let data = self.get(&format!("/api/v1/query?query={expression}")).await?;
        data["result"].as_array().cloned().ok_or_else(|| format!("no vector: {data}"))
    }

    /// The one number that a query gives; `None` when it gives none, or several.
    async fn number(&self, expression: &str) -> Option<f64> {
        let series = self.query(expression).await.ok()?;
        let [one] = series.as_slice() else { return None };
        one["value"][1].as_str()?.parse().ok()
    }

    async fn names(&self) -> BTreeSet<String> {
        let data = self.get("/api/v1/label/__name__/values").await.unwrap();
        let names = data.as_array().unwrap().iter();
        names.map(|name| name.as_str().unwrap().to_owned()).collect()
    }

    /// What is recorded and what alerts, as Prometheus has read it.
    async fn rules(&self) -> Vec<(String, String)> {
        let data = self.get("/api/v1/rules").await.unwrap();
        let groups = data["groups"].as_array().unwrap().iter();
        let rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
        let text = |rule: &Json, field: &str| rule[field].as_str().unwrap().to_owned();
        rules.map(|rule| (text(rule, "name"), text(rule, "query"))).collect()
    }
}

/// Every query of every panel, with the panel's name.
fn panels() -> Vec<(String, String)> {
    let mut queries = Vec::new();
    for entry in fs::read_dir(deploy().join("grafana/dashboards")).unwrap() {
        let path = entry.unwrap().path();
        let board: Json = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        for panel in board["panels"].as_array().unwrap() {
            let title = format!("{}: {}", board["title"], panel["title"]);
            let targets = panel["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
            assert!(!targets.is_empty() || panel["type"] == "row", "{title} asks for nothing");
            for target in targets {
                let expression = target["expr"].as_str().unwrap().replace(RANGE.0, RANGE.1);
                queries.push((title.clone(), expression));
            }
        }
    }
    queries
}

/// The metrics that a query names and that do not exist.
fn unknown<'a>(expression: &'a str, names: &BTreeSet<String>) -> Vec<&'a str> {
    let words = expression
        .split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_' || letter == ':'));
    let is_ours = |word: &&str| PREFIXES.iter().any(|prefix| word.starts_with(prefix));
    words.filter(is_ours).filter(|word| !names.contains(*word)).collect()
}

/// Sells to nine, each on another path, and sells one pair to the first of three.
async fn trade(shop: &Shop) -> Sale {
    scenario::small_sale(shop).await.unwrap();
    let sale = shop.sell(Terms::of(1)).await.unwrap();
    let buyers = shop.buyers(3).await.unwrap();
    let order = buyers[0].buy(&sale, "mine").await.unwrap();
    for late in &buyers[1..] {
        assert_eq!(late.buy(&sale, "mine").await.unwrap_err().reason(), Reason::SoldOut);
    }
    buyers[0].pay(&order.order_id, "pm_card_approve").await.unwrap();
    sale
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_finds_its_metrics_and_what_is_counted_is_what_happened() {
    let Some(program) = prometheus() else { return };
    let ports = port::free_row(5).unwrap();
    let targets: Vec<(Service, u16)> = Service::ALL.into_iter().zip(ports).collect();
    let listen: Vec<String> = targets.iter().map(|(_, port)| format!("127.0.0.1:{port}")).collect();
    let env: Vec<_> = targets
        .iter()
        .zip(&listen)
        .map(|((service, _), listen)| (*service, "FIRSTCOME_HEALTH_LISTEN", listen.as_str()))
        .collect();
    let shop = Shop::own(&env).await.unwrap();
    let watcher = Watcher::start(&program, shop.mesh.address().logs.clone(), &targets).await;
    let sale = trade(&shop).await;
    let watch = WatchStockRequest { product_id: sale.product.clone() };
    let mut stock = StockServiceClient::new(shop.channel.clone());
    let mut changes = stock.watch_stock(watch).await.unwrap().into_inner();
    changes.message().await.unwrap();

    let is = async |expression: &str, wanted: f64| {
        let right = || async { watcher.number(expression).await == Some(wanted) };
        if tokio::time::timeout(SOON, eventually(SOON * 2, right)).await.is_err() {
            panic!("{expression}: want {wanted}, have {:?}", watcher.query(expression).await);
        }
    };
    is("sum(up)", 5.0).await;
    is_counted_right(&shop, &is).await;

    let rules = watcher.rules().await;
    assert!(rules.len() >= 15, "{rules:?}");
    let panels = panels();
    assert!(panels.len() >= 40, "{}", panels.len());
    let all = || panels.iter().chain(&rules);
    let missing = |names: &BTreeSet<String>, title: &str, expression: &str| {
        let unknown = unknown(expression, names);
        (!unknown.is_empty()).then(|| format!("{title}: {unknown:?}"))
    };
    // What is recorded is there when it was recorded once, two looks after the first.
    let started = Instant::now();
    let names = loop {
        let names = watcher.names().await;
        let missing = all().filter_map(|(title, query)| missing(&names, title, query));
        match missing.collect::<Vec<_>>() {
            missing if missing.is_empty() => break names,
            missing => assert!(started.elapsed() < SOON, "{missing:#?}"),
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    };
    for (title, expression) in all() {
        watcher.query(expression).await.unwrap_or_else(|error| panic!("{title}: {error}"));
    }
    for (title, expression) in &panels {
        if MAY_BE_EMPTY.contains(&title.as_str()) {
            continue;
        }
        let answers = || async { watcher.query(expression).await.is_ok_and(|all| !all.is_empty()) };
        if tokio::time::timeout(SOON, eventually(SOON * 2, answers)).await.is_err() {
            panic!("{title} shows nothing: {expression}");
        }
    }
    // The check itself can fail.
    let (title, expression) = &panels[0];
    let misspelt = expression.replacen("firstcome_", "firstcome_x", 1);
    assert!(missing(&names, title, &misspelt).is_some(), "{misspelt}");
    assert!(watcher.query("sum(firstcome_build_info").await.is_err());
    drop(changes);
}

/// Numbers that buyers, rows and metrics have to agree on.
async fn is_counted_right(shop: &Shop, is: &impl AsyncFn(&str, f64)) {
    let address = shop.mesh.address();
    let count = async |role, sql: &'static str| {
        let pool = PgPool::connect(address.database_url(role)).await.unwrap();
        let count: i64 = sqlx::query_scalar(sql).fetch_one(&pool).await.unwrap();
        count as f64
    };
    let orders = count(Role::Order, "select count(*) from orders").await;
    assert!(orders >= 10.0, "{orders}");
    let held = count(Role::Inventory, "select coalesce(sum(held), 0)::bigint from stock").await;
    let settled = count(Role::Inventory, "select sum(settled)::bigint from stock").await;
    let place = r#"job="edge",method="OrderService/PlaceOrder""#;
    for (expression, wanted) in [
        ("sum(firstcome_admissions_committed_total)".to_owned(), orders),
        ("sum(firstcome_orders_placed_total)".to_owned(), orders),
        (r#"firstcome_gate_verdicts_total{verdict="admitted"}"#.to_owned(), orders),
        (r#"firstcome_gate_verdicts_total{verdict="sold_out"}"#.to_owned(), 2.0),
        (format!(r#"firstcome_rpc_server_requests_total{{{place},code="OK"}}"#), orders),
        (format!(r#"firstcome_rpc_server_refusals_total{{{place},reason="SOLD_OUT"}}"#), 2.0),
        // The first has no card's yes, the second has three: two of the sale, one of the trade, and
        // one that is cancelled afterwards, one whose answer is lost, one that is not captured.
        (r#"firstcome_stock_units{state="settled"}"#.to_owned(), settled),
        (r#"firstcome_stock_units{state="held"}"#.to_owned(), held),
        (r#"firstcome_saga_ends_total{state="expired"}"#.to_owned(), 1.0),
        (r#"firstcome_saga_ends_total{state="payment_failed"}"#.to_owned(), 3.0),
        ("firstcome_audit_disagreements_total".to_owned(), 0.0),
        ("firstcome_products_fenced".to_owned(), 0.0),
        (
            r#"firstcome_rpc_server_in_flight{job="edge",method="StockService/WatchStock"}"#
                .to_owned(),
            1.0,
        ),
        (r#"sum(firstcome_upstream_endpoints{job="edge",standing="ready"})"#.to_owned(), 4.0),
    ] {
        is(&expression, wanted).await;
    }
}
