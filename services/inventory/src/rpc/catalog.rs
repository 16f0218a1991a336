//! CatalogService.

use std::sync::Arc;

use firstcome_mesh::Identity;
use firstcome_proto::{
    ProductId, Refusal, SkuId,
    inventory_v1::{
        AdjustStockRequest, AdjustStockResponse, CancelDropRequest, CancelDropResponse,
        CreateProductRequest, CreateProductResponse, GetProductRequest, GetProductResponse,
        LikeProductRequest, LikeProductResponse, ListProductsRequest, ListProductsResponse,
        Product, ScheduleDropRequest, ScheduleDropResponse, UnlikeProductRequest,
        UnlikeProductResponse, UpdateProductRequest, UpdateProductResponse,
        catalog_service_server::CatalogService,
    },
};
use tonic::{Request, Response, Status};

use crate::{
    badge::Badges,
    catalog::{self, Edit, Kind, Listing, NewProduct},
    error,
    live::Live,
    shelf::Shelf,
    store::{Store, epoch::Change},
    turn::Turns,
};

/// Serves the catalogue.
pub struct Catalog {
    /// The truth.
    pub store: Store,
    /// Where changes that concern the gate go through.
    pub live: Live,
    /// What visitors look at.
    pub shelf: Shelf,
    /// What is left of it.
    pub badges: Badges,
    /// For those who like or no longer like something.
    pub likes: Turns,
}

#[tonic::async_trait]
impl CatalogService for Catalog {
    async fn create_product(
        &self,
        request: Request<CreateProductRequest>,
    ) -> Result<Response<CreateProductResponse>, Status> {
        let new = NewProduct::try_from(request.into_inner())?;
        let made = self.store.create_product(&new).await.map_err(|fault| error::create(&fault))?;
        if made.kind == Kind::General {
            self.live.begin(made.id).await?;
        }
        Ok(Response::new(CreateProductResponse { product: Some(self.changed(&made).await) }))
    }

    async fn update_product(
        &self,
        request: Request<UpdateProductRequest>,
    ) -> Result<Response<UpdateProductResponse>, Status> {
        let request = request.into_inner();
        let id = ProductId::from_field("product_id", &request.product_id)?;
        let edit = Edit::try_from(request)?;
        if edit.reaches_gate() {
            let product = self.change(id, Change::Edit(edit)).await?;
            return Ok(Response::new(UpdateProductResponse { product: Some(product) }));
        }
        let edited = self.store.edit_product(id, &edit).await;
        self.shelf.forget(id);
        let edited = edited.map_err(|fault| error::database(&fault))?;
        let edited = edited.map_err(|refused| error::change(&refused))?;
        Ok(Response::new(UpdateProductResponse { product: Some(self.changed(&edited).await) }))
    }

    async fn list_products(
        &self,
        request: Request<ListProductsRequest>,
    ) -> Result<Response<ListProductsResponse>, Status> {
        let listing = Listing::read(request.get_ref())?;
        let page = self.shelf.page(&listing).await?;
        let full = i64::try_from(page.len()).is_ok_and(|count| count == listing.page.size);
        let last = page.last().filter(|_| full);
        let next_page_token = last.map(|last| listing.token(last.cursor())).unwrap_or_default();
        let badges = self.badges.of_all(&page).await;
        let products = page.iter().zip(badges).map(|(product, badge)| product.to_wire(badge));
        Ok(Response::new(ListProductsResponse { products: products.collect(), next_page_token }))
    }

    async fn get_product(
        &self,
        request: Request<GetProductRequest>,
    ) -> Result<Response<GetProductResponse>, Status> {
        let id = ProductId::from_field("product_id", &request.get_ref().product_id)?;
        let product = self.shelf.product(id).await?;
        let product: Arc<_> = product.ok_or_else(|| Refusal::not_found("product"))?;
        let badge = self.badges.of(&product).await;
        Ok(Response::new(GetProductResponse { product: Some(product.to_wire(badge)) }))
    }

    async fn schedule_drop(
        &self,
        request: Request<ScheduleDropRequest>,
    ) -> Result<Response<ScheduleDropResponse>, Status> {
        let request = request.into_inner();
        let id = ProductId::from_field("product_id", &request.product_id)?;
        let drop = request.drop.ok_or_else(|| Refusal::invalid("drop", "want a drop"))?;
        let drop = catalog::Drop::try_from(drop)?;
        let product = self.change(id, Change::Drop(drop)).await?;
        Ok(Response::new(ScheduleDropResponse { product: Some(product) }))
    }

    async fn cancel_drop(
        &self,
        request: Request<CancelDropRequest>,
    ) -> Result<Response<CancelDropResponse>, Status> {
        let id = ProductId::from_field("product_id", &request.get_ref().product_id)?;
        let product = self.change(id, Change::NoDrop).await?;
        Ok(Response::new(CancelDropResponse { product: Some(product) }))
    }

    async fn adjust_stock(
        &self,
        request: Request<AdjustStockRequest>,
    ) -> Result<Response<AdjustStockResponse>, Status> {
        let request = request.into_inner();
        let id = ProductId::from_field("product_id", &request.product_id)?;
        let sku = SkuId::from_field("sku_id", &request.sku_id)?;
        catalog::check_total("total", request.total)?;
        let change = Change::Total { sku, total: request.total };
        let product = self.change(id, change).await?;
        Ok(Response::new(AdjustStockResponse { product: Some(product) }))
    }

    async fn like_product(
        &self,
        request: Request<LikeProductRequest>,
    ) -> Result<Response<LikeProductResponse>, Status> {
        let user = Identity::of(&request)?.user;
        let id = ProductId::from_field("product_id", &request.get_ref().product_id)?;
        let store = self.store.clone();
        let liked = self.likes.run(async move { store.like(id, user).await }).await?;
        let like_count = counted(liked)?;
        Ok(Response::new(LikeProductResponse { like_count }))
    }

    async fn unlike_product(
        &self,
        request: Request<UnlikeProductRequest>,
    ) -> Result<Response<UnlikeProductResponse>, Status> {
        let user = Identity::of(&request)?.user;
        let id = ProductId::from_field("product_id", &request.get_ref().product_id)?;
        let store = self.store.clone();
        let unliked = self.likes.run(async move { store.unlike(id, user).await }).await?;
        let like_count = counted(unliked)?;
        Ok(Response::new(UnlikeProductResponse { like_count }))
    }
}

impl Catalog {
    async fn change(&self, id: ProductId, change: Change) -> Result<Product, Refusal> {
        let changed = self.live.change(id, change).await;
        // Also after a fault: the answer to its commit may be what was lost.
        self.shelf.forget(id);
        Ok(self.changed(&changed?).await)
    }

    /// A product that was just changed, with a badge that knows of it.
    async fn changed(&self, product: &catalog::Product) -> Product {
        self.badges.forget(product.id);
        product.to_wire(self.badges.of(product).await)
    }
}

fn counted(count: Result<Option<i32>, sqlx::Error>) -> Result<i32, Refusal> {
    let count = count.map_err(|fault| error::database(&fault))?;
    count.ok_or_else(|| Refusal::not_found("product"))
}
