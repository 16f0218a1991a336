//! A small Stripe that remembers: intents, idempotency keys, refunds. It plays what stripe-mock,
//! which forgets everything at once, cannot: lost answers, keys used again, money that moves by
//! itself.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    http::{Method, StatusCode},
    response::{IntoResponse as _, Response},
};
use firstcome_proto::PaymentId;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The card that this Stripe declines.
pub const POOR_CARD: &str = "pm_card_visa_chargeDeclinedInsufficientFunds";

type Form = HashMap<String, String>;

/// A listening Stripe.
#[derive(Clone)]
pub struct Peer {
    pub url: String,
    books: Arc<Mutex<Books>>,
}

#[derive(Default)]
struct Books {
    intents: BTreeMap<String, Intent>,
    /// The first answer of each key, and what was asked with it.
    answers: HashMap<String, (String, StatusCode, Value)>,
    /// Requests as `POST /v1/payment_intents`, ids taken out.
    asked: Vec<String>,
    /// Answers to lose of each request, after it was done.
    to_lose: HashMap<&'static str, usize>,
}

struct Intent {
    payment: String,
    status: &'static str,
    decline_code: Option<&'static str>,
    refunded: bool,
    moved: Vec<&'static str>,
}

impl Peer {
    pub async fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let peer = Self { url, books: Arc::default() };
        let answers = peer.clone();
        let answer = move |request| {
            let peer = answers.clone();
            async move { peer.answer(request).await }
        };
        let router = Router::new().fallback(answer);
        tokio::spawn(async move { axum::serve(listener, router).await });
        peer
    }

    /// The next so many answers to such requests get lost, as in `POST /v1/refunds`.
    pub fn lose(&self, request: &'static str, answers: usize) {
        self.books.lock().to_lose.insert(request, answers);
    }

    /// How often it was asked such a thing.
    pub fn asked(&self, request: &str) -> usize {
        self.books.lock().asked.iter().filter(|asked| *asked == request).count()
    }

    /// What happened to the money of each intent of a payment.
    pub fn moved(&self, payment: PaymentId) -> Vec<String> {
        let books = self.books.lock();
        let of = books.intents.values().filter(|intent| intent.payment == payment.to_string());
        of.map(|intent| intent.moved.join(" ")).collect()
    }

    /// Somebody, or Stripe itself, takes the money of a payment's intents. Gives the event.
    pub fn capture_by_itself(&self, payment: PaymentId) -> Vec<u8> {
        let mut books = self.books.lock();
        let of = books.intents.iter_mut();
        let (id, intent) =
            of.into_iter().find(|(_, intent)| intent.payment == payment.to_string()).expect("one");
        intent.status = "succeeded";
        intent.moved.push("CAPTURE");
        event("payment_intent.succeeded", id, payment)
    }

    /// The event that says so of a payment's intent.
    pub fn event(&self, kind: &str, payment: PaymentId) -> Vec<u8> {
        let books = self.books.lock();
        let mut of = books.intents.iter();
        let (id, _) = of.find(|(_, intent)| intent.payment == payment.to_string()).expect("one");
        event(kind, id, payment)
    }

    async fn answer(&self, request: Request) -> Response {
        let (head, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1 << 16).await.expect("a body");
        let path = head.uri.path().to_owned();
        let key = head.headers.get("idempotency-key").map(|key| key.to_str().expect("text"));
        let parts: Vec<&str> = path.trim_start_matches("/v1/").split('/').collect();
        let shape = match parts.as_slice() {
            ["payment_intents", "search"] => format!("{} /v1/payment_intents/search", head.method),
            ["payment_intents", _, verb] => format!("{} …/{verb}", head.method),
            ["payment_intents", _] => format!("{} …", head.method),
            _ => format!("{} {path}", head.method),
        };
        let mut books = self.books.lock();
        books.asked.push(shape.clone());
        if !head.headers.contains_key("authorization") {
            return (StatusCode::UNAUTHORIZED, "no key").into_response();
        }
        let asked = format!("{path} {}", String::from_utf8_lossy(&body));
        let (status, answer) = match key {
            None if head.method == Method::POST => panic!("{shape} without an idempotency key"),
            None => books.read(&parts, head.uri.query().unwrap_or_default()),
            Some(key) => match books.answers.get(key) {
                Some((first, ..)) if *first != asked => {
                    (StatusCode::BAD_REQUEST, error("idempotency_error", "key_reused", None))
                }
                Some((_, status, answer)) => (*status, answer.clone()),
                None => {
                    let (status, answer) = books.change(&parts, &form(&body));
                    books.answers.insert(key.to_owned(), (asked, status, answer.clone()));
                    (status, answer)
                }
            },
        };
        if let Some(left) = books.to_lose.get_mut(shape.as_str()).filter(|left| **left > 0) {
            *left -= 1;
            // The line breaks in the middle of the answer.
            let broken = futures::stream::once(async {
                Err::<Bytes, _>(std::io::Error::other("the line broke"))
            });
            return Response::new(Body::from_stream(broken));
        }
        (status, axum::body::Bytes::from(answer.to_string())).into_response()
    }
}

