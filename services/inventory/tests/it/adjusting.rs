//! AdjustStock against sell-out: totals that go up and down while everything else happens.

use std::collections::HashSet;

use bytes::Bytes;
use firstcome_proto::{
    Reason, Refusal,
    inventory_v1::{AdjustStockRequest, Hold, ReleaseCause},
};
use firstcome_testkit::{eventually, rounds};
use futures::future::join_all;
use rand::{RngExt as _, seq::SliceRandom as _};

use crate::it::app::{Goods, Replica, SOON, Shop};

/// More than any total.
const BUYERS: usize = 30;

/// Sets the total; gives what it is, or the floor that it was refused for.
async fn adjust(replica: &Replica, goods: &Goods, total: i32) -> Result<i32, i32> {
    let request = AdjustStockRequest {
        product_id: goods.id.to_string(),
        sku_id: goods.sku().to_string(),
        total,
    };
    match replica.catalogue().adjust_stock(request).await {
        Ok(adjusted) => Ok(adjusted.into_inner().product.unwrap().skus[0].total),
        Err(status) => {
            let refusal = Refusal::from_status(&status);
            assert_eq!(refusal.reason(), Reason::BelowCommitted);
            Err(refusal.metadata["floor"].parse().unwrap())
        }
    }
}

/// Ends some holds of earlier rounds in every way there is; what may not end so is left alone.
async fn live_on(shop: &Shop, replica: &Replica, goods: &Goods, ids: &[Bytes]) {
    for (place, id) in ids.iter().enumerate() {
        let id = std::slice::from_ref(id);
        match place % 5 {
            0 => drop(replica.release(goods, id, ReleaseCause::Cancel).await),
            1 => shop.make_overdue(goods, &id[0]).await,
            2 => drop(replica.pin(goods, id).await),
            3 => {
                replica.pin(goods, id).await;
                replica.settle(goods, id).await;
            }
            _ => drop(replica.restock(goods, id).await),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_change_while_units_sell_out_and_come_back() {
    let (shop, one, goods) = Shop::selling(10, 0).await;
    let two = shop.replica().await;
    let mut total = 10;
    let mut told: HashSet<Bytes> = HashSet::new();
    for round in 0..rounds() {
        let mut earlier: Vec<Bytes> = told.iter().cloned().collect();
        earlier.shuffle(&mut rand::rng());
        let totals: [i32; 3] = std::array::from_fn(|_| rand::rng().random_range(5..25));
        let admin = async {
            let mut now = total;
            for wanted in totals {
                match adjust(&one, &goods, wanted).await {
                    Ok(adjusted) => {
                        assert_eq!(adjusted, wanted);
                        now = adjusted;
                    }
                    Err(floor) => assert!(wanted < floor && floor <= now, "{wanted} of {floor}"),
                }
            }
            now
        };
        let buyers = goods.wishes(BUYERS).into_iter().enumerate().map(|(buyer, item)| {
            let (replica, goods) = (if buyer % 2 == 0 { &one } else { &two }, &goods);
            async move { (item.reservation_id.clone(), replica.insist(goods, item).await) }
        });
        let (now, answers, ()) =
            tokio::join!(admin, join_all(buyers), live_on(&shop, &two, &goods, &earlier));
        total = now;
        for (id, answer) in answers {
            match answer {
                Ok(Hold { .. }) => assert!(told.insert(id), "each buyer is one"),
                Err(refusal) => assert_eq!(refusal.reason(), Reason::SoldOut, "round {round}"),
            }
        }

        let overdue = "select count(*) from holds where state = 'held' and expires_at < now()";
        eventually(SOON, async || {
            let overdue = sqlx::query_scalar::<_, i64>(overdue);
            overdue.fetch_one(&shop.database.pool).await.unwrap() == 0
        })
        .await;
        // Never oversold; total = available + held + settled; the gate is what the ledger says.
        shop.assert_books_balance(&goods).await;
        assert_eq!(shop.counters(&goods).await[0].total, total, "round {round}");
        let rows = shop.rows(&goods).await;
        let known: HashSet<_> = rows.iter().map(|row| *row.reservation_id.as_bytes()).collect();
        assert!(told.iter().all(|id| known.contains(&id[..])), "who was told yes is on record");
        assert_eq!(known.len(), told.len(), "and nobody else took a unit");
        // Whoever asks now gets all that is left, and not one more.
        let left = rows.iter().filter(|row| row.is_live()).map(|row| row.units()).sum::<i64>();
        let rest = join_all(goods.wishes(BUYERS).into_iter().map(|item| {
            let (one, goods) = (&one, &goods);
            async move { (item.reservation_id.clone(), one.insist(goods, item).await) }
        }));
        let got: Vec<_> = rest
            .await
            .into_iter()
            .filter_map(|(id, answer)| answer.is_ok().then_some(id))
            .collect();
        assert_eq!(left + got.len() as i64, i64::from(total), "round {round}");
        told.extend(got);
    }
    shop.assert_books_balance(&goods).await;
}
