//! The shop while it grows: more edges, more products, more open holds, and the buyers for them.

use std::{collections::BTreeMap, fmt, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use firstcome_local::{Replica, Service};
use futures::{StreamExt as _, TryStreamExt as _, future::try_join_all, stream};

use super::{
    memory::{HoldMemory, Shard},
    plan::{Plan, Setting},
};
use crate::{
    bench::{
        cost::{Costs, Part},
        ground::Ground,
        load::{Load, drive},
        path::Sample,
        paths::AFTERMATH,
        shop::Shop,
    },
    calls::Person,
    rush::{crowd, sale::Sale},
};

/// Calls in flight while holds are opened; nobody measures them.
const OPENING_IN_FLIGHT: u16 = 512;
/// Units that a buyer may hold of each product: those who hold many open have one each, those who
/// are measured come again in the next round.
const LIMIT_PER_BUYER: u32 = 3;
/// What is held at each edge of any product before it is measured: the first purchase costs more.
const HOLDS_MIN: u32 = 8;
/// Products that are made at once.
const SALES_AT_ONCE: usize = 8;
/// A product is filled anew when more holds are open than it stands for, by this share.
const HOLDS_DRIFT_MAX: f64 = 0.4;
/// Nobody calls the floor.
const NO_FLOOR: &str = "http://127.0.0.1:1";

/// A running shop with its buyers.
pub struct Stage<'a> {
    ground: &'a Ground,
    plan: &'a Plan,
    /// One for each edge.
    doors: Vec<Arc<Shop>>,
    /// All but the mesh's own.
    _edges: Vec<Replica>,
    /// They win what is measured; every edge knows their tokens.
    winners: Arc<[Person]>,
    /// They come too late; every edge knows their tokens.
    losers: Arc<[Person]>,
    /// They hold what is held before.
    holders: Arc<[Person]>,
    /// Products with open holds, for the next turn.
    shelves: BTreeMap<Setting, Shelf>,
    turn: u32,
}

/// A product and what is held of it.
#[derive(Clone, Copy)]
struct Shelf {
    sale: Sale,
    held: u32,
    /// How often one of the winners has won.
    winners: u32,
}

/// What one setting cost.
pub struct Pair {
    /// An order and its hold, durable.
    pub winner: Sample,
    /// Told that nothing is left.
    pub refused: Sample,
}

/// The calls for one product at one edge.
struct Lane {
    door: Arc<Shop>,
    people: Arc<[Person]>,
    /// The place of the first caller among the people.
    first: u32,
    sale: Sale,
    keys: String,
    wins: bool,
}

impl<'a> Stage<'a> {
    /// Starts the other edges, makes the buyers, and shows the edges those who will be measured.
    pub async fn prepare(ground: &'a Ground, plan: &'a Plan, connections: u16) -> Result<Self> {
        let mut edges = Vec::new();
        for number in 2..=plan.most_edges() {
            let edge = Replica::start(ground.address(), Service::Edge, number).await?;
            ground.watch(Part::Edge, edge.pid().await?).await;
            edges.push(edge);
        }
        let first = Shop::open(ground.address(), NO_FLOOR, connections).await?;
        let mut doors = Vec::new();
        for edge in &edges {
            doors.push(Arc::new(first.beside(edge.endpoint(), connections)?));
        }
        doors.insert(0, Arc::new(first));

        let (regulars, holders) = (plan.winners() as usize, plan.most_holds().holds as usize);
        let count = 2 * regulars + holders;
        eprintln!("making {count} buyers ...");
        let file = ground.files().join("tokens");
        crowd::seed(ground.address(), count, &file).await?;
        let mut people = crowd::sign(ground.address(), count, &file).await?;
        let holders = people.split_off(2 * regulars).into();
        let losers = people.split_off(regulars).into();
        let (winners, shelves) = (people.into(), BTreeMap::new());
        let stage =
            Self { ground, plan, doors, _edges: edges, winners, losers, holders, shelves, turn: 0 };
        stage.greet().await.context("show the edges their buyers")?;
        Ok(stage)
    }

