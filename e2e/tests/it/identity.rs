//! Accounts as their owners live with them: signed up, verified, on several devices, with a changed
//! password, a lost phone, a ban, an end.

use std::time::Duration;

use firstcome_e2e::{
    Shop,
    member::{self, Member, PASSWORD, code_of_mail, reason_of, verify},
    shop::Terms,
};
use firstcome_local::{Replica, Role, Service};
use firstcome_proto::{
    Reason, Refusal,
    address_v1::Address,
    edge_v1::{GetMyPageRequest, MyPagePart, shop_service_client::ShopServiceClient},
    order_v1::{
        AddWishlistItemRequest, GetOrderRequest, OrderState, PayOrderRequest,
        pay_order_request::Destination, wishlist_service_client::WishlistServiceClient,
    },
    user_v1::{
        ChangePasswordRequest, CreateAddressRequest, DeleteAccountRequest, DeleteAddressRequest,
        GetProfileRequest, Language, ListAddressesRequest, ListSessionsRequest,
        LogOutEverywhereRequest, LogOutRequest, Profile, RefreshSessionRequest,
        RequestPasswordResetRequest, ResendVerificationRequest, ResetPasswordRequest,
        RevokeSessionRequest, SetDefaultAddressRequest, SetUserStateRequest, UpdateAddressRequest,
        UpdateProfileRequest, UserState, account_service_client::AccountServiceClient,
    },
};
use firstcome_testkit::eventually;
use sqlx::PgPool;
use tokio::time::Instant;

/// A revoked token is refused after a second; the rest is for a machine that has no time.
const REVOKED_WITHIN: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(30);
const NEW_PASSWORD: &str = "other-pairs-5!";

/// Resends and replays in seconds instead of minutes.
const QUICK: [(Service, &str, &str); 2] = [
    (Service::User, "FIRSTCOME_CODE_COOLDOWN", "1s"),
    (Service::User, "FIRSTCOME_REFRESH_REPLAY", "2s"),
];
const OLD_KEY: &str = "1:0101010101010101010101010101010101010101010101010101010101010101";
const NEW_KEY: &str = "2:0202020202020202020202020202020202020202020202020202020202020202";

async fn profile(member: &Member) -> Result<Profile, Refusal> {
    let answer = member.profiles().get_profile(member.call(GetProfileRequest {})).await;
    let answer = answer.map_err(|status| Refusal::from_status(&status))?;
    Ok(answer.into_inner().profile.unwrap())
}

/// Waits until the edge refuses a device's token, and gives how long that took.
async fn until_refused(member: &Member) -> Duration {
    let started = Instant::now();
    eventually(PATIENCE, || async {
        profile(member).await.is_err_and(|refusal| refusal.reason() == Reason::TokenRevoked)
    })
    .await;
    started.elapsed()
}

async fn resend(shop: &Shop, email: &str) -> Result<(), Refusal> {
    let request = ResendVerificationRequest { email: email.to_owned() };
    // From anywhere: what is asked here is how often a mailbox is written to.
    let request = member::from_anywhere(request);
    let answer = AccountServiceClient::new(shop.channel.clone()).resend_verification(request).await;
    answer.map(drop).map_err(|status| Refusal::from_status(&status))
}

