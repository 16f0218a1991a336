//! Accounts that are shut, or given up.

use std::time::Duration;

use firstcome_e2e::{
    Shop,
    member::{self, Member, PASSWORD, join_in, reason_of, verify},
    shop::Terms,
};
use firstcome_proto::{
    Reason,
    order_v1::GetOrderRequest,
    user_v1::{DeleteAccountRequest, SetUserStateRequest, UserState},
};
use firstcome_testkit::eventually;

use super::{PATIENCE, REVOKED_WITHIN, code_of_newest, profile, until_refused};

#[tokio::test(flavor = "multi_thread")]
async fn a_banned_account_is_out_within_a_second_and_keeps_its_orders() {
    let shop = Shop::shared().await;
    let sale = shop.sell(Terms::of(1)).await.unwrap();
    let member = Member::join(shop).await.unwrap();
    let order = member.buyer().buy(&sale, "pair").await.unwrap();
    let set = |state: UserState| SetUserStateRequest {
        user_id: member.user.to_string(),
        state: state as i32,
    };
    let own = member.accounts().set_user_state(member.call(set(UserState::Banned))).await;
    assert_eq!(reason_of(own), Reason::PermissionDenied);

    let mut accounts = member.accounts();
    accounts.set_user_state(shop.as_admin(set(UserState::Banned))).await.unwrap();
    let took = until_refused(&member).await;
    assert!(took <= REVOKED_WITHIN, "{took:?}");
    let banned = Member::on_device(shop, &member.email, PASSWORD, "").await;
    assert_eq!(reason_of(banned.map(drop)), Reason::AccountBanned);
    let guess = Member::on_device(shop, &member.email, "wrong-pairs-1!", "").await;
    assert_eq!(reason_of(guess.map(drop)), Reason::BadCredentials, "only after a right password");

    accounts.set_user_state(shop.as_admin(set(UserState::Active))).await.unwrap();
    let back = Member::on_device(shop, &member.email, PASSWORD, "").await.unwrap();
    assert_eq!(back.buyer().order(&order.order_id).await.unwrap().order_id, order.order_id);
    assert!(profile(&member).await.is_err(), "old tokens stay dead");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_account_leaves_its_orders_and_frees_its_address() {
    let shop = Shop::shared().await;
    let sale = shop.sell(Terms::of(1)).await.unwrap();
    let member = Member::join(shop).await.unwrap();
    let buyer = member.buyer();
    let order = buyer.buy(&sale, "pair").await.unwrap();
    buyer.pay(&order.order_id, "pm_card_approve").await.unwrap();
    let delete =
        |password: &str| member.call(DeleteAccountRequest { password: password.to_owned() });
    let wrong = member.profiles().delete_account(delete("wrong-pairs-1!")).await;
    assert_eq!(reason_of(wrong), Reason::BadCredentials);
    member.profiles().delete_account(delete(PASSWORD)).await.unwrap();
    let took = until_refused(&member).await;
    assert!(took <= REVOKED_WITHIN, "{took:?}");
    let gone = Member::on_device(shop, &member.email, PASSWORD, "").await;
    assert_eq!(reason_of(gone.map(drop)), Reason::BadCredentials);

    let read = GetOrderRequest { order_id: order.order_id.clone() };
    let kept = buyer.orders().get_order(shop.as_admin(read)).await.unwrap().into_inner();
    assert_eq!(kept.order.unwrap().user_id, member.user.to_string());
    let mails = member.mails().len();
    let sign_up = member::sign_up(&member.email);
    // Whoever holds the sign-up's token is who signed up last.
    let token = std::cell::RefCell::new(String::new());
    let signed_up = || async {
        let joined = join_in(shop, sign_up.clone()).await;
        joined.map(|joined| token.replace(joined)).is_ok()
    };
    eventually(Duration::from_secs(90), signed_up).await;
    eventually(PATIENCE, || async { code_of_newest(&member, mails).is_some() }).await;
    let code = code_of_newest(&member, mails).unwrap();
    verify(shop, &member.email, &code, &token.take()).await.unwrap();
    let anew = Member::on_device(shop, &member.email, PASSWORD, "").await.unwrap();
    assert_ne!(anew.user, member.user, "another person, as far as anybody knows");
    assert!(anew.buyer().newest_orders().await.unwrap().is_empty());
}
