//! Who likes what, and how many.

use firstcome_mesh::{Identity, identity};
use firstcome_proto::{
    Reason, Refusal, SessionId, UserId,
    access::Role,
    inventory_v1::{LikeProductRequest, UnlikeProductRequest},
};
use firstcome_testkit::eventually;
use futures::future::join_all;
use tonic::Request;
use uuid::Uuid;

use crate::it::{
    app::{Replica, SOON, Shop},
    catalogue::get,
};

/// A call that the edge passes on for this user.
fn by<T>(user: UserId, message: T) -> Request<T> {
    let identity = Identity { user, session: SessionId(Uuid::new_v4()), role: Role::User };
    let mut request = Request::new(message);
    request.metadata_mut().insert_bin(identity::HEADER, identity.to_header());
    request
}

async fn like(replica: &Replica, user: UserId, product_id: &str) -> Result<i32, Refusal> {
    let request = by(user, LikeProductRequest { product_id: product_id.into() });
    let liked = replica.catalogue().like_product(request).await;
    liked.map(|liked| liked.into_inner().like_count).map_err(|s| Refusal::from_status(&s))
}

async fn unlike(replica: &Replica, user: UserId, product_id: &str) -> Result<i32, Refusal> {
    let request = by(user, UnlikeProductRequest { product_id: product_id.into() });
    let unliked = replica.catalogue().unlike_product(request).await;
    unliked.map(|unliked| unliked.into_inner().like_count).map_err(|s| Refusal::from_status(&s))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_likes_a_product_once_however_often_they_say_so() {
    let shop = Shop::open().await;
    let (one, two) = (shop.replica().await, shop.replica().await);
    let id = one.parts.register(&[1]).await.id.to_string();
    let users = [UserId(Uuid::new_v4()), UserId(Uuid::new_v4())];
    assert_eq!(like(&one, users[0], &id).await, Ok(1));
    assert_eq!(like(&two, users[0], &id).await, Ok(1));
    assert_eq!(like(&one, users[1], &id).await, Ok(2));
    for replica in [&one, &two] {
        let shown = async || get(replica, &id).await.unwrap().like_count;
        eventually(SOON, async || shown().await == 2).await;
    }
    assert_eq!(unlike(&one, users[0], &id).await, Ok(1));
    assert_eq!(unlike(&two, users[0], &id).await, Ok(1));

    let nowhere = Uuid::new_v4().to_string();
    for refusal in [like(&one, users[0], &nowhere).await, unlike(&one, users[0], &nowhere).await] {
        assert_eq!(refusal.expect_err("no such product").reason(), Reason::NotFound);
    }
    assert_eq!(like(&one, users[0], "x").await.unwrap_err().violations[0].field, "product_id");
    let stranger = LikeProductRequest { product_id: id };
    one.catalogue().like_product(stranger).await.expect_err("nobody likes it");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_count_survives_many_who_cannot_make_up_their_minds() {
    let shop = Shop::open().await;
    let replicas = [shop.replica().await, shop.replica().await];
    let id = replicas[0].parts.register(&[1]).await.id.to_string();
    // Each user taps from two devices at once, which meet on the user's own row.
    let users: Vec<_> = (0..8).map(|_| UserId(Uuid::new_v4())).collect();
    let devices =
        users.iter().flat_map(|user| replicas.iter().map(move |replica| (*user, replica)));
    let taps = devices.enumerate().map(|(device, (user, replica))| {
        let id = &id;
        async move {
            for tap in 0..25 {
                let wants = (device + tap) % 3 != 0;
                let count = match wants {
                    true => like(replica, user, id).await,
                    false => unlike(replica, user, id).await,
                };
                assert!((0..=8).contains(&count.unwrap()), "never below none or above all");
            }
        }
    });
    join_all(taps).await;
    let sql = "select like_count::bigint, (select count(*) from likes) from product_marks";
    let (count, rows): (i64, i64) =
        sqlx::query_as(sql).fetch_one(&shop.database.pool).await.unwrap();
    assert_eq!(count, rows);

    for user in &users {
        like(&replicas[0], *user, &id).await.unwrap();
    }
    assert_eq!(like(&replicas[1], users[0], &id).await, Ok(8));
}