/// Asks again as long as it is told to come back.
async fn resend_in_time(shop: &Shop, email: &str) {
    eventually(PATIENCE, || async {
        match resend(shop, email).await {
            Ok(()) => true,
            Err(refusal) => {
                assert_eq!(refusal.reason(), Reason::RateLimited);
                assert!(refusal.retry_after.is_some());
                false
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_newest_code_of_the_right_address_in_time_makes_an_account() {
    let shop = Shop::own(&QUICK).await.unwrap();
    let mut accounts = AccountServiceClient::new(shop.channel.clone());
    let (email, other) = (member::new_email(), member::new_email());
    for email in [&email, &other] {
        accounts.sign_up(member::from_anywhere(member::sign_up(email))).await.unwrap();
    }
    let first = code_of_mail(&shop, &email, 1).await;
    let of_other = code_of_mail(&shop, &other, 1).await;
    if first != of_other {
        let refusal = verify(&shop, &email, &of_other).await.unwrap_err();
        assert_eq!(refusal.reason(), Reason::CodeInvalid, "a code of another account");
    }

    resend_in_time(&shop, &email).await;
    let second = code_of_mail(&shop, &email, 2).await;
    if first != second {
        let refusal = verify(&shop, &email, &first).await.unwrap_err();
        assert_eq!(refusal.reason(), Reason::CodeInvalid, "an older code");
    }

    // Five wrong tries burn it: the sixth is right, and too late.
    resend_in_time(&shop, &email).await;
    let third = code_of_mail(&shop, &email, 3).await;
    for wrong in 1..=5 {
        let number: u32 = third.parse().unwrap();
        let code = format!("{:06}", (number + wrong) % 1_000_000);
        let refusal = verify(&shop, &email, &code).await.unwrap_err();
        assert_eq!(refusal.reason(), Reason::CodeInvalid);
    }
    let refusal = verify(&shop, &email, &third).await.unwrap_err();
    assert_eq!(refusal.reason(), Reason::CodeInvalid, "the sixth guess, though right");

    resend_in_time(&shop, &email).await;
    let fourth = code_of_mail(&shop, &email, 4).await;
    // Twice at once, as by a double tap.
    let (one, two) = tokio::join!(verify(&shop, &email, &fourth), verify(&shop, &email, &fourth));
    one.unwrap();
    two.unwrap();
    let member = Member::on_device(&shop, &email, PASSWORD, "").await.unwrap();
    assert_eq!(profile(&member).await.unwrap().state(), UserState::Active);

    // Nobody learns who has an account: an address without one is answered the same.
    let nobody = member::new_email();
    resend(&shop, &nobody).await.unwrap();
    let again = resend(&shop, &nobody).await.unwrap_err();
    assert_eq!(again.reason(), Reason::RateLimited);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_none_after_its_time() {
    let ttl = Duration::from_secs(1);
    let shop = Shop::own(&[(Service::User, "FIRSTCOME_CODE_TTL", "1s")]).await.unwrap();
    let email = member::new_email();
    let mut accounts = AccountServiceClient::new(shop.channel.clone());
    accounts.sign_up(member::sign_up(&email)).await.unwrap();
    let asked = Instant::now();
    let code = code_of_mail(&shop, &email, 1).await;
    tokio::time::sleep_until(asked + ttl * 2).await;
    let refusal = verify(&shop, &email, &code).await.unwrap_err();
    assert_eq!(refusal.reason(), Reason::CodeInvalid);
    let early = Member::on_device(&shop, &email, PASSWORD, "").await;
    assert_eq!(reason_of(early.map(drop)), Reason::EmailNotVerified);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_is_spent_once_and_its_theft_ends_the_session() {
    let shop = Shop::own(&QUICK).await.unwrap();
    let mut member = Member::join(&shop).await.unwrap();
    let spent = member.tokens.refresh_token.clone();
    // Two at once with one token are one rotation, told twice.
    let mut twin = member.clone();
    let (one, two) = tokio::join!(member.refresh(), twin.refresh());
    one.unwrap();
    two.unwrap();
    assert_eq!(member.tokens.refresh_token, twin.tokens.refresh_token);
    assert!(profile(&member).await.is_ok());

    // A lost answer is told again for a while; afterwards the token is a thief's.
    let spend = || async {
        let request = RefreshSessionRequest { refresh_token: spent.clone() };
        let answer = member.accounts().refresh_session(request).await;
        answer.map_err(|status| Refusal::from_status(&status).reason())
    };
    eventually(PATIENCE, || async { spend().await.is_err() }).await;
    assert_eq!(spend().await.unwrap_err(), Reason::TokenRevoked);
    let refusal = twin.refresh().await.unwrap_err();
    assert_eq!(refusal.reason(), Reason::TokenRevoked, "the whole family is dead");
    let took = until_refused(&member).await;
    assert!(took <= REVOKED_WITHIN, "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_logged_out_within_a_second_and_nothing_brings_it_back() {
    let shop = Shop::own(&[]).await.unwrap();
    let phone = Member::join(&shop).await.unwrap();
    let on = |device: &'static str| Member::on_device(&shop, &phone.email, PASSWORD, device);
    let (laptop, tablet) = (on("laptop").await.unwrap(), on("tablet").await.unwrap());

    let list = || async {
        let request = laptop.call(ListSessionsRequest::default());
        laptop.accounts().list_sessions(request).await.unwrap().into_inner().sessions
    };
    let sessions = list().await;
    let devices: Vec<_> = sessions.iter().map(|session| session.device.as_str()).collect();
    assert_eq!(devices, ["tablet", "laptop", "first device"]);
    let current: Vec<_> = sessions.iter().filter(|session| session.is_current).collect();
    assert_eq!(current.len(), 1);
    assert_eq!(current[0].client_address, laptop.address);

    // One's own, then another one's by its id.
    let other_edge = Replica::start(shop.mesh.address(), Service::Edge, 2).await.unwrap();
    let beside = phone.through(other_edge.endpoint()).unwrap();
    assert!(profile(&beside).await.is_ok());
    phone.accounts().log_out(phone.call(LogOutRequest {})).await.unwrap();
    let (here, there) = tokio::join!(until_refused(&phone), until_refused(&beside));
    assert!(here.max(there) <= REVOKED_WITHIN, "on every edge: {here:?}, {there:?}");
    let session_id = sessions[0].session_id.clone();
    let revoke = RevokeSessionRequest { session_id };
    laptop.accounts().revoke_session(laptop.call(revoke.clone())).await.unwrap();
    laptop.accounts().revoke_session(laptop.call(revoke)).await.unwrap();
    let took = until_refused(&tablet).await;
    assert!(took <= REVOKED_WITHIN, "{took:?}");
    assert_eq!(list().await.len(), 1);
    assert!(profile(&laptop).await.is_ok());

    // Neither the loss of Redis nor a new edge knows less.
    shop.mesh.stores().redis().unwrap().flush_all().await.unwrap();
    shop.mesh.restart(Service::Edge).await.unwrap();
    for gone in [&phone, &tablet] {
        let refusal = profile(gone).await.unwrap_err();
        assert_eq!(refusal.reason(), Reason::TokenRevoked);
    }
    assert!(profile(&laptop).await.is_ok(), "nobody is logged out by it");

    laptop.accounts().log_out_everywhere(laptop.call(LogOutEverywhereRequest {})).await.unwrap();
    let took = until_refused(&laptop).await;
    assert!(took <= REVOKED_WITHIN, "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_changed_with_the_old_one_and_reset_with_a_mailed_code() {
    let shop = Shop::own(&QUICK).await.unwrap();
    let mut laptop = Member::join(&shop).await.unwrap();
    let phone = Member::on_device(&shop, &laptop.email, PASSWORD, "phone").await.unwrap();

    let change = |old: &str, new: &str| ChangePasswordRequest {
        old_password: old.into(),
        new_password: new.into(),
    };
    let wrong = laptop.call(change("wrong-pairs-1!", NEW_PASSWORD));
    let wrong = laptop.accounts().change_password(wrong).await;
    assert_eq!(reason_of(wrong), Reason::BadCredentials);
    // Twice, as after a lost answer.
    for _ in 0..2 {
        let request = laptop.call(change(PASSWORD, NEW_PASSWORD));
        laptop.accounts().change_password(request).await.unwrap();
    }
    let took = until_refused(&phone).await;
    assert!(took <= REVOKED_WITHIN, "every other device: {took:?}");
    laptop.refresh().await.unwrap();
    let old = Member::on_device(&shop, &laptop.email, PASSWORD, "").await;
    assert_eq!(reason_of(old.map(drop)), Reason::BadCredentials);

    let mails = laptop.mails().len();
    let email = laptop.email.clone();
    let ask = RequestPasswordResetRequest { email: email.clone() };
    let asked = || async {
        let ask = member::from_anywhere(ask.clone());
        laptop.accounts().request_password_reset(ask).await.is_ok()
    };
    eventually(PATIENCE, asked).await;
    let nobody = RequestPasswordResetRequest { email: member::new_email() };
    laptop.accounts().request_password_reset(nobody).await.unwrap();
    eventually(PATIENCE, || async { code_of_newest(&laptop, mails).is_some() }).await;
    let code = code_of_newest(&laptop, mails).unwrap();
    let reset = |new: &str| ResetPasswordRequest {
        email: email.clone(),
        code: code.clone(),
        new_password: new.to_owned(),
    };
    for _ in 0..2 {
        laptop.accounts().reset_password(reset(PASSWORD)).await.unwrap();
    }
    let second = laptop.accounts().reset_password(reset("third-pairs-6!")).await;
    assert_eq!(reason_of(second), Reason::CodeInvalid, "a code sets one password");
    let took = until_refused(&laptop).await;
    assert!(took <= REVOKED_WITHIN, "every device: {took:?}");
    Member::on_device(&shop, &email, PASSWORD, "").await.unwrap();
}

/// The code in the mails after the first so many.
fn code_of_newest(member: &Member, after: usize) -> Option<String> {
    let mails = member.mails();
    let bodies = mails.iter().skip(after).rev().filter_map(|mail| mail.split_once("\n\n"));
    let mut words =
        bodies.flat_map(|(_, body)| body.split(|letter: char| !letter.is_ascii_digit()));
    words.find(|word| word.len() == 6).map(str::to_owned)
}

fn seoul(line1: &str) -> Address {
    Address { line1: line1.to_owned(), ..firstcome_e2e::buyer::address() }
}

#[tokio::test(flavor = "multi_thread")]
async fn goods_go_to_an_address_of_the_book_as_it_was_when_they_were_paid() {
    let shop = Shop::shared().await;
    let sale = shop.sell(Terms::of(2)).await.unwrap();
    let member = Member::join(shop).await.unwrap();
    let add = |key: &str, line1: &str| {
        member.call(CreateAddressRequest {
            idempotency_key: key.to_owned(),
            address: Some(seoul(line1)),
        })
    };
    let mut profiles = member.profiles();
    let home = profiles.create_address(add("home", "1 Home-ro")).await.unwrap().into_inner();
    let home = home.address.unwrap();
    assert!(home.is_default, "the first one");
    let again = profiles.create_address(add("home", "1 Home-ro")).await.unwrap().into_inner();
    assert_eq!(again.address.unwrap().address_id, home.address_id, "a key adds once");
    let other = profiles.create_address(add("home", "2 Home-ro")).await;
    assert_eq!(reason_of(other), Reason::KeyReused);
    let work = profiles.create_address(add("work", "1 Work-ro")).await.unwrap().into_inner();
    let work = work.address.unwrap();

    let delete = |id: &str| member.call(DeleteAddressRequest { address_id: id.to_owned() });
    let refused = profiles.delete_address(delete(&home.address_id)).await;
    assert_eq!(reason_of(refused), Reason::DefaultAddress);
    let default = SetDefaultAddressRequest { address_id: work.address_id.clone() };
    profiles.set_default_address(member.call(default)).await.unwrap();

    let buyer = member.buyer();
    let order = buyer.buy(&sale, "pair").await.unwrap();
    let pay = |id: &str| {
        buyer.call(PayOrderRequest {
            order_id: order.order_id.clone(),
            destination: Some(Destination::AddressId(id.to_owned())),
            payment_method: "pm_card_approve".into(),
        })
    };
    // Another's book is none.
    let stranger = Member::join(shop).await.unwrap();
    let theirs = CreateAddressRequest {
        idempotency_key: "theirs".into(),
        address: Some(seoul("1 Their-ro")),
    };
    let theirs = stranger.profiles().create_address(stranger.call(theirs)).await.unwrap();
    let theirs = theirs.into_inner().address.unwrap().address_id;
    let refused = buyer.orders().pay_order(pay(&theirs)).await;
    assert_eq!(reason_of(refused), Reason::InvalidArgument);
    assert_eq!(buyer.order(&order.order_id).await.unwrap().state(), OrderState::PendingPayment);

    let paid = buyer.orders().pay_order(pay(&home.address_id)).await.unwrap().into_inner();
    assert_eq!(paid.order.unwrap().state(), OrderState::Preparing);
    // The book moves on; the parcel does not.
    let moved = UpdateAddressRequest {
        address_id: home.address_id.clone(),
        address: Some(seoul("9 Elsewhere-ro")),
    };
    profiles.update_address(member.call(moved)).await.unwrap();
    profiles.delete_address(delete(&home.address_id)).await.unwrap();
    let read = || GetOrderRequest { order_id: order.order_id.clone() };
    let own = buyer.orders().get_order(buyer.call(read())).await.unwrap().into_inner();
    assert_eq!(own.address.unwrap().line1, "1 Home-ro");
    let operators = buyer.orders().get_order(shop.as_admin(read())).await.unwrap().into_inner();
    assert_eq!(operators.address.unwrap().line1, "1 Home-ro", "who ships must know where to");
    let strangers = buyer.orders().get_order(stranger.call(read())).await;
    assert_eq!(reason_of(strangers), Reason::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_book_has_one_default_whatever_is_done_to_it_at_once() {
    let shop = Shop::shared().await;
    let member = Member::join(shop).await.unwrap();
    let mut ids = Vec::new();
    for number in 0..4 {
        let request = member.call(CreateAddressRequest {
            idempotency_key: format!("address {number}"),
            address: Some(seoul(&format!("{number} Race-ro"))),
        });
        let created = member.profiles().create_address(request).await.unwrap().into_inner();
        ids.push(created.address.unwrap().address_id);
    }
    for round in 0..firstcome_testkit::rounds() {
        let calls = (0..6).map(|number| {
            let (member, id) = (member.clone(), ids[(round + number) % ids.len()].clone());
            async move {
                let mut profiles = member.profiles();
                if number % 3 == 2 {
                    let request = UpdateAddressRequest {
                        address_id: id,
                        address: Some(seoul("again Race-ro")),
                    };
                    profiles.update_address(member.call(request)).await.map(drop)
                } else {
                    let request = SetDefaultAddressRequest { address_id: id };
                    profiles.set_default_address(member.call(request)).await.map(drop)
                }
            }
        });
        for done in futures::future::join_all(calls).await {
            done.unwrap();
        }
        let listed = member.profiles().list_addresses(member.call(ListAddressesRequest {})).await;
        let addresses = listed.unwrap().into_inner().addresses;
        assert_eq!(addresses.len(), 4);
        assert_eq!(addresses.iter().filter(|address| address.is_default).count(), 1);
        assert!(addresses[0].is_default, "it comes first");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn my_page_says_what_is_missing_when_a_part_is_down() {
    let shop = Shop::own(&[]).await.unwrap();
    let sale = shop.sell(Terms::of(5)).await.unwrap();
    let member = Member::join(&shop).await.unwrap();
    let order = member.buyer().buy(&sale, "pair").await.unwrap();
    let wish = AddWishlistItemRequest {
        idempotency_key: "wish".into(),
        product_id: sale.product.clone(),
        sku_id: sale.skus[0].clone(),
        quantity: 2,
    };
    let mut wishes = WishlistServiceClient::new(shop.channel.clone());
    wishes.add_wishlist_item(member.call(wish)).await.unwrap();

    let mut pages = ShopServiceClient::new(shop.channel.clone());
    let page = pages.get_my_page(member.call(GetMyPageRequest {})).await.unwrap().into_inner();
    assert!(page.missing.is_empty(), "{:?}", page.missing);
    assert_eq!(page.profile.unwrap().email, member.email);
    assert_eq!(page.wishlist.len(), 1);
    assert_eq!(page.orders.len(), 1);
    assert_eq!(page.orders[0].order_id, order.order_id);

    shop.mesh.kill9(Service::Order).await;
    let page = pages.get_my_page(member.call(GetMyPageRequest {})).await.unwrap().into_inner();
    assert_eq!(page.profile.unwrap().email, member.email);
    let mut missing: Vec<_> = page.missing.iter().map(|missing| missing.part()).collect();
    missing.sort_unstable_by_key(|part| *part as i32);
    assert_eq!(missing, [MyPagePart::Wishlist, MyPagePart::Orders]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_is_edited_in_parts_and_its_language_is_the_mails() {
    let shop = Shop::shared().await;
    let sale = shop.sell(Terms::of(1)).await.unwrap();
    let member = Member::join(shop).await.unwrap();
    let wanted = Profile {
        name: "김민지".into(),
        greeting: "안녕하세요".into(),
        phone: "ignored".into(),
        language: Language::Korean as i32,
        ..Profile::default()
    };
    let update = |paths: &[&str]| {
        let paths = paths.iter().map(|&path| path.to_owned()).collect();
        member.call(UpdateProfileRequest {
            profile: Some(wanted.clone()),
            update_mask: Some(prost_types::FieldMask { paths }),
        })
    };
    let mut profiles = member.profiles();
    let updated = profiles.update_profile(update(&["name", "greeting", "language"])).await;
    let updated = updated.unwrap().into_inner().profile.unwrap();
    assert_eq!((updated.name.as_str(), updated.greeting.as_str()), ("김민지", "안녕하세요"));
    assert_eq!(updated.phone, "+821012345678", "what the mask does not name stays");
    for wrong in [&["email"][..], &["no_such"], &[]] {
        let refused = profiles.update_profile(update(wrong)).await;
        assert_eq!(reason_of(refused), Reason::InvalidArgument, "{wrong:?}");
    }

    let buyer = member.buyer();
    let order = buyer.buy(&sale, "pair").await.unwrap();
    buyer.pay(&order.order_id, "pm_card_approve").await.unwrap();
    let korean = |mail: &String| mail.contains(&order.order_id) && mail.contains("주문");
    eventually(PATIENCE, || async { member.mails().iter().any(korean) }).await;
}

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
    let accounts = member.accounts();
    let signed_up = || async {
        let sign_up = member::from_anywhere(sign_up.clone());
        accounts.clone().sign_up(sign_up).await.is_ok()
    };
    eventually(Duration::from_secs(90), signed_up).await;
    eventually(PATIENCE, || async { code_of_newest(&member, mails).is_some() }).await;
    let code = code_of_newest(&member, mails).unwrap();
    verify(shop, &member.email, &code).await.unwrap();
    let anew = Member::on_device(shop, &member.email, PASSWORD, "").await.unwrap();
    assert_ne!(anew.user, member.user, "another person, as far as anybody knows");
    assert!(anew.buyer().newest_orders().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_change_while_people_log_in_and_nobody_notices() {
    const KEYS: &str = "FIRSTCOME_DATA_KEYS";
    let shop = Shop::own(&[(Service::User, KEYS, OLD_KEY)]).await.unwrap();
    let members = futures::future::join_all((0..3).map(|_| Member::join(&shop))).await;
    let members: Vec<Member> = members.into_iter().map(Result::unwrap).collect();
    let both = format!("{NEW_KEY},{OLD_KEY}");
    shop.mesh.set_env(Service::User, KEYS, Some(&both));
    shop.mesh.restart(Service::User).await.unwrap();
    assert!(under_old_key(&shop).await >= 3, "who signed up before");
    let stop = tokio_util::sync::CancellationToken::new();
    let busy = members.iter().map(|member| {
        let (shop, stop) = (&shop, stop.clone());
        async move {
            let mut rounds = 0;
            while !stop.is_cancelled() {
                let device = Member::on_device(shop, &member.email, PASSWORD, "").await.unwrap();
                assert_eq!(profile(&device).await.unwrap().email, member.email);
                assert!(profile(member).await.is_ok(), "old tokens live on");
                rounds += 1;
            }
            rounds
        }
    });
    let address = shop.mesh.address();
    let rotate = async {
        let deadline = Duration::from_secs(60);
        address.run(Service::User, &["rotate-signing-key"], deadline).await.unwrap();
        let mut newest = members[0].clone();
        let before = kid(&newest.tokens.access_token);
        let started = Instant::now();
        while kid(&newest.tokens.access_token) == before {
            assert!(started.elapsed() < PATIENCE, "the new key signs");
            tokio::time::sleep(Duration::from_millis(200)).await;
            newest.refresh().await.unwrap();
        }
        assert!(profile(&newest).await.is_ok(), "the edge knows the new key");
        let reseal = address.launch(Service::User, "rotate-keys").env([(KEYS, both.as_str())]);
        reseal.run(deadline).await.unwrap();
        stop.cancel();
    };
    let (rounds, ()) = tokio::join!(futures::future::join_all(busy), rotate);
    assert!(rounds.iter().all(|rounds| *rounds > 0), "{rounds:?}");
    assert_eq!(under_old_key(&shop).await, 0);
}

/// Accounts whose address only the old key opens.
async fn under_old_key(shop: &Shop) -> i64 {
    let url = shop.mesh.address().database_url(Role::User);
    let pool = PgPool::connect(url).await.unwrap();
    let sql = "select count(*) from users
        where substring(email_sealed from 1 for 4) = decode('00000001', 'hex')";
    sqlx::query_scalar(sql).fetch_one(&pool).await.unwrap()
}

/// Which key signed a token.
fn kid(token: &str) -> Option<String> {
    jsonwebtoken::decode_header(token).unwrap().kid
}
