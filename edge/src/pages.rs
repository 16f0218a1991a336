//! The storefront, as a browser loads it, and what a curious person gets who speaks neither gRPC nor
//! HTML. The bundle is part of the program (`build.rs`), so page and contract are of one version.

use axum::{
    Router,
    body::Body,
    extract::Request,
    response::{IntoResponse as _, Response},
    routing::get,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

const FRONT: &str = "\
firstcome sells limited drops, first come, first served.

A browser gets the shop here. Besides, this port speaks gRPC (HTTP/2 without TLS) and grpc-web
(HTTP/1.1 or HTTP/2). List what can be called:
    grpcurl -plaintext HOST:PORT list
    grpcurl -plaintext HOST:PORT describe firstcome.order.v1.OrderService
Ask whether it is ready:
    grpcurl -plaintext -d '{\"service\":\"firstcome-edge\"}' HOST:PORT grpc.health.v1.Health/Check
";

/// Nothing is loaded from elsewhere, nothing inline runs, nobody frames the page. The servers with
/// which the page is developed say the same (`web/security.ts`; a test there compares).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

/// What every page and asset says beside its contents.
const SECURITY: [(HeaderName, &str); 4] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // An address may name an order.
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// An asset's name ends in a digest of its contents: it is the same for ever.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// What names the assets is asked for each time, or a visitor would stay with an old shop.
const EACH_TIME: &str = "no-cache";

/// The first words of the addresses that the storefront knows (`Here` in `web/src/main.tsx`).
const PLACES: [&str; 13] = [
    "",
    "products",
    "orders",
    "cart",
    "me",
    "rush",
    "profile",
    "addresses",
    "security",
    "log-in",
    "sign-up",
    "verify",
    "forgot",
];

/// One file of the bundle.
struct Part {
    path: &'static str,
    media_type: &'static str,
    bytes: &'static [u8],
    gzip: &'static [u8],
}

// `static BUNDLE: [Part; _]`, index.html first.
include!(concat!(env!("OUT_DIR"), "/bundle.rs"));

/// The storefront and the plain pages.
pub fn pages() -> Router {
    Router::new().fallback_service(get(page).fallback(not_a_page))
}

async fn page(request: Request) -> Response {
    let headers = request.headers();
    let html = names(headers, &header::ACCEPT, "text/html");
    let path = request.uri().path().trim_start_matches('/');
    if path.is_empty() && !html {
        return with_security(FRONT.into_response());
    }
    if path.starts_with("assets/") {
        return BUNDLE
            .iter()
            .find(|part| part.path == path)
            .map_or_else(nowhere, |part| serve(part, headers, FOR_EVER));
    }
    let known = PLACES.contains(&path.split('/').next().unwrap_or_default());
    if !known && !html {
        return nowhere();
    }
    let mut response = serve(&BUNDLE[0], headers, EACH_TIME);
    if !known {
        // The page says so in the visitor's language.
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    response
}

fn serve(part: &'static Part, headers: &HeaderMap, cache: &'static str) -> Response {
    let gzip = names(headers, &header::ACCEPT_ENCODING, "gzip");
    let body = if gzip { part.gzip } else { part.bytes };
    let mut response = Response::new(Body::from(body));
    let told = response.headers_mut();
    told.insert(header::CONTENT_TYPE, HeaderValue::from_static(part.media_type));
    told.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    told.append(header::VARY, HeaderValue::from_static("accept, accept-encoding"));
    if gzip {
        told.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    with_security(response)
}

fn nowhere() -> Response {
    with_security((StatusCode::NOT_FOUND, "no such page; / says what this is\n").into_response())
}

fn with_security(mut response: Response) -> Response {
    for (name, value) in SECURITY {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whether a list such as `accept-encoding` names this, and does not say `q=0`.
fn names(headers: &HeaderMap, list: &HeaderName, wanted: &str) -> bool {
    headers.get_all(list).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value.split(',').any(|item| {
            let mut parts = item.split(';').map(str::trim);
            parts.next().is_some_and(|name| name.eq_ignore_ascii_case(wanted))
                && !parts.any(|weight| matches!(weight, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
        })
    })
}

async fn not_a_page(request: Request) -> Response {
    if request.method() == Method::POST {
        let told = "want content-type application/grpc over HTTP/2, or application/grpc-web\n";
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, told).into_response();
    }
    nowhere()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_what_it_does_not_refuse() {
        for (list, want) in [
            ("gzip, deflate, br", true),
            ("br;q=1.0, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("gzip; q=0", false),
            ("x-gzip", false),
            ("", false),
        ] {
            let value = HeaderValue::from_static(list);
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, value)]);
            assert_eq!(names(&headers, &header::ACCEPT_ENCODING, "gzip"), want, "{list}");
        }
    }

    #[test]
    fn the_policy_can_be_kept_by_the_bundle() {
        let index = std::str::from_utf8(BUNDLE[0].bytes).unwrap();
        assert_eq!(BUNDLE[0].path, "index.html");
        for forbidden in ["<style", " style=", "onload=", "http://", "https://"] {
            assert!(!index.contains(forbidden), "{forbidden} in {index}");
        }
        assert_eq!(index.matches("<script").count(), index.matches(" src=\"/assets/").count());
        for part in &BUNDLE[1..] {
            // Eight characters, of which some may be hyphens, too.
            let (named, _) = part.path.rsplit_once('.').expect("a type");
            let begins = named.len().checked_sub(9).map(|at| named.as_bytes()[at]);
            assert_eq!(begins, Some(b'-'), "{}: may not be cached for ever", part.path);
        }
    }
}