    /// Fills a product with the holds of this setting, and says what they take in Redis.
    pub async fn hold_many(&mut self, setting: Setting) -> Result<HoldMemory> {
        let redis = self.ground.mesh().stores().redis().context("a redis of our own")?;
        let stock = setting.holds + self.plan.winners_of(setting);
        let sale = self.doors[0].sale(stock, LIMIT_PER_BUYER).await?;
        eprintln!("opening {} holds ...", setting.holds);
        let before = Shard::look(redis, sale.product).await?;
        let shelf = self.fill(sale, setting.holds, setting.edges).await?;
        let after = Shard::look(redis, sale.product).await?;
        self.shelves.insert(setting, shelf);
        Ok(after.per_hold(before, setting.holds))
    }

    /// Measures a setting for one round.
    pub async fn measure(&mut self, setting: Setting) -> Result<Pair> {
        let (mut winners, mut refused) = (Vec::new(), Vec::new());
        for _ in 0..setting.turns() {
            let pair = self.take_turn(setting).await?;
            winners.push(pair.winner);
            refused.push(pair.refused);
        }
        Ok(Pair { winner: in_turn(&winners), refused: in_turn(&refused) })
    }

    /// Lets so many win that everything is sold, and then as many be refused as planned.
    async fn take_turn(&mut self, setting: Setting) -> Result<Pair> {
        let shelves = self.stock_up(setting).await.context("fill the shelves")?;
        self.ground.come_to_rest().await?;
        self.turn += 1;
        let winner = self.place_all(setting, &shelves, true).await.context("win")?;
        let refused = self.place_all(setting, &shelves, false).await.context("be refused")?;
        if let ([shelf], true) = (shelves.as_slice(), setting.holds > 0) {
            let won = self.plan.winners_of(setting);
            let (held, winners) = (shelf.held + won, shelf.winners + won);
            self.shelves.insert(setting, Shelf { held, winners, ..*shelf });
        }
        Ok(Pair { winner, refused })
    }

    /// Products with exactly as many units left as will be won.
    async fn stock_up(&mut self, setting: Setting) -> Result<Vec<Shelf>> {
        let units = self.plan.winners_of(setting) * u32::from(setting.edges);
        if let Some(shelf) = self.shelves.remove(&setting) {
            let held_max = (f64::from(setting.holds) * (1.0 + HOLDS_DRIFT_MAX)) as u32;
            let wins_max = self.winners.len() as u32 * LIMIT_PER_BUYER;
            if shelf.held <= held_max && shelf.winners + units <= wins_max {
                self.doors[0].restock(shelf.sale, shelf.held + units).await?;
                return Ok(vec![shelf]);
            }
        }
        self.new_shelves(setting, units).await
    }

    async fn new_shelves(&self, setting: Setting, units: u32) -> Result<Vec<Shelf>> {
        let holds = setting.holds.max(HOLDS_MIN * u32::from(setting.edges));
        let shelves = (0..setting.products).map(|_| async move {
            let sale = self.doors[0].sale(holds + units, LIMIT_PER_BUYER).await?;
            self.fill(sale, holds, setting.edges).await
        });
        stream::iter(shelves).buffered(SALES_AT_ONCE).try_collect().await
    }

    /// Opens so many holds, at each of the edges its share of them.
    async fn fill(&self, sale: Sale, holds: u32, edges: u16) -> Result<Shelf> {
        ensure!(holds as usize <= self.holders.len(), "more holds than holders");
        let share = holds / u32::from(edges);
        ensure!(share * u32::from(edges) == holds, "each edge opens as many");
        for (number, door) in self.doors.iter().take(edges.into()).enumerate() {
            let lane = Lane {
                door: Arc::clone(door),
                people: Arc::clone(&self.holders),
                first: number as u32 * share,
                sale,
                keys: format!("growth-held-{}", sale.product),
                wins: true,
            };
            lane.drive(share, OPENING_IN_FLIGHT).await?;
        }
        Ok(Shelf { sale, held: holds, winners: 0 })
    }

