//! What may happen next.

use firstcome_inventory::hold::Command;
use proptest::{prelude::*, strategy::Union};

use super::world::{LIMITS, WINDOWS, Wish};

/// Reservations that a sequence plays with: few, so that they meet again.
const IDS: u8 = 8;

/// One of two replicas.
pub type Who = usize;

/// One operation.
#[derive(Clone, Debug)]
pub enum Step {
    /// A batch of wishes.
    Reserve(Who, Vec<Wish>),
    /// A batch of wishes whose process dies after the gate's answer.
    ReserveAndDie(Vec<Wish>),
    /// A command to some holds.
    Do(Command, Vec<u8>),
    /// Pin, then settle.
    Pay(Vec<u8>),
    /// The hold's time is over.
    MakeOverdue(u8),
    /// The keeper's duties.
    Expire,
    Tell(Who),
    Forget,
    Sweep(Who),
    /// The gate's clock moves to an edge of the window: just before or at its opening or closing.
    Clock(usize),
    /// One of the gate's four keys is lost.
    LoseKey(usize),
    /// All are.
    LoseAll,
    /// A promoted replica serves the gate.
    LoseProcess,
    /// A SKU's total is set.
    Adjust(Who, usize, i32),
    /// The drop is moved.
    Schedule(Who, usize, usize),
    /// The gate believes in units that are not there.
    TamperAvailable(usize, i32),
    /// The gate begins to count anew.
    TamperSeq,
    /// Both replicas rebuild at once.
    RebuildTwice,
    /// A loader dies before or after its first chunk.
    LoadAndDie(bool),
}

/// Any operation, the ordinary ones more often.
pub fn any() -> impl Strategy<Value = Step> {
    let who = 0..2_usize;
    let wishes = || prop::collection::vec(wish(), 1..7);
    let ids = || prop::collection::vec(0..IDS, 1..5);
    // Those that end a hold more often: what comes after an end is the hard part.
    let commands = prop_oneof![
        1 => Just(Command::Pin),
        1 => Just(Command::Settle),
        1 => Just(Command::Expire),
        2 => Just(Command::Release),
        2 => Just(Command::Cancel),
        2 => Just(Command::Undo),
        3 => Just(Command::Restock),
    ];
    // The first window is open and without end.
    let window = prop_oneof![3 => Just(0), 2 => 1..WINDOWS.len()];
    let reserve = (who.clone(), wishes()).prop_map(|(who, wishes)| Step::Reserve(who, wishes));
    let command = (commands, ids()).prop_map(|(command, ids)| Step::Do(command, ids));
    let adjust =
        (who.clone(), 0..2_usize, 2..9).prop_map(|(who, sku, total)| Step::Adjust(who, sku, total));
    let schedule = (who.clone(), window, 0..LIMITS.len())
        .prop_map(|(who, window, limit)| Step::Schedule(who, window, limit));
    let tamper = (0..2_usize, 1..4).prop_map(|(sku, by)| Step::TamperAvailable(sku, by));
    Union::new_weighted(vec![
        (30, reserve.boxed()),
        (5, wishes().prop_map(Step::ReserveAndDie).boxed()),
        (20, command.boxed()),
        (6, ids().prop_map(Step::Pay).boxed()),
        (4, (0..IDS).prop_map(Step::MakeOverdue).boxed()),
        (4, Just(Step::Expire).boxed()),
        (14, who.clone().prop_map(Step::Tell).boxed()),
        (3, Just(Step::Forget).boxed()),
        (4, who.prop_map(Step::Sweep).boxed()),
        (3, (0..4_usize).prop_map(Step::Clock).boxed()),
        (2, (0..4_usize).prop_map(Step::LoseKey).boxed()),
        (1, Just(Step::LoseAll).boxed()),
        (1, Just(Step::LoseProcess).boxed()),
        (3, adjust.boxed()),
        (3, schedule.boxed()),
        (2, tamper.boxed()),
        (1, Just(Step::TamperSeq).boxed()),
        (2, Just(Step::RebuildTwice).boxed()),
        (1, prop::bool::ANY.prop_map(Step::LoadAndDie).boxed()),
    ])
}

/// A wish that its id decides, so that it comes again the same, but for a twist now and then.
fn wish() -> impl Strategy<Value = Wish> {
    let plain = |id: u8| Wish {
        id,
        buyer: id % 4,
        fingerprint: 0,
        lines: match id % 3 {
            0 => vec![(0, 1)],
            1 => vec![(1, 2)],
            _ => vec![(1, 1), (0, 1)],
        },
    };
    let twist = prop_oneof![20 => Just(0), 9 => 1..10];
    (0..IDS, twist).prop_map(move |(id, twist)| {
        let wish = plain(id);
        let lines = |lines: &[(u8, i32)]| Wish { lines: lines.to_vec(), ..plain(id) };
        match twist {
            1 => Wish { buyer: wish.buyer + 1, ..wish },
            2 => Wish { fingerprint: 1, ..wish },
            3 => lines(&[(0, 3)]),
            4 => lines(&[(0, 1), (1, 1)]),
            5 => lines(&[(0, 0)]),
            6 => lines(&[(0, -5)]),
            7 => lines(&[]),
            8 => lines(&[(0, 1), (0, 1)]),
            9 => lines(&[(0, 1), (2, 1)]), // the product has two SKUs
            _ => wish,
        }
    })
}
