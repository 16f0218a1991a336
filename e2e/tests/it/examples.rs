//! The buyers under `examples/`, as a newcomer runs them: each waits for an opening, rides out a drop
//! that is sold out for now, buys and pays.

use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use firstcome_e2e::{
    Sale, Shop,
    member::{Member, PASSWORD},
    shop::Terms,
};
use firstcome_local::{Service, port};
use firstcome_proto::{
    inventory_v1::{Drop as SaleDrop, ScheduleDropRequest},
    order_v1::{Order, OrderState},
    timestamp,
};
use firstcome_testkit::eventually;
use parking_lot::Mutex;
use time::OffsetDateTime;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::{Child, Command},
};

/// An interpreter or a browser starts in this time, in the middle of everything else.
const PATIENCE: Duration = Duration::from_secs(60);
/// Nobody waits for this opening: the operator moves it.
const FAR_AWAY_MS: i64 = 3_600_000;

/// A program that runs, and all that it has said.
struct Running {
    said: Arc<Mutex<String>>,
    process: Child,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.kill_on_drop(true).spawn().unwrap();
        let said = Arc::default();
        listen(process.stdout.take().unwrap(), &said);
        listen(process.stderr.take().unwrap(), &said);
        Self { said, process }
    }

    async fn says(&self, words: &str) {
        eventually(PATIENCE, || async { self.said.lock().contains(words) }).await;
    }

    /// Ends by itself, and well.
    async fn ends(mut self) -> String {
        let ended = tokio::time::timeout(PATIENCE, self.process.wait()).await;
        assert!(ended.unwrap().unwrap().success());
        self.said.lock().clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("it said:\n{}", self.said.lock());
        }
    }
}

fn listen(stream: impl AsyncRead + Unpin + Send + 'static, said: &Arc<Mutex<String>>) {
    let (mut lines, said) = (BufReader::new(stream).lines(), Arc::clone(said));
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            said.lock().push_str(&format!("{line}\n"));
        }
    });
}

/// What an example is told, and in whose name.
struct Wish {
    edge: String,
    member: Member,
    sale: Sale,
}

impl Wish {
    /// The member wants one of a sale that `terms` describe.
    async fn of(shop: &Shop, terms: Terms) -> Self {
        let edge = shop.mesh.address().endpoint(Service::Edge).to_owned();
        let member = Member::join(shop).await.unwrap();
        Self { edge, member, sale: shop.sell(terms).await.unwrap() }
    }

