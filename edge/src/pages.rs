//! What a browser or a curious person gets who does not speak gRPC.

use axum::{
    Router,
    extract::Request,
    http::{Method, StatusCode},
    routing::get,
};

const FRONT: &str = "\
firstcome sells limited drops, first come, first served.

This port speaks gRPC (HTTP/2 without TLS) and grpc-web (HTTP/1.1 or HTTP/2).
List what can be called:
    grpcurl -plaintext HOST:PORT list
    grpcurl -plaintext HOST:PORT describe firstcome.order.v1.OrderService
Ask whether it is ready:
    grpcurl -plaintext -d '{\"service\":\"firstcome-edge\"}' HOST:PORT grpc.health.v1.Health/Check
";

/// Plain pages. The storefront will live here.
pub fn pages() -> Router {
    Router::new().route("/", get(FRONT)).fallback(elsewhere)
}

async fn elsewhere(request: Request) -> (StatusCode, &'static str) {
    if request.method() == Method::POST {
        let told = "want content-type application/grpc over HTTP/2, or application/grpc-web\n";
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, told);
    }
    (StatusCode::NOT_FOUND, "no such page; / says what this is\n")
}
