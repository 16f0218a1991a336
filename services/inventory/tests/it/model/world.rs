//! The model: what gate and ledger are, without Redis, Postgres or time.

use std::collections::{BTreeMap, BTreeSet};

use firstcome_inventory::{
    gate::Verdict,
    hold::{Command, State},
    store::freeing::Action,
};
use firstcome_proto::Reason;

use super::step::Who;

const MINUTE: i64 = 60_000;
/// Windows, in milliseconds from the beginning of the sequence; `None`: without end.
pub const WINDOWS: [(i64, Option<i64>); 4] = [
    (-60 * MINUTE, None),
    (-60 * MINUTE, Some(30 * MINUTE)),
    (60 * MINUTE, Some(120 * MINUTE)),
    (-120 * MINUTE, Some(-60 * MINUTE)),
];
/// Limits per buyer; 0: none.
pub const LIMITS: [i32; 3] = [0, 2, 4];
/// Units of each SKU at the beginning.
pub const TOTALS: [i32; 2] = [6, 5];

/// What one buyer asks for; ids, buyers and SKUs are small numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    pub id: u8,
    pub buyer: u8,
    pub fingerprint: u8,
    pub lines: Vec<(u8, i32)>,
}

impl Wish {
    fn units(&self) -> i64 {
        self.lines.iter().map(|(_, units)| i64::from(*units)).sum()
    }

    fn is_readable(&self) -> bool {
        let skus: BTreeSet<u8> = self.lines.iter().map(|(sku, _)| *sku).collect();
        !self.lines.is_empty()
            && skus.len() == self.lines.len()
            && self.lines.iter().all(|(_, units)| (1..=1000).contains(units))
    }
}

/// A row of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    pub wish: Wish,
    pub seq: i64,
    pub state: State,
    pub is_overdue: bool,
    pub forgotten: bool,
}

/// A gate that can serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    pub epoch: i64,
    pub seq: i64,
    pub available: Vec<i32>,
    pub taken: BTreeMap<u8, (Wish, i64)>,
    pub units_of: BTreeMap<u8, i64>,
    /// `None` when the key is lost, which only an admission and a snapshot notice.
    pub unconfirmed: Option<Vec<Vec<u8>>>,
    window: usize,
    limit: i32,
}

/// What is told of one wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Hold { seq: i64, state: State, newly_admitted: bool },
    Refused(Reason),
}

/// Everything.
#[derive(Clone, Debug)]
pub struct World {
    pub totals: Vec<i32>,
    pub held: Vec<i32>,
    pub settled: Vec<i32>,
    pub holds: BTreeMap<u8, Hold>,
    pub outbox: Vec<(u8, i64, Action)>,
    /// The ledger's.
    pub epoch: i64,
    /// The epoch under which each replica admits.
    pub knows: [i64; 2],
    /// `None` when it is lost, being made, or another process's.
    pub gate: Option<Gate>,
    /// The clock that the gate remembers, when it is ahead of the machine's.
    pub clock: i64,
    pub window: usize,
    pub limit: i32,
    /// The gate was made to count anew, so places may come out of order.
    pub is_count_tampered: bool,
    /// The last place told to somebody as new.
    last_told: i64,
}

impl World {
    /// A product that opened an hour ago; both replicas know its first gate.
    pub fn new(limit: usize) -> Self {
        let mut world = Self {
            totals: TOTALS.to_vec(),
            held: vec![0; TOTALS.len()],
            settled: vec![0; TOTALS.len()],
            holds: BTreeMap::new(),
            outbox: Vec::new(),
            epoch: 0,
            knows: [1, 1],
            gate: None,
            clock: 0,
            window: 0,
            limit: LIMITS[limit],
            is_count_tampered: false,
            last_told: 0,
        };
        world.rebuild(0);
        world
    }