    fn settings(&self) -> [(&'static str, &str); 5] {
        [
            ("FIRSTCOME_EDGE", &self.edge),
            ("FIRSTCOME_EMAIL", &self.member.email),
            ("FIRSTCOME_PASSWORD", PASSWORD),
            ("FIRSTCOME_PRODUCT", &self.sale.product),
            ("FIRSTCOME_SKU", &self.sale.skus[0]),
        ]
    }

    /// The one order of the member, who has paid it.
    async fn is_fulfilled(&self) -> Order {
        let orders = self.member.buyer().newest_orders().await.unwrap();
        let [order] = &orders[..] else { panic!("one purchase, one order: {orders:?}") };
        assert_eq!(order.state(), OrderState::Preparing);
        assert_eq!(order.lines[0].sku_id, self.sale.skus[0]);
        order.clone()
    }
}

/// Comes an hour early, and buys when the operator opens.
async fn waits_for_the_opening(start: impl Fn(&Wish) -> Running) {
    let shop = Shop::shared().await;
    let wish = Wish::of(shop, Terms { opens_in_ms: FAR_AWAY_MS, ..Terms::of(1) }).await;
    let example = start(&wish);
    example.says("refused: NOT_OPEN").await;

    let drop = SaleDrop {
        opens_at: Some(timestamp::to_wire(OffsetDateTime::now_utc())),
        hold_ttl: Some(timestamp::duration_to_wire(Terms::of(1).hold)),
        ..SaleDrop::default()
    };
    let product_id = wish.sale.product.clone();
    let now = ScheduleDropRequest { product_id, drop: Some(drop) };
    shop.catalog().schedule_drop(shop.as_admin(now)).await.unwrap();
    example.says("paid: ").await;
    wish.is_fulfilled().await;
}

/// Comes when somebody else holds the last unit, and buys when that is given back.
async fn waits_for_a_freed_unit(start: impl Fn(&Wish) -> Running) -> (Wish, Running) {
    let shop = Shop::shared().await;
    let wish = Wish::of(shop, Terms::of(1)).await;
    let other = shop.buyer().await.unwrap();
    let held = other.buy(&wish.sale, "k").await.unwrap();
    let example = start(&wish);
    example.says("refused: SOLD_OUT").await;

    other.cancel(&held.order_id).await.unwrap();
    example.says("paid: ").await;
    wish.is_fulfilled().await;
    (wish, example)
}

/// What every example that is a program does.
async fn a_program_buys(command: impl Fn() -> Command) {
    let start = |wish: &Wish| Running::start(command().envs(wish.settings()));
    waits_for_the_opening(start).await;
    let (wish, first) = waits_for_a_freed_unit(start).await;
    let order = wish.is_fulfilled().await;

    // Cut off before it heard the answer, it begins again with the key that it printed.
    let said = first.ends().await;
    let key = said.lines().find_map(|line| line.strip_prefix("FIRSTCOME_KEY=")).unwrap();
    let mut again = command();
    let again = Running::start(again.envs(wish.settings()).env("FIRSTCOME_KEY", key)).ends().await;
    assert!(again.contains(&format!("placed: {} ", order.order_id)), "{again}");
    assert_eq!(wish.is_fulfilled().await, order);
}

/// What `cargo xtask test` has made ready for an example; it lists as skipped what it could not.
fn made_ready(variable: &str) -> Option<String> {
    let found = env::var(variable).ok().filter(|path| !path.is_empty());
    if found.is_none() {
        eprintln!("skipped: {variable} names nothing");
    }
    found
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_buyer_in_rust_buys() {
    let programs = Shop::shared().await.mesh.address().programs.clone();
    a_program_buys(|| Command::new(programs.join("firstcome-example-buyer"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_buyer_in_node_buys() {
    let Some(node) = made_ready("FIRSTCOME_EXAMPLE_NODE") else { return };
    let command = || {
        let mut command = Command::new(&node);
        command.arg("buyer.js").current_dir(folder("node"));
        command
    };
    a_program_buys(command).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_buyer_in_python_buys() {
    let Some(python) = made_ready("FIRSTCOME_EXAMPLE_PYTHON") else { return };
    let command = || {
        let mut command = Command::new(&python);
        command.arg("buyer.py").current_dir(folder("python"));
        command
    };
    a_program_buys(command).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_buyer_in_go_buys() {
    let Some(buyer) = made_ready("FIRSTCOME_EXAMPLE_GO") else { return };
    a_program_buys(|| Command::new(&buyer)).await;
}

/// The page is served from another origin than the edge's, as anybody's page is.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_in_a_browser_buys() {
    let Some(chromium) = made_ready("FIRSTCOME_EXAMPLE_CHROMIUM") else { return };
    let port = port::free_row(1).unwrap()[0].to_string();
    let mut preview = Command::new("node");
    preview.args(["node_modules/vite/bin/vite.js", "preview", "--host", "127.0.0.1"]);
    preview.args(["--strictPort", "--port", &port]).current_dir(folder("browser"));
    let preview = Running::start(&mut preview);
    preview.says("Local").await;
    let logs = Shop::shared().await.mesh.address().logs.clone();

    let start = |wish: &Wish| {
        let [edge, email, password, product, sku] = wish.settings().map(|(_, value)| value);
        // Nothing in it that an address would have to escape.
        let page = format!(
            "http://127.0.0.1:{port}/#edge={edge}&email={email}&password={password}\
             &productId={product}&skuId={sku}&buy",
        );
        let profile = logs.join(format!("chromium-{sku}"));
        let mut browser = Command::new(&chromium);
        // Nobody looks: what the page logs is written to standard error.
        browser.args(["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]);
        browser.args(["--remote-debugging-port=0", "--disable-dev-shm-usage"]);
        browser.arg(format!("--user-data-dir={}", profile.display())).arg(page);
        Running::start(&mut browser)
    };
    waits_for_the_opening(start).await;
    waits_for_a_freed_unit(start).await;
}
