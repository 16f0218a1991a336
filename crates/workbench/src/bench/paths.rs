//! The paths of a purchase and the floors under them, one round after the other.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use firstcome_local::Role;
use firstcome_proto::OrderId;
use prost::Message as _;
use sqlx::{Connection as _, PgConnection, Row as _};
use tokio::sync::Mutex;

use super::{
    BenchArgs,
    cost::Part,
    echo::Floor,
    gate::Measurement,
    ground::Ground,
    load::{Load, drive},
    path::{Path, Sample},
    report::{Report, Samples},
    shop::{Shop, message_like_an_order},
};
use crate::{
    calls::Person,
    rush::{crowd, sale::Sale},
};

/// Buyers; each has a token, an address and at most one unit of each sale.
const BUYERS: u32 = 20_000;
/// What a call leaves behind, such as entries to be removed, belongs to its cost.
pub(super) const AFTERMATH: Duration = Duration::from_millis(300);

/// A measurement under way.
pub struct Bench<'a> {
    pub(super) ground: &'a Ground,
    pub(super) shop: Arc<Shop>,
    args: BenchArgs,
    _floor: Floor,
    pub(super) samples: Samples,
    /// Transactions of each payment, by round.
    commits_per_payment: Vec<f64>,
    round: u32,
}

/// What a round sells, and to whom.
pub(super) struct Scene {
    people: Arc<Vec<Person>>,
    sold_out: Sale,
    winners: Sale,
    alone: Sale,
}

impl<'a> Bench<'a> {
    /// Makes the buyers, and starts the floor.
    pub async fn prepare(ground: &'a Ground, args: &BenchArgs) -> Result<Self> {
        eprintln!("making {BUYERS} buyers ...");
        let file = ground.files().join("tokens");
        crowd::seed(ground.address(), BUYERS as usize, &file).await?;
        let first = crowd::sign(ground.address(), 1, &file).await?;
        // The floor answers with as many bytes as the shop does, so the shop is asked first.
        let probe = Shop::open(ground.address(), "http://127.0.0.1:1", 1).await?;
        let sale = probe.sale(1, 1).await?;
        let order = probe.place(0, &first[0], sale, "the-size-of-an-answer").await?;
        let floor = Floor::start(order.encoded_len()).await?;
        ground.watch(Part::Echo, floor.pid()?).await;
        let shop = Shop::open(ground.address(), &floor.endpoint, args.connections).await?;
        let mut bench = Self {
            ground,
            shop: Arc::new(shop),
            args: args.clone(),
            _floor: floor,
            samples: Samples::default(),
            commits_per_payment: Vec::new(),
            round: 0,
        };
        bench.warm_up().await?;
        Ok(bench)
    }

    /// Buys and pays a little, and lets Postgres look at its tables: a shop that has run for more
    /// than a minute, which is when autovacuum would have done so.
    async fn warm_up(&mut self) -> Result<()> {
        eprintln!("warming up ...");
        let scene = self.scene().await?;
        for path in [Path::Winner, Path::Pay, Path::Read] {
            self.measure(path, &scene).await.with_context(|| format!("warm up {path:?}"))?;
        }
        self.commits_per_payment.clear();
        let mut postgres = self.administrator().await?;
        sqlx::query("vacuum analyze").execute(&mut postgres).await?;
        Ok(())
    }

    /// Measures every path once.
    pub async fn round(&mut self) -> Result<()> {
        self.round += 1;
        let scene = self.scene().await?;
        for path in Path::ALL {
            if !self.is_wanted(path) {
                continue;
            }
            let sample = self.measure(path, &scene).await;
            let sample = sample.with_context(|| format!("measure {path:?}"))?;
            eprintln!("  {}", self.samples.add(path, &sample));
        }
        Ok(())
    }

    fn is_wanted(&self, path: Path) -> bool {
        let only = &self.args.only;
        // What is paid must have been bought, and tokens are seen once before anything counts.
        let serves =
            path == Path::RefusedFirstSeen || path == Path::Winner && only.contains(&Path::Pay);
        only.is_empty() || only.contains(&path) || path.is_floor() || serves
    }

