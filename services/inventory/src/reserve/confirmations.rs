//! What stands in `unconfirmed` although its admissions are in the ledger, on its way out. Nobody
//! waits for that, so entries gather for a moment: one call takes out those of many batches. What
//! is forgotten, as by a process that dies, is looked at again later and found done.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use firstcome_mesh::Shutdown;
use firstcome_proto::ProductId;
use parking_lot::Mutex;

use crate::gate::Gate;

/// How long entries gather: a hundredth of the time after which somebody else would look at them.
const GATHER: Duration = Duration::from_millis(50);

/// Takes finished entries out of `unconfirmed`. Clones share one list.
#[derive(Clone)]
pub struct Confirmations {
    gate: Gate,
    shutdown: Shutdown,
    finished: Arc<Mutex<HashMap<ProductId, Vec<String>>>>,
}

impl Confirmations {
    /// For this gate; what is under way is finished before the process ends.
    pub fn new(gate: Gate, shutdown: Shutdown) -> Self {
        Self { gate, shutdown, finished: Arc::default() }
    }

    /// Adds entries, all of whose admissions are in the ledger.
    pub fn add(&self, product: ProductId, entries: Vec<String>) {
        if entries.is_empty() {
            return;
        }
        match self.finished.lock().entry(product) {
            Entry::Occupied(mut gathered) => return gathered.get_mut().extend(entries),
            Entry::Vacant(gathered) => drop(gathered.insert(entries)),
        }
        let Self { gate, finished, .. } = self.clone();
        self.shutdown.spawn(async move {
            tokio::time::sleep(GATHER).await;
            let entries = finished.lock().remove(&product).unwrap_or_default();
            if let Err(fault) = gate.confirm(product, entries).await {
                tracing::debug!(%product, %fault, "confirm admissions later");
            }
        });
    }
}