    /// The next gate is made from the ledger.
    pub fn rebuild(&mut self, who: Who) {
        self.epoch += 1;
        self.knows[who] = self.epoch;
        let live = || self.holds.values().filter(|hold| !hold.state.is_freed());
        let mut units_of = BTreeMap::new();
        for hold in live().filter(|_| self.limit > 0) {
            *units_of.entry(hold.wish.buyer).or_insert(0) += hold.wish.units();
        }
        let kept = live().filter(|hold| !hold.forgotten);
        self.gate = Some(Gate {
            epoch: self.epoch,
            seq: self.holds.values().map(|hold| hold.seq).max().unwrap_or(0),
            available: (0..self.totals.len()).map(|sku| self.unclaimed(sku)).collect(),
            taken: kept.map(|hold| (hold.wish.id, (hold.wish.clone(), hold.seq))).collect(),
            units_of,
            unconfirmed: Some(Vec::new()),
            window: self.window,
            limit: self.limit,
        });
    }

    /// A replica whose call the gate or the ledger refused finds its way back.
    pub fn recover(&mut self, who: Who) {
        let is_made = self
            .gate
            .as_ref()
            .is_some_and(|gate| gate.epoch == self.epoch && gate.unconfirmed.is_some());
        if self.epoch > self.knows[who] && is_made {
            self.knows[who] = self.epoch; // adopted
        } else {
            self.rebuild(who); // at once, or after waiting for a dead loader
        }
    }

    /// The gate, when it would serve this replica.
    pub fn gate_of(&mut self, who: Who) -> Option<&mut Gate> {
        let knows = self.knows[who];
        self.gate.as_mut().filter(|gate| gate.epoch == knows)
    }

    /// Units that nobody has, as far as the ledger knows.
    pub fn unclaimed(&self, sku: usize) -> i32 {
        self.totals[sku] - self.held[sku] - self.settled[sku]
    }

    /// A batch of wishes through gate and ledger.
    pub fn reserve(&mut self, who: Who, wishes: &[Wish]) -> Vec<Told> {
        let clock = self.clock;
        let verdicts = self.gate_of(who).and_then(|gate| gate.reserve(clock, wishes));
        let Some(verdicts) = verdicts else {
            self.recover(who);
            return vec![Told::Refused(Reason::Fenced); wishes.len()];
        };
        let epoch = self.knows[who];
        let passed = wishes.iter().zip(&verdicts).filter_map(|(wish, verdict)| match verdict {
            Verdict::Admitted(seq) | Verdict::Replayed(seq) => Some((wish.clone(), *seq)),
            _ => None,
        });
        let is_committed = self.commit(epoch, &passed.collect::<Vec<_>>());
        let told = wishes
            .iter()
            .zip(&verdicts)
            .map(|(wish, verdict)| match verdict {
                Verdict::Admitted(_) | Verdict::Replayed(_) if !is_committed => {
                    Told::Refused(Reason::Fenced)
                }
                Verdict::Admitted(seq) => self.tell(wish, *seq, true),
                Verdict::Replayed(seq) => self.tell(wish, *seq, false),
                Verdict::KeyReused => Told::Refused(Reason::KeyReused),
                Verdict::NotOpen => Told::Refused(Reason::NotOpen),
                Verdict::Closed => Told::Refused(Reason::Closed),
                Verdict::LimitPerBuyer => Told::Refused(Reason::LimitPerBuyer),
                Verdict::SoldOut => Told::Refused(Reason::SoldOut),
                Verdict::UnknownSku => Told::Refused(Reason::NotFound),
                Verdict::Malformed => Told::Refused(Reason::InvalidArgument),
            })
            .collect();
        if !is_committed {
            self.recover(who);
        } else if verdicts.iter().any(|verdict| matches!(verdict, Verdict::Admitted(_))) {
            // The batch's own entry, the last one, is finished.
            self.gate.as_mut().and_then(|gate| gate.unconfirmed.as_mut()).map(Vec::pop);
        }
        told
    }

    /// What the row says to a wish that the gate let pass.
    fn tell(&mut self, wish: &Wish, seq: i64, is_admitted: bool) -> Told {
        let hold = &self.holds[&wish.id];
        if hold.wish != *wish {
            return Told::Refused(Reason::KeyReused);
        }
        let newly_admitted = is_admitted && hold.seq == seq;
        if newly_admitted {
            assert!(self.is_count_tampered || seq > self.last_told, "G2: places only go up");
            self.last_told = seq;
            assert!(self.limit == 0 || self.units_of(wish.buyer) <= i64::from(self.limit), "G2");
        }
        Told::Hold { seq: hold.seq, state: hold.state, newly_admitted }
    }

