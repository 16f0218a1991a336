//! What members tell of themselves: profile, address book, my page.

use firstcome_e2e::{
    Shop,
    member::{Member, reason_of},
    shop::Terms,
};
use firstcome_local::Service;
use firstcome_proto::{
    Reason,
    address_v1::Address,
    edge_v1::{GetMyPageRequest, MyPagePart, shop_service_client::ShopServiceClient},
    order_v1::{
        AddWishlistItemRequest, GetOrderRequest, OrderState, PayOrderRequest,
        pay_order_request::Destination, wishlist_service_client::WishlistServiceClient,
    },
    user_v1::{
        CreateAddressRequest, DeleteAddressRequest, Language, ListAddressesRequest, Profile,
        SetDefaultAddressRequest, UpdateAddressRequest, UpdateProfileRequest,
    },
};
use firstcome_testkit::eventually;

use super::PATIENCE;

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