    /// Calls at once.
    pub(super) fn in_flight(&self) -> u16 {
        self.args.in_flight
    }

    /// What was found so far.
    pub fn report(self) -> Report {
        self.samples.report(&self.commits_per_payment)
    }

    /// People with tokens that the edge has not seen, and sales for them.
    pub(super) async fn scene(&self) -> Result<Scene> {
        let file = self.ground.files().join("tokens");
        let mut people = crowd::sign(self.ground.address(), BUYERS as usize, &file).await?;
        let units = Path::ALL.map(|path| self.calls(path)).into_iter().max().unwrap_or(1);
        // Who has the only unit would hear of a limit, and not that it is sold out.
        let first_come = people.pop().context("at least one buyer")?;
        Ok(Scene {
            sold_out: self.shop.sold_out(&first_come).await?,
            winners: self.shop.sale(units, 1).await?,
            alone: self.shop.sale(units, 1).await?,
            people: Arc::new(people),
        })
    }

    async fn measure(&mut self, path: Path, scene: &Scene) -> Result<Sample> {
        let calls = self.calls(path);
        match path {
            Path::Echo | Path::EchoAlone => self.echo(path, scene).await,
            Path::Fcall1 => self.fcall1(calls).await,
            Path::Commit1 => self.commit1(calls).await,
            Path::RefusedFirstSeen | Path::Refused | Path::Winner | Path::WinnerAlone => {
                self.place_all(scene, path, calls, &format!("{path:?}")).await
            }
            Path::Read => self.read(scene).await,
            Path::Pay => self.pay(scene).await,
        }
    }

    /// Places an order for each call, with keys of that name; each must win, or each must be
    /// refused.
    pub(super) async fn place_all(
        &self,
        scene: &Scene,
        path: Path,
        calls: u32,
        name: &str,
    ) -> Result<Sample> {
        let (shop, people) = (Arc::clone(&self.shop), Arc::clone(&scene.people));
        let keys = self.keys(name);
        let (sale, in_flight) = match path {
            Path::Winner => (scene.winners, self.args.in_flight),
            Path::WinnerAlone => (scene.alone, 1),
            _ => (scene.sold_out, self.args.in_flight),
        };
        let wins = matches!(path, Path::Winner | Path::WinnerAlone);
        self.drive(calls, in_flight, move |number| {
            let (shop, people, keys) = (Arc::clone(&shop), Arc::clone(&people), Arc::clone(&keys));
            async move {
                let (buyer, key) = (of(&people, number), key(&keys, number));
                match wins {
                    true => shop.place(number, buyer, sale, &key).await.map(drop),
                    false => shop.be_refused(number, buyer, sale, &key).await,
                }
            }
        })
        .await
    }

    /// How the keys of one use in this round begin.
    fn keys(&self, name: &str) -> Arc<str> {
        let name: String = name.split(' ').collect();
        format!("bench-{}-{name}", self.round).into()
    }

    async fn echo(&self, path: Path, scene: &Scene) -> Result<Sample> {
        let (shop, people) = (Arc::clone(&self.shop), Arc::clone(&scene.people));
        let message = message_like_an_order(scene.winners, &key(&self.keys("Refused"), 10_000));
        let message = Arc::new(message);
        let in_flight = if path == Path::EchoAlone { 1 } else { self.args.in_flight };
        self.drive(self.calls(path), in_flight, move |number| {
            let (shop, people, message) =
                (Arc::clone(&shop), Arc::clone(&people), Arc::clone(&message));
            async move { shop.echo(number, of(&people, number), &message).await }
        })
        .await
    }

    async fn read(&self, scene: &Scene) -> Result<Sample> {
        let (shop, people) = (Arc::clone(&self.shop), Arc::clone(&scene.people));
        let sale = scene.winners;
        self.drive(self.calls(Path::Read), self.args.in_flight, move |number| {
            let (shop, people) = (Arc::clone(&shop), Arc::clone(&people));
            async move { shop.look(number, of(&people, number), sale).await }
        })
        .await
    }

