//! CartService and WishlistService: the same methods over the two lists.

use firstcome_mesh::Identity;
use firstcome_proto::{
    ProductId, Refusal, SkuId,
    order_v1::{
        AddCartItemRequest, AddCartItemResponse, AddWishlistItemRequest, AddWishlistItemResponse,
        BasketItem, ClearCartRequest, ClearCartResponse, ClearWishlistRequest,
        ClearWishlistResponse, ListCartItemsRequest, ListCartItemsResponse,
        ListWishlistItemsRequest, ListWishlistItemsResponse, RemoveCartItemRequest,
        RemoveCartItemResponse, RemoveWishlistItemRequest, RemoveWishlistItemResponse,
        UpdateCartItemRequest, UpdateCartItemResponse, UpdateWishlistItemRequest,
        UpdateWishlistItemResponse, cart_service_server::CartService,
        wishlist_service_server::WishlistService,
    },
    timestamp,
};
use tonic::{Request, Response, Status};

use crate::{
    basket::Basket,
    baskets::{Baskets, PricedItem},
    wanted::{Faults, KEY_LENGTH_MAX, QUANTITY_MAX, Wanted, printable},
};

/// Serves one of the two lists.
#[derive(Clone)]
pub struct Service(pub Baskets);

/// The two services differ in their names only.
macro_rules! serve {
    (
        $basket:expr, $service:ident,
        $add:ident($add_request:ident) -> $add_response:ident,
        $update:ident($update_request:ident) -> $update_response:ident,
        $remove:ident($remove_request:ident) -> $remove_response:ident,
        $list:ident($list_request:ident) -> $list_response:ident,
        $clear:ident($clear_request:ident) -> $clear_response:ident,
    ) => {
        #[tonic::async_trait]
        impl $service for Service {
            async fn $add(
                &self,
                request: Request<$add_request>,
            ) -> Result<Response<$add_response>, Status> {
                let user = Identity::of(&request)?.user;
                let $add_request { idempotency_key, product_id, sku_id, quantity } =
                    request.into_inner();
                let wanted = read_addition(&idempotency_key, &product_id, &sku_id, quantity)?;
                let quantity = self.0.add(user, $basket, &idempotency_key, wanted).await?;
                Ok(Response::new($add_response { quantity }))
            }

            async fn $update(
                &self,
                request: Request<$update_request>,
            ) -> Result<Response<$update_response>, Status> {
                let user = Identity::of(&request)?.user;
                let request = request.into_inner();
                let sku = SkuId::from_field("sku_id", &request.sku_id)?;
                if !(1..=QUANTITY_MAX).contains(&request.quantity) {
                    return Err(Refusal::invalid("quantity", QUANTITY_WANTED).into());
                }
                self.0.set(user, $basket, sku, request.quantity).await?;
                Ok(Response::new($update_response {}))
            }

            async fn $remove(
                &self,
                request: Request<$remove_request>,
            ) -> Result<Response<$remove_response>, Status> {
                let user = Identity::of(&request)?.user;
                let sku = SkuId::from_field("sku_id", &request.get_ref().sku_id)?;
                self.0.remove(user, $basket, Some(sku)).await?;
                Ok(Response::new($remove_response {}))
            }

            async fn $list(
                &self,
                request: Request<$list_request>,
            ) -> Result<Response<$list_response>, Status> {
                let user = Identity::of(&request)?.user;
                let priced = self.0.list(user, $basket).await?;
                let total = priced.total.map(Into::into);
                let items = priced.items.into_iter().map(item_to_wire).collect();
                Ok(Response::new($list_response { items, total }))
            }

            async fn $clear(
                &self,
                request: Request<$clear_request>,
            ) -> Result<Response<$clear_response>, Status> {
                let user = Identity::of(&request)?.user;
                self.0.remove(user, $basket, None).await?;
                Ok(Response::new($clear_response {}))
            }
        }
    };
}

serve! {
    Basket::Cart, CartService,
    add_cart_item(AddCartItemRequest) -> AddCartItemResponse,
    update_cart_item(UpdateCartItemRequest) -> UpdateCartItemResponse,
    remove_cart_item(RemoveCartItemRequest) -> RemoveCartItemResponse,
    list_cart_items(ListCartItemsRequest) -> ListCartItemsResponse,
    clear_cart(ClearCartRequest) -> ClearCartResponse,
}

serve! {
    Basket::Wishlist, WishlistService,
    add_wishlist_item(AddWishlistItemRequest) -> AddWishlistItemResponse,
    update_wishlist_item(UpdateWishlistItemRequest) -> UpdateWishlistItemResponse,
    remove_wishlist_item(RemoveWishlistItemRequest) -> RemoveWishlistItemResponse,
    list_wishlist_items(ListWishlistItemsRequest) -> ListWishlistItemsResponse,
    clear_wishlist(ClearWishlistRequest) -> ClearWishlistResponse,
}

const QUANTITY_WANTED: &str = "want 1 to 1000";

/// Reads what is added; the refusal names every faulty field.
fn read_addition(key: &str, product: &str, sku: &str, quantity: i32) -> Result<Wanted, Refusal> {
    let mut faults = Faults::default();
    if !(1..=KEY_LENGTH_MAX).contains(&key.len()) || !printable(key) {
        faults.add("idempotency_key", "want 1 to 64 printable ASCII characters");
    }
    if !(1..=QUANTITY_MAX).contains(&quantity) {
        faults.add("quantity", QUANTITY_WANTED);
    }
    let product = ProductId::from_field("product_id", product);
    let sku = SkuId::from_field("sku_id", sku);
    match (product, sku) {
        (Ok(product), Ok(sku)) if faults.is_empty() => Ok(Wanted { product, sku, quantity }),
        (product, sku) => {
            product.err().into_iter().chain(sku.err()).for_each(|fault| faults.join(fault));
            Err(faults.refusal())
        }
    }
}

/// The contract's form of a line.
pub(super) fn item_to_wire(item: PricedItem) -> BasketItem {
    let PricedItem { wanted, added_at, offer } = item;
    BasketItem {
        product_id: wanted.product.to_string(),
        sku_id: wanted.sku.to_string(),
        quantity: wanted.quantity,
        availability: offer.availability,
        available: offer.available,
        product_name: offer.product_name,
        sku_label: offer.sku_label,
        unit_price: offer.unit_price,
        add_time: added_at.map(timestamp::to_wire),
    }
}