    /// Makes the calls of every product at every edge side by side, with all clocks running, and a
    /// short while after them.
    async fn place_all(&self, setting: Setting, shelves: &[Shelf], wins: bool) -> Result<Sample> {
        let (people, calls) = match wins {
            true => (&self.winners, self.plan.winners_of(setting)),
            false => (&self.losers, self.plan.refusals_of(setting)),
        };
        let mut lanes = Vec::new();
        for shelf in shelves {
            for (number, door) in self.doors.iter().take(setting.edges.into()).enumerate() {
                // At one product nobody wins twice; elsewhere any place will do.
                let first = shelf.winners + number as u32 * calls;
                lanes.push(Lane {
                    door: Arc::clone(door),
                    people: Arc::clone(people),
                    first,
                    sale: shelf.sale,
                    // Somebody may buy from several products, each with a key of its own.
                    keys: format!("growth-{}-{}", self.turn, lanes.len()),
                    wins,
                });
            }
        }
        let before = self.ground.clocks().await?;
        let loads = lanes.into_iter().map(|lane| lane.drive(calls, setting.in_flight));
        let loads = try_join_all(loads).await?;
        let took = loads.iter().map(|load| load.took).max().unwrap_or_default();
        let load = Load::sum(&loads, took);
        tokio::time::sleep(AFTERMATH).await;
        Ok(Sample { load, costs: self.ground.since(&before).await? })
    }

    /// A token costs more the first time, and other work than that is measured here.
    async fn greet(&self) -> Result<()> {
        // Who has the only unit hears of a limit, so it is nobody who is greeted.
        let holder = self.holders.first().context("at least one holder")?;
        let sale = self.doors[0].sold_out(holder).await?;
        for door in &self.doors {
            for people in [&self.winners, &self.losers] {
                let lane = Lane {
                    door: Arc::clone(door),
                    people: Arc::clone(people),
                    first: 0,
                    sale,
                    keys: "growth-greeting".to_owned(),
                    wins: false,
                };
                lane.drive(people.len() as u32, OPENING_IN_FLIGHT).await?;
            }
        }
        Ok(())
    }
}

impl Lane {
    async fn drive(self, calls: u32, in_flight: u16) -> Result<Load> {
        let lane = Arc::new(self);
        drive(calls, in_flight, move |number| {
            let lane = Arc::clone(&lane);
            async move { lane.place(number).await }
        })
        .await
    }

    async fn place(&self, number: u32) -> Result<()> {
        let person = &self.people[(self.first + number) as usize % self.people.len()];
        let key = format!("{}-{number}", self.keys);
        match self.wins {
            true => self.door.place(number, person, self.sale, &key).await.map(drop),
            false => self.door.be_refused(number, person, self.sale, &key).await,
        }
    }
}

/// Samples of one setting that were taken one after the other, as one.
fn in_turn(samples: &[Sample]) -> Sample {
    let took = samples.iter().map(|sample| sample.load.took).sum();
    let mut costs = Costs::new();
    for (part, cost) in samples.iter().flat_map(|sample| &sample.costs) {
        *costs.entry(*part).or_default() += *cost;
    }
    Sample { load: Load::sum(samples.iter().map(|sample| &sample.load), took), costs }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cost = |sample: &Sample| sample.cost_us().values().sum::<f64>();
        let (winner, refused) = (cost(&self.winner), cost(&self.refused));
        let rate = self.winner.load.rate_per_s();
        write!(f, "winner {winner:>7.1} µs {rate:>7.0}/s   refused {refused:>6.1} µs")
    }
}
