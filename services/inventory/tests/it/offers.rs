//! What carts are told of SKUs.

use bytes::Bytes;
use firstcome_inventory::{catalog::Drop as Window, store::epoch::Change};
use firstcome_proto::{
    ProductId, Refusal, SkuId,
    inventory_v1::{
        Availability, GetOffersRequest, Offer, OfferKey, ProductStatus, UpdateProductRequest,
    },
};
use firstcome_testkit::eventually;
use uuid::Uuid;

use crate::it::{
    app::{Goods, Replica, SOON, Shop, from_now, open_window},
    catalogue::update,
};

async fn offers(replica: &Replica, keys: &[(ProductId, SkuId)]) -> Result<Vec<Offer>, Refusal> {
    let key = |(product, sku): &(ProductId, SkuId)| OfferKey {
        product_id: product.to_wire(),
        sku_id: sku.to_wire(),
    };
    let request = GetOffersRequest { keys: keys.iter().map(key).collect() };
    let answered = replica.offers().get_offers(request).await;
    answered.map(|offers| offers.into_inner().offers).map_err(|s| Refusal::from_status(&s))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_sku_is_answered_for_itself_in_the_order_asked() {
    let shop = Shop::open().await;
    let (one, two) = (shop.replica().await, shop.replica().await);
    let parts = &one.parts;
    let selling = parts.sell(&[5, 0], open_window()).await;
    let unscheduled = parts.register(&[5]).await;
    let early = parts.sell(&[5], Window { opens_at: from_now(60), ..open_window() }).await;
    let closes_at = Some(from_now(-60));
    let late = parts.sell(&[5], Window { closes_at, ..open_window() }).await;
    let cancelled = parts.sell(&[5], open_window()).await;
    parts.live.change(cancelled.id, Change::NoDrop).await.unwrap();
    let ended = parts.sell(&[5], open_window()).await;
    let end = UpdateProductRequest {
        product_id: ended.id.to_string(),
        status: ProductStatus::Discontinued as i32,
        ..Default::default()
    };
    update(&one, &["status"], end).await.unwrap();
    for answer in one.reserve(&selling, selling.wishes(2)).await {
        answer.unwrap();
    }

    let of = |goods: &Goods, place: usize| (goods.id, goods.skus[place]);
    let cases = [
        (of(&selling, 1), Availability::SoldOut, 0),
        (of(&selling, 0), Availability::Available, 3),
        (of(&unscheduled, 0), Availability::NotOpen, 0),
        (of(&early, 0), Availability::NotOpen, 0),
        (of(&late, 0), Availability::Closed, 0),
        (of(&cancelled, 0), Availability::NotOpen, 0),
        (of(&ended, 0), Availability::Discontinued, 0),
        ((selling.id, ended.sku()), Availability::UnknownSku, 0),
        ((ProductId(Uuid::new_v4()), selling.sku()), Availability::UnknownSku, 0),
        (of(&selling, 0), Availability::Available, 3),
    ];
    let keys: Vec<_> = cases.iter().map(|(key, ..)| *key).collect();
    for replica in [&one, &two] {
        let answers = offers(replica, &keys).await.unwrap();
        assert_eq!(answers.len(), cases.len());
        for (offer, (key, availability, available)) in answers.iter().zip(&cases) {
            assert_eq!(offer.availability(), *availability, "{key:?}");
            assert_eq!(offer.available, *available, "{key:?}");
            let is_known = *availability != Availability::UnknownSku;
            assert_eq!(offer.unit_price.as_ref().is_some_and(|p| p.amount_minor == 9900), is_known);
            assert_eq!(!offer.product_name.is_empty() && !offer.sku_label.is_empty(), is_known);
        }
    }

    // A gate that is gone answers so, and is made again because somebody asked.
    shop.lose_gate(&selling).await;
    let answer = offers(&one, &keys[..3]).await.unwrap();
    assert_eq!(answer[1].availability(), Availability::StockUnknown);
    assert_eq!(answer[2].availability(), Availability::NotOpen, "others are not held up");
    eventually(SOON, async || offers(&one, &keys[1..2]).await.unwrap()[0].available == 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_faulty_question_is_refused_by_field() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let id = Bytes::from_static(&[7; 16]);
    let key = |product_id: &Bytes, sku_id: &Bytes| OfferKey {
        product_id: product_id.clone(),
        sku_id: sku_id.clone(),
    };
    let bad = Bytes::from_static(&[7]);
    let cases = [
        (Vec::new(), "keys"),
        (vec![key(&id, &id); 101], "keys"),
        (vec![key(&id, &id), key(&bad, &id)], "keys[1].product_id"),
        (vec![key(&id, &bad)], "keys[0].sku_id"),
    ];
    for (keys, field) in cases {
        let status = replica.offers().get_offers(GetOffersRequest { keys }).await.expect_err(field);
        assert_eq!(Refusal::from_status(&status).violations[0].field, field);
    }
}
