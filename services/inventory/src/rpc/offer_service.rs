//! OfferService.

use firstcome_proto::{
    ProductId, Refusal, SkuId,
    inventory_v1::{
        GetOffersRequest, GetOffersResponse, OfferKey, offer_service_server::OfferService,
    },
};
use tonic::{Request, Response, Status};

use crate::offer::Offers;

/// Keys of one call at most: a cart and a generous rest.
const KEYS_MAX: usize = 100;

#[tonic::async_trait]
impl OfferService for Offers {
    async fn get_offers(
        &self,
        request: Request<GetOffersRequest>,
    ) -> Result<Response<GetOffersResponse>, Status> {
        let keys = read_keys(&request.get_ref().keys)?;
        Ok(Response::new(GetOffersResponse { offers: self.of(&keys).await? }))
    }
}

fn read_keys(keys: &[OfferKey]) -> Result<Vec<(ProductId, SkuId)>, Refusal> {
    if !(1..=KEYS_MAX).contains(&keys.len()) {
        return Err(Refusal::invalid("keys", format!("want 1 to {KEYS_MAX}")));
    }
    let read = |(place, key): (usize, &OfferKey)| {
        let product = ProductId::from_wire(&format!("keys[{place}].product_id"), &key.product_id)?;
        let sku = SkuId::from_wire(&format!("keys[{place}].sku_id"), &key.sku_id)?;
        Ok((product, sku))
    };
    keys.iter().enumerate().map(read).collect()
}