    async fn fcall1(&self, calls: u32) -> Result<Sample> {
        let mut measurement = Measurement::prepare(self.ground.address(), calls, 1).await?;
        self.ground.come_to_rest().await?;
        let before = self.ground.clocks().await?;
        let measured = measurement.run().await?;
        let costs = self.ground.since(&before).await?;
        measurement.end().await?;
        ensure!(measured.items == calls, "{} of {calls} were measured", measured.items);
        Ok(Sample { load: Load::without_latency(calls, measured.took()), costs })
    }

    async fn commit1(&self, calls: u32) -> Result<Sample> {
        let url = self.ground.address().database_url(Role::Sandbox);
        let mut postgres = PgConnection::connect(url).await?;
        sqlx::query("create table if not exists bench_commit (number bigint)")
            .execute(&mut postgres)
            .await?;
        let postgres = Arc::new(Mutex::new(postgres));
        self.drive(calls, 1, move |number| {
            let postgres = Arc::clone(&postgres);
            async move {
                let insert = sqlx::query("insert into bench_commit values ($1)");
                insert.bind(i64::from(number)).execute(&mut *postgres.lock().await).await?;
                Ok(())
            }
        })
        .await
    }

    /// Pays what [`Path::Winner`] bought in this round.
    async fn pay(&mut self, scene: &Scene) -> Result<Sample> {
        let calls = self.calls(Path::Pay);
        let (shop, people) = (Arc::clone(&self.shop), Arc::clone(&scene.people));
        let keys = self.keys(&format!("{:?}", Path::Winner));
        let before = self.commits().await?;
        let paying = self.drive(calls, self.args.in_flight, move |number| {
            let (shop, people, keys) = (Arc::clone(&shop), Arc::clone(&people), Arc::clone(&keys));
            async move {
                let buyer = of(&people, number);
                let order = OrderId::of(buyer.user, &key(&keys, number));
                shop.pay(number, buyer, order).await
            }
        });
        let sample = paying.await?;
        let commits = self.commits().await? - before;
        self.commits_per_payment.push(commits as f64 / f64::from(calls));
        Ok(sample)
    }

    /// The next number of a transaction that writes, which is how many there were.
    async fn commits(&self) -> Result<i64> {
        let mut connection = self.administrator().await?;
        let row = sqlx::query("select txid_snapshot_xmax(txid_current_snapshot())")
            .fetch_one(&mut connection)
            .await?;
        Ok(row.try_get(0)?)
    }

    async fn administrator(&self) -> Result<PgConnection> {
        let postgres = self.ground.mesh().stores().postgres().context("a postgres of our own")?;
        Ok(PgConnection::connect(&format!("{}/firstcome", postgres.admin_url())).await?)
    }

    /// Makes calls with all clocks running, and a short while after them.
    pub(super) async fn drive<C, F>(&self, calls: u32, in_flight: u16, call: C) -> Result<Sample>
    where
        C: Fn(u32) -> F + Clone + Send + 'static,
        F: Future<Output = Result<()>> + Send,
    {
        self.ground.come_to_rest().await?;
        let before = self.ground.clocks().await?;
        let load = drive(calls, in_flight, call).await?;
        tokio::time::sleep(AFTERMATH).await;
        Ok(Sample { load, costs: self.ground.since(&before).await? })
    }

    pub(super) fn calls(&self, path: Path) -> u32 {
        // Whoever is refused later has been seen by then, however few calls that are.
        if path == Path::RefusedFirstSeen {
            return BUYERS - 1;
        }
        let scaled = f64::from(path.calls()) * self.args.scale;
        let most = match path {
            // Each buyer may win once.
            Path::Winner | Path::WinnerAlone | Path::Pay => BUYERS - 1,
            _ => u32::MAX,
        };
        (scaled as u32).clamp(10, most)
    }
}

fn key(keys: &str, number: u32) -> String {
    format!("{keys}-{number}")
}

fn of(people: &[Person], number: u32) -> &Person {
    &people[number as usize % people.len()]
}