    fn units_of(&self, buyer: u8) -> i64 {
        let live = self.holds.values().filter(|hold| !hold.state.is_freed());
        live.filter(|hold| hold.wish.buyer == buyer).map(|hold| hold.wish.units()).sum()
    }

    /// Commits what the gate let pass, all or none, and undoes what is not the ledger's.
    fn commit(&mut self, epoch: i64, passed: &[(Wish, i64)]) -> bool {
        let mut rows = BTreeMap::new();
        for (wish, seq) in passed {
            if !self.holds.contains_key(&wish.id) {
                rows.entry(wish.id).or_insert((wish.clone(), *seq));
            }
        }
        let mut held = self.held.clone();
        let mut places: BTreeSet<i64> = self.holds.values().map(|hold| hold.seq).collect();
        for (wish, seq) in rows.values() {
            if !places.insert(*seq) {
                return false; // a place was given twice
            }
            wish.lines.iter().for_each(|(sku, units)| held[usize::from(*sku)] += units);
        }
        let is_oversold = |sku: usize| held[sku] + self.settled[sku] > self.totals[sku];
        if !rows.is_empty() && ((0..held.len()).any(is_oversold) || epoch != self.epoch) {
            return false;
        }
        self.held = held;
        for (wish, seq) in rows.into_values() {
            let (state, is_overdue) = (State::Held, false);
            let id = wish.id;
            self.holds.insert(id, Hold { wish, seq, state, is_overdue, forgotten: false });
        }
        for (wish, seq) in passed {
            if self.holds[&wish.id].seq != *seq {
                self.gate.as_mut().expect("it let them pass").free(wish.id, *seq);
            }
        }
        true
    }

    /// A command to holds; gives the state that each is in.
    pub fn command(&mut self, command: Command, ids: &[u8]) -> BTreeMap<u8, State> {
        let mut states = BTreeMap::new();
        for id in ids {
            let Some(hold) = self.holds.get_mut(id) else { continue };
            let may = command.starts_from().contains(&hold.state)
                && (command != Command::Expire || hold.is_overdue);
            if may {
                hold.state = command.leads_to();
                let effect = command.effect();
                for (sku, units) in &hold.wish.lines {
                    self.held[usize::from(*sku)] += units * effect.held;
                    self.settled[usize::from(*sku)] += units * effect.settled;
                }
                if command.frees() {
                    self.outbox.push((*id, hold.seq, Action::Free));
                }
            }
            states.insert(*id, self.holds[id].state);
        }
        states
    }

    /// Expires what is overdue.
    pub fn expire(&mut self) {
        let ids: Vec<u8> = self.holds.keys().copied().collect();
        self.command(Command::Expire, &ids);
    }

    /// Marks what the gate may forget.
    pub fn forget(&mut self) {
        for (id, hold) in &mut self.holds {
            if hold.state == State::Settled && !hold.forgotten {
                hold.forgotten = true;
                self.outbox.push((*id, hold.seq, Action::Forget));
            }
        }
    }

    /// Tells the gate what stands in the outbox.
    pub fn tell_gate(&mut self, who: Who) {
        if self.outbox.is_empty() {
            return;
        }
        let mut outbox = std::mem::take(&mut self.outbox);
        outbox.sort_by_key(|(_, _, action)| *action);
        let Some(gate) = self.gate_of(who) else {
            self.outbox = outbox;
            return self.recover(who);
        };
        for (id, seq, action) in outbox {
            match action {
                Action::Free => gate.free(id, seq),
                Action::Forget => gate.forget(id, seq),
            }
        }
    }

    /// Finishes what dead processes began.
    pub fn sweep(&mut self, who: Who) {
        let entries = self.gate_of(who).and_then(|gate| gate.unconfirmed.clone());
        let Some(entries) = entries else { return self.recover(who) };
        let epoch = self.knows[who];
        for entry in entries {
            let gate = self.gate.as_ref().expect("it has entries");
            let passed: Vec<_> =
                entry.iter().filter_map(|id| gate.taken.get(id)).cloned().collect();
            if !self.commit(epoch, &passed) {
                return self.recover(who);
            }
            let gate = self.gate.as_mut().expect("it has entries");
            gate.unconfirmed.as_mut().expect("it has entries").remove(0);
        }
    }

