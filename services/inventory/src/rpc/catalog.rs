//! CatalogService.

use firstcome_mesh::page::Page;
use firstcome_proto::{
    ProductId, Refusal, SkuId,
    inventory_v1::{
        AdjustStockRequest, AdjustStockResponse, CreateProductRequest, CreateProductResponse,
        GetProductRequest, GetProductResponse, ListProductsRequest, ListProductsResponse, Product,
        ScheduleDropRequest, ScheduleDropResponse, catalog_service_server::CatalogService,
    },
};
use tonic::{Request, Response, Status};

use crate::{
    catalog::{self, NewProduct},
    error,
    live::Live,
    shelf::Shelf,
    store::{Store, epoch::Change},
};

/// Serves the catalogue.
pub struct Catalog {
    /// The truth.
    pub store: Store,
    /// Where changes that concern the gate go through.
    pub live: Live,
    /// What visitors look at.
    pub shelf: Shelf,
}

#[tonic::async_trait]
impl CatalogService for Catalog {
    async fn create_product(
        &self,
        request: Request<CreateProductRequest>,
    ) -> Result<Response<CreateProductResponse>, Status> {
        let new = NewProduct::try_from(request.into_inner())?;
        let product =
            self.store.create_product(&new).await.map_err(|fault| error::create(&fault))?;
        Ok(Response::new(CreateProductResponse { product: Some(Product::from(&product)) }))
    }

    async fn list_products(
        &self,
        request: Request<ListProductsRequest>,
    ) -> Result<Response<ListProductsResponse>, Status> {
        let request = request.into_inner();
        let page = Page::read(request.page_size, &request.page_token)?;
        let products = self.store.products(page).await.map_err(|fault| error::database(&fault))?;
        let full = i64::try_from(products.len()).is_ok_and(|count| count == page.size);
        let last = products.last().filter(|_| full);
        Ok(Response::new(ListProductsResponse {
            next_page_token: last.map(|last| last.cursor().token()).unwrap_or_default(),
            products: products.iter().map(Product::from).collect(),
        }))
    }

    async fn get_product(
        &self,
        request: Request<GetProductRequest>,
    ) -> Result<Response<GetProductResponse>, Status> {
        let id = ProductId::from_field("product_id", &request.get_ref().product_id)?;
        let product = self.shelf.product(id).await.map_err(|fault| error::database(&fault))?;
        let product = product.ok_or_else(|| Refusal::not_found("product"))?;
        Ok(Response::new(GetProductResponse { product: Some(Product::from(&*product)) }))
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
        Ok(Response::new(ScheduleDropResponse { product: Some(Product::from(&product)) }))
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
        Ok(Response::new(AdjustStockResponse { product: Some(Product::from(&product)) }))
    }
}

impl Catalog {
    async fn change(&self, id: ProductId, change: Change) -> Result<catalog::Product, Refusal> {
        let changed = self.live.change(id, change).await;
        // Also after a fault: the answer to its commit may be what was lost.
        self.shelf.forget(id);
        changed
    }
}
