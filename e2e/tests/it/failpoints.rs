//! The processes stop dead between any two steps; after the restart every promise holds and every
//! order reaches a final state.

use std::time::Duration;

use firstcome_e2e::{
    Shop,
    member::{Member, PASSWORD},
    scenario,
};
use firstcome_local::Service;
use firstcome_proto::user_v1::ChangePasswordRequest;
use firstcome_testkit::eventually;

/// Each is reached by a small sale.
const INVENTORY: [&str; 7] = [
    "inventory.between_gate_and_ledger",
    "inventory.between_commit_and_answer",
    "inventory.between_command_and_answer",
    "inventory.between_expire_and_free",
    "inventory.between_free_and_delete",
    "inventory.between_epoch_and_load",
    "inventory.between_load_chunks",
];
const ORDER: [&str; 22] = [
    "order.before_insert",
    "order.after_insert",
    "pay.after_mark",
    "pay.after_pin",
    "pay.before_authorize",
    "pay.after_authorize",
    "pay.before_settle",
    "pay.after_settle",
    "pay.before_capture",
    "pay.after_capture",
    "pay.before_restock",
    "pay.after_restock",
    "pay.before_void",
    "pay.after_void",
    "pay.before_release",
    "pay.after_release",
    "cancel.after_mark",
    "cancel.after_release",
    "expire.before_release",
    "give_back.before_restock",
    "give_back.after_restock",
    "give_back.after_refund",
];
const PAYMENT: [&str; 4] = [
    "payment.after_intent",
    "sandbox.after_commit",
    "payment.after_provider",
    "payment.after_commit",
];

async fn survives(service: Service, points: &[&str]) {
    let shop = Shop::own(&[]).await.unwrap();
    for point in points {
        shop.mesh.set_env(service, "FIRSTCOME_FAILPOINT", Some(point));
        shop.mesh.restart(service).await.unwrap();
        let revive = async {
            let died = shop.mesh.wait_until_ended(service, Duration::from_secs(30)).await;
            died.unwrap_or_else(|error| panic!("{point} is reached: {error:#}"));
            shop.mesh.set_env(service, "FIRSTCOME_FAILPOINT", None);
            shop.mesh.start_again(service).await.unwrap();
        };
        let (orders, ()) = futures::join!(scenario::small_sale(&shop), revive);
        orders.unwrap_or_else(|error| panic!("{point}: {error:#}"));
        shop.verify().await.unwrap_or_else(|error| panic!("{point}: {error:#}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn inventory_may_die_between_any_two_steps() {
    survives(Service::Inventory, &INVENTORY).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn order_may_die_between_any_two_steps() {
    survives(Service::Order, &ORDER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn payment_may_die_between_any_two_steps() {
    survives(Service::Payment, &PAYMENT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_password_is_told_of_though_user_dies_at_once() {
    let shop = Shop::own(&[]).await.unwrap();
    let member = Member::join(&shop).await.unwrap();
    let point = Some("user.after_password");
    shop.mesh.set_env(Service::User, "FIRSTCOME_FAILPOINT", point);
    shop.mesh.restart(Service::User).await.unwrap();
    let change = member.call(ChangePasswordRequest {
        old_password: PASSWORD.into(),
        new_password: "other-pairs-5!".into(),
    });
    member.accounts().change_password(change).await.map(drop).unwrap_err();
    shop.mesh.wait_until_ended(Service::User, Duration::from_secs(30)).await.unwrap();
    shop.mesh.set_env(Service::User, "FIRSTCOME_FAILPOINT", None);
    shop.mesh.start_again(Service::User).await.unwrap();
    let told = |mail: &String| mail.contains("password was changed");
    let is_told = || async { member.mails().iter().any(told) };
    eventually(Duration::from_secs(60), is_told).await;
    Member::on_device(&shop, &member.email, "other-pairs-5!", "").await.unwrap();
}