    /// Sets a total, or says what it may not be below.
    pub fn adjust(&mut self, who: Who, sku: usize, total: i32) -> Result<(), i32> {
        let floor = self.held[sku] + self.settled[sku];
        if total < floor {
            return Err(floor);
        }
        self.totals[sku] = total;
        self.rebuild(who);
        Ok(())
    }

    /// Moves the drop.
    pub fn schedule(&mut self, who: Who, window: usize, limit: usize) {
        (self.window, self.limit) = (window, LIMITS[limit]);
        self.rebuild(who);
    }

    /// An edge of the gate's window that its clock can move forward to.
    pub fn edge(&self, edge: usize) -> Option<i64> {
        let gate = self.gate.as_ref()?;
        let (opens, closes) = WINDOWS[gate.window];
        let at = match edge {
            0 => opens - 1,
            1 => opens,
            2 => closes? - 1,
            _ => closes?,
        };
        // Far enough ahead of the machine's clock that it cannot catch up.
        (at > 10 * MINUTE && at > self.clock).then_some(at)
    }
}

impl Gate {
    /// Decides a batch; `None` when it turns out to be missing.
    pub fn reserve(&mut self, clock: i64, wishes: &[Wish]) -> Option<Vec<Verdict>> {
        let before = self.clone();
        let verdicts: Vec<_> = wishes.iter().map(|wish| self.decide(clock, wish)).collect();
        let admitted = wishes.iter().zip(&verdicts);
        let admitted: Vec<u8> = admitted
            .filter(|(_, verdict)| matches!(verdict, Verdict::Admitted(_)))
            .map(|(wish, _)| wish.id)
            .collect();
        if !admitted.is_empty() {
            match &mut self.unconfirmed {
                Some(entries) => entries.push(admitted),
                None => {
                    *self = before;
                    return None;
                }
            }
        }
        Some(verdicts)
    }

    fn decide(&mut self, clock: i64, wish: &Wish) -> Verdict {
        if let Some((taken, seq)) = self.taken.get(&wish.id) {
            return if taken == wish { Verdict::Replayed(*seq) } else { Verdict::KeyReused };
        }
        let (opens, closes) = WINDOWS[self.window];
        if !wish.is_readable() {
            return Verdict::Malformed;
        } else if closes.is_some_and(|closes| clock >= closes) {
            return Verdict::Closed;
        } else if clock < opens {
            return Verdict::NotOpen;
        } else if wish.lines.iter().any(|(sku, _)| usize::from(*sku) >= self.available.len()) {
            return Verdict::UnknownSku;
        }
        let units = self.units_of.get(&wish.buyer).copied().unwrap_or(0) + wish.units();
        if self.limit > 0 && units > i64::from(self.limit) {
            return Verdict::LimitPerBuyer;
        }
        if wish.lines.iter().any(|(sku, units)| self.available[usize::from(*sku)] < *units) {
            return Verdict::SoldOut;
        }
        for (sku, units) in &wish.lines {
            self.available[usize::from(*sku)] -= units;
        }
        if self.limit > 0 {
            self.units_of.insert(wish.buyer, units);
        }
        self.seq += 1;
        self.taken.insert(wish.id, (wish.clone(), self.seq));
        Verdict::Admitted(self.seq)
    }

    /// Undoes exactly this admission.
    fn free(&mut self, id: u8, seq: i64) {
        if self.taken.get(&id).is_none_or(|(_, taken)| *taken != seq) {
            return;
        }
        let (wish, _) = self.taken.remove(&id).expect("it is there");
        for (sku, units) in &wish.lines {
            self.available[usize::from(*sku)] += units;
        }
        if let Some(units) = self.units_of.get_mut(&wish.buyer) {
            *units -= wish.units();
        }
        self.units_of.retain(|_, units| *units > 0);
    }

    /// Drops exactly this record.
    fn forget(&mut self, id: u8, seq: i64) {
        if self.taken.get(&id).is_some_and(|(_, taken)| *taken == seq) {
            self.taken.remove(&id);
        }
    }
}
