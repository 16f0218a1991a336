//! A merchant's port that plays the edge: it passes the sandbox's webhooks on to payment, or does
//! what a bad network does to them.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use firstcome_payment::sandbox::{event, teller::SIGNATURE_HEADER};
use parking_lot::Mutex;
use tokio::net::TcpListener;

use super::harness::Shop;

/// What becomes of the webhook of this number, from 0.
pub type Fate = Arc<dyn Fn(usize) -> Delivery + Send + Sync>;

/// What a merchant does with a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Passes it on, and says so.
    Heard,
    /// Passes it on three times, and says so once.
    HeardThrice,
    /// Passes it on, but its own answer is an error.
    HeardInSecret,
    /// Is not there.
    Refused,
}

/// A listening merchant.
#[derive(Clone)]
pub struct Merchant {
    pub url: String,
    shop: Arc<OnceLock<Arc<Shop>>>,
    /// How often each event was delivered, whether or not that was admitted.
    told: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Merchant {
    /// Listens; payment is told of later, because it has to know this address first.
    pub async fn listen(fate: Fate) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let merchant = Self {
            url: format!("http://{address}/webhooks/sandbox"),
            shop: Arc::default(),
            told: Arc::default(),
        };
        let (hears, count) = (merchant.clone(), Arc::new(Mutex::new(0)));
        let hear = move |headers: HeaderMap, body: Bytes| {
            let number = {
                let mut count = count.lock();
                *count += 1;
                *count - 1
            };
            let (hears, fate) = (hears.clone(), fate(number));
            async move { hears.hear(fate, &headers, &body).await }
        };
        let router = Router::new().route("/webhooks/sandbox", post(hear));
        tokio::spawn(async move { axum::serve(listener, router).await });
        merchant
    }

    /// Passes on to this shop from now on.
    pub fn serve(&self, shop: &Arc<Shop>) {
        assert!(self.shop.set(Arc::clone(shop)).is_ok(), "a merchant serves one shop");
    }

    /// How often each event was delivered.
    pub fn told(&self) -> BTreeMap<String, usize> {
        self.told.lock().clone()
    }

    async fn hear(&self, fate: Delivery, headers: &HeaderMap, body: &[u8]) -> StatusCode {
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        let Some(shop) = self.shop.get() else { return unavailable };
        let times = match fate {
            Delivery::Refused => return unavailable,
            Delivery::Heard | Delivery::HeardInSecret => 1,
            Delivery::HeardThrice => 3,
        };
        for event in event::read(body).expect("the sandbox sends its own events") {
            *self.told.lock().entry(event.id).or_default() += times;
        }
        let signature = headers[SIGNATURE_HEADER].to_str().expect("text");
        for _ in 0..times {
            if shop.hear(signature, body).await.is_err() {
                return unavailable;
            }
        }
        if fate == Delivery::HeardInSecret { unavailable } else { StatusCode::OK }
    }
}
