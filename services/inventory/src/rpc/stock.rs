//! StockService.

use std::pin::Pin;

use firstcome_proto::{
    ProductId,
    inventory_v1::{
        GetStockRequest, GetStockResponse, WatchStockRequest, WatchStockResponse,
        stock_service_server::StockService,
    },
};
use futures::Stream;
use tonic::{Request, Response, Status};

use crate::stock::Stock;

#[tonic::async_trait]
impl StockService for Stock {
    async fn get_stock(
        &self,
        request: Request<GetStockRequest>,
    ) -> Result<Response<GetStockResponse>, Status> {
        let product = ProductId::from_field("product_id", &request.get_ref().product_id)?;
        let stock = self.read(product).await?;
        Ok(Response::new(GetStockResponse { stock: Some(stock) }))
    }

    type WatchStockStream =
        Pin<Box<dyn Stream<Item = Result<WatchStockResponse, Status>> + Send + 'static>>;

    async fn watch_stock(
        &self,
        request: Request<WatchStockRequest>,
    ) -> Result<Response<Self::WatchStockStream>, Status> {
        let product = ProductId::from_field("product_id", &request.get_ref().product_id)?;
        let view = self.watch(product).await?;
        let changes = futures::stream::unfold(view, |mut view| async move {
            let stock = view.next().await?;
            Some((Ok(WatchStockResponse { stock: Some(stock) }), view))
        });
        Ok(Response::new(Box::pin(changes)))
    }
}