impl Books {
    fn read(&self, parts: &[&str], query: &str) -> (StatusCode, Value) {
        match parts {
            ["payment_intents", "search"] => {
                let found = self.intents.iter().filter(|(_, made)| query.contains(&made.payment));
                let found: Vec<Value> = found.map(|(id, made)| made.json(id)).collect();
                (StatusCode::OK, json!({"object": "search_result", "data": found}))
            }
            ["payment_intents", id] => (StatusCode::OK, self.intents[*id].json(id)),
            _ => panic!("nothing to read at {parts:?}"),
        }
    }

    fn change(&mut self, parts: &[&str], form: &Form) -> (StatusCode, Value) {
        match parts {
            ["payment_intents"] => self.create(form),
            ["payment_intents", id, verb] => {
                let intent = self.intents.get_mut(*id).expect("an intent");
                let is_done = match *verb {
                    "capture" => intent.step(&["requires_capture"], "succeeded", "CAPTURE"),
                    "cancel" => intent.step(
                        &["requires_capture", "requires_payment_method"],
                        "canceled",
                        "VOID",
                    ),
                    _ => panic!("no such step: {verb}"),
                };
                self.verdict(is_done, id)
            }
            ["refunds"] => {
                let id = &form["payment_intent"];
                let intent = self.intents.get_mut(id).expect("an intent");
                if intent.status != "succeeded" || intent.refunded {
                    let code = "charge_already_refunded";
                    let refused = error("invalid_request_error", code, None);
                    return (StatusCode::BAD_REQUEST, refused);
                }
                intent.refunded = true;
                intent.moved.push("REFUND");
                (StatusCode::OK, json!({"id": "re_1", "object": "refund", "status": "succeeded"}))
            }
            _ => panic!("nothing to change at {parts:?}"),
        }
    }

    fn create(&mut self, form: &Form) -> (StatusCode, Value) {
        assert_eq!(form["capture_method"], "manual");
        assert_eq!(form["confirm"], "true");
        let id = format!("pi_{}", self.intents.len() + 1);
        let is_poor = form["payment_method"] == POOR_CARD;
        let intent = Intent {
            payment: form["metadata[payment_id]"].clone(),
            status: if is_poor { "requires_payment_method" } else { "requires_capture" },
            decline_code: is_poor.then_some("insufficient_funds"),
            refunded: false,
            moved: if is_poor { Vec::new() } else { vec!["AUTHORIZE"] },
        };
        let json = intent.json(&id);
        self.intents.insert(id, intent);
        if is_poor {
            let mut refused = error("card_error", "card_declined", Some(json));
            refused["error"]["decline_code"] = "insufficient_funds".into();
            return (StatusCode::PAYMENT_REQUIRED, refused);
        }
        (StatusCode::OK, json)
    }

    fn verdict(&self, is_done: bool, id: &str) -> (StatusCode, Value) {
        let json = self.intents[id].json(id);
        if is_done {
            return (StatusCode::OK, json);
        }
        let code = "payment_intent_unexpected_state";
        (StatusCode::BAD_REQUEST, error("invalid_request_error", code, Some(json)))
    }
}

impl Intent {
    fn step(&mut self, from: &[&str], to: &'static str, moved: &'static str) -> bool {
        let may = from.contains(&self.status);
        if may {
            if self.status == "requires_capture" {
                self.moved.push(moved);
            }
            self.status = to;
        }
        may
    }

    fn json(&self, id: &str) -> Value {
        let failed = self.decline_code.map(
            |code| json!({"type": "card_error", "code": "card_declined", "decline_code": code}),
        );
        json!({
            "id": id,
            "object": "payment_intent",
            "status": self.status,
            "metadata": {"payment_id": self.payment},
            "last_payment_error": failed,
            "latest_charge": {"id": format!("ch_{id}"), "refunded": self.refunded},
        })
    }
}

fn error(kind: &str, code: &str, intent: Option<Value>) -> Value {
    json!({"error": {"type": kind, "code": code, "payment_intent": intent}})
}

fn event(kind: &str, intent: &str, payment: PaymentId) -> Vec<u8> {
    let number = uuid::Uuid::new_v4().simple();
    let object = json!({
        "id": intent,
        "object": "payment_intent",
        "metadata": {"payment_id": payment.to_string()},
    });
    json!({"id": format!("evt_{number}"), "type": kind, "data": {"object": object}})
        .to_string()
        .into_bytes()
}

fn form(body: &[u8]) -> Form {
    form_urlencoded::parse(body).into_owned().collect()
}
