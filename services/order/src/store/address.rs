//! Where the goods of an order go: sealed by the statements that write it, and opened here alone.

use std::time::Duration;

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
                address.map(Some).ok_or_else(|| unreadable(id, "not an address"))
            }
            (None, Some(clear)) => read_clear(id, &clear).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// Seals every address anew that is in the clear, or under another than the current key, while
    /// all serve; gives how many it were. What is being written is passed over, and looked at
    /// again.
    pub async fn seal_addresses(&self) -> Result<u64, Error> {
        let (front, mut count) = (self.vault.current_front().to_vec(), 0);
        loop {
            let (mut last, mut busy) = (Uuid::nil(), 0);
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
                let Some(end) = rows.last() else { break };
                last = end.order_id;
                let old = rows.into_iter().filter(|row| row.is_old).map(|row| row.order_id);
                let old: Vec<Uuid> = old.collect();
                let done = self.seal_rows(&old).await?;
                count += done;
                busy += old.len() as u64 - done;
            }
            if busy == 0 {
                return Ok(count);
            }
            sleep(SEAL_PAUSE).await;
        }
    }

    /// What is written of an address.
    pub(super) fn seal(&self, id: OrderId, address: &Address) -> Sealed {
        self.vault.seal(place(id), &address.to_bytes())
    }

    /// Seals the addresses of those of these orders that nobody is writing; gives how many.
    /// Nothing here waits for another's lock while it holds one.
    async fn seal_rows(&self, ids: &[Uuid]) -> Result<u64, Error> {
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
        for row in &rows {
            let id = OrderId(row.order_id);
            let anew = match (&row.address_sealed, &row.address) {
                (Some(old), _) => {
                    let anew = self.vault.reseal(place(id), old);
                    anew.map_err(|fault| unreadable(id, fault))?.unwrap_or_else(|| old.clone())
                }
                (None, Some(clear)) => self.seal(id, &read_clear(id, clear)?),
                (None, None) => continue,
            };
            orders.push(row.order_id);
            sealed.push(anew);
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
        Ok(rows.len() as u64)
    }
}

/// Where an order's address opens.
fn place(id: OrderId) -> Place {
    Place { column: "orders.address", row: id.0 }
}

/// Reads what earlier releases wrote.
fn read_clear(id: OrderId, clear: &serde_json::Value) -> Result<Address, Error> {
    let text = |field: &str| clear[field].as_str().unwrap_or_default().to_owned();
    let address = address_v1::Address {
        recipient: text("recipient"),
        phone: text("phone"),
        line1: text("line1"),
        line2: text("line2"),
        city: text("city"),
        postal_code: text("postal_code"),
        country_code: text("country_code"),
    };
    Address::try_from(address).map_err(|_| unreadable(id, "not an address"))
}

fn unreadable(id: OrderId, why: impl std::fmt::Display) -> Error {
    Error::Fault(sqlx::Error::Decode(format!("the address of order {id}: {why}").into()))
}
