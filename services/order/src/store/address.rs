//! Where the goods of an order go: sealed by the statements that write it, and opened here alone.

use std::{collections::HashSet, time::Duration};

use firstcome_proto::{Address, OrderId, address_v1};
use firstcome_vault::{Place, Sealed};
use sqlx::Connection as _;
use tokio::time::sleep;
use uuid::Uuid;

use super::{Error, Store};

/// Rows sealed in one transaction: a few milliseconds, in which their payments wait.
const SEAL_ROWS_MAX: i64 = 256;
/// Who writes a row holds it for milliseconds; then it is looked at again.
const SEAL_PAUSE: Duration = Duration::from_millis(200);
/// Looks at all rows, ten seconds of pauses in all. Where something is left by then, somebody goes
/// on writing under an older key, and no further look would be the last one.
const SEAL_LOOKS_MAX: u32 = 50;

/// What opens, and is not what it should be.
const NO_ADDRESS: &str = "not an address";

/// What became of the addresses that were in the clear, or under another than the current key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resealed {
    /// Sealed anew.
    pub addresses: u64,
    /// Left as they are: their key is not on the ring, or they were changed, or are none.
    pub unopened: u64,
    /// Found by the last look after many: somebody holds their rows, or still writes so.
    pub behind: u64,
}

impl Store {
    /// Where the goods of an order go, if it says so.
    pub async fn address_of(&self, id: OrderId) -> Result<Option<Address>, Error> {
        let row =
            sqlx::query!("select address_sealed, address from orders where order_id = $1", id.0)
                .fetch_optional(&self.pool)
                .await?;
        let Some(row) = row else { return Ok(None) };
        match (row.address_sealed, row.address) {
            (Some(sealed), _) => {
                let bytes = self.vault.open(place(id), &sealed);
                let bytes = bytes.map_err(|fault| unreadable(id, fault))?;
                let address = Address::from_bytes(&bytes);
                address.map(Some).ok_or_else(|| unreadable(id, NO_ADDRESS))
            }
            (None, Some(clear)) => {
                read_clear(&clear).map(Some).ok_or_else(|| unreadable(id, NO_ADDRESS))
            }
            (None, None) => Ok(None),
        }
    }

    /// Seals every address anew that is in the clear, or under another than the current key, while
    /// all serve. What is being written is passed over, and looked at again; what does not open is
    /// left as it is, and counted.
    pub async fn seal_addresses(&self) -> Result<Resealed, Error> {
        let (mut all, mut unopened) = (Resealed::default(), HashSet::new());
        for look in 0..SEAL_LOOKS_MAX {
            if look > 0 {
                sleep(SEAL_PAUSE).await;
            }
            let (found, sealed) = self.seal_found(&mut unopened).await?;
            all.addresses += sealed;
            all.unopened = unopened.len() as u64;
            // Also when all of it was sealed: more may have been written behind this look.
            all.behind = found;
            if found == 0 {
                break;
            }
        }
        Ok(all)
    }

    /// Looks at all orders once; gives how many addresses it found that want sealing and open, and
    /// how many it sealed. Those that do not open join `unopened`, and are not tried again.
    async fn seal_found(&self, unopened: &mut HashSet<Uuid>) -> Result<(u64, u64), Error> {
        let front = self.vault.current_front();
        let (mut last, mut found, mut sealed) = (Uuid::nil(), 0, 0);
        // By the key, as many rows at a time whatever is in them: no index is needed, and no
        // statement takes long.
        loop {
            let rows = sqlx::query!(
                r#"select order_id, address is not null
                       or coalesce(substr(address_sealed, 1, 4) <> $2, false) as "is_old!"
                   from orders where order_id > $1 order by order_id limit $3"#,
                last,
                &front,
                SEAL_ROWS_MAX
            )
            .fetch_all(&self.pool)
            .await?;
            let Some(end) = rows.last() else { return Ok((found, sealed)) };
            last = end.order_id;
            let old = rows.into_iter().filter(|row| row.is_old).map(|row| row.order_id);
            let mut old: Vec<Uuid> = old.filter(|id| !unopened.contains(id)).collect();
            sealed += self.seal_rows(&old, unopened).await?;
            old.retain(|id| !unopened.contains(id));
            found += old.len() as u64;
        }
    }

    /// What is written of an address.
    pub(super) fn seal(&self, id: OrderId, address: &Address) -> Sealed {
        self.vault.seal(place(id), &address.to_bytes())
    }

    /// Seals the addresses of those of these orders that nobody is writing; gives how many.
    /// Nothing here waits for another's lock while it holds one.
    async fn seal_rows(&self, ids: &[Uuid], unopened: &mut HashSet<Uuid>) -> Result<u64, Error> {
        if ids.is_empty() {
            return Ok(0);
        }
        let mut lent = self.pool.acquire().await?;
        let mut tx = lent.begin().await?;
        let rows = sqlx::query!(
            "select order_id, address_sealed, address from orders
             where order_id = any($1) for no key update skip locked",
            ids
        )
        .fetch_all(&mut *tx)
        .await?;
        let (mut orders, mut sealed) = (Vec::new(), Vec::new());
        for row in rows {
            let id = OrderId(row.order_id);
            let anew = match (row.address_sealed, row.address) {
                (Some(old), _) => {
                    let anew = self.vault.reseal(place(id), &old).map_err(|it| it.to_string());
                    // Under the current key by now, it is written as it is, without the clear one.
                    anew.map(|anew| anew.unwrap_or(old))
                }
                (None, Some(clear)) => read_clear(&clear)
                    .map(|address| self.seal(id, &address))
                    .ok_or_else(|| NO_ADDRESS.to_owned()),
                (None, None) => continue,
            };
            match anew {
                Ok(anew) => {
                    orders.push(row.order_id);
                    sealed.push(anew);
                }
                Err(fault) => {
                    tracing::warn!(order = %id, fault, "an address is left as it is");
                    unopened.insert(row.order_id);
                }
            }
        }
        sqlx::query!(
            "update orders set address_sealed = anew.sealed, address = null
             from unnest($1::uuid[], $2::bytea[]) as anew (id, sealed)
             where orders.order_id = anew.id",
            &orders,
            &sealed
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        lent.give_back();
        Ok(orders.len() as u64)
    }
}

/// Where an order's address opens.
fn place(id: OrderId) -> Place {
    Place { column: "orders.address", row: id.0 }
}

/// Reads what earlier releases wrote, which judged it then; `None` when it is nothing of theirs.
fn read_clear(clear: &serde_json::Value) -> Option<Address> {
    let text = |field: &str| clear[field].as_str().map(str::to_owned);
    Some(Address::kept(address_v1::Address {
        recipient: text("recipient")?,
        phone: text("phone")?,
        line1: text("line1")?,
        line2: text("line2")?,
        city: text("city")?,
        postal_code: text("postal_code")?,
        country_code: text("country_code")?,
    }))
}

fn unreadable(id: OrderId, why: impl std::fmt::Display) -> Error {
    Error::Fault(sqlx::Error::Decode(format!("the address of order {id}: {why}").into()))
}
