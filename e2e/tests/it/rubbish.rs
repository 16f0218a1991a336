//! Rubbish in every text that anybody may send about accounts and orders. The contract's
//! descriptors are walked, so a field that is new is tried as well.

use std::collections::BTreeMap;

use bytes::{Buf as _, BufMut as _};
use firstcome_e2e::{
    Shop,
    member::{self, Member, PASSWORD},
    shop::Terms,
};
use firstcome_local::Role;
use firstcome_proto::{
    Reason, Refusal,
    access::{self, Access},
};
use prost::Message as _;
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor, Value,
};
use tonic::{
    Request, Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::MetadataMap,
};

use super::privacy::rows;

const PACKAGES: [&str; 2] = ["firstcome.user.v1", "firstcome.order.v1"];
/// Fields that are answered otherwise than by their name, each because it is looked at and not
/// kept: what does not fit is wrong, as any other would be.
const LOOKED_AT: [(&str, Reason); 4] = [
    ("RefreshSessionRequest.refresh_token", Reason::TokenInvalid),
    ("LogInRequest.password", Reason::BadCredentials),
    ("ChangePasswordRequest.old_password", Reason::BadCredentials),
    ("DeleteAccountRequest.password", Reason::BadCredentials),
];

/// Fields of which a request has one at most, though the contract has no `oneof` there.
const EITHER_OR: [&str; 2] = ["lines", "selection"];

/// What the edge reads of an order.
const ORDER_BYTES_MAX: usize = 4096;

/// NUL in what would be a good password, and 10 kB.
fn bad() -> [String; 2] {
    ["a\0b1!aaaaa".to_owned(), "x1!".repeat(3_500)]
}

/// The way to a text, from its request.
type Path = Vec<FieldDescriptor>;

#[tokio::test(flavor = "multi_thread")]
async fn every_text_field_refuses_what_it_cannot_be_and_nothing_is_done() {
    let shop = Shop::own(&[]).await.unwrap();
    let sale = shop.sell(Terms::of(5)).await.unwrap();
    let member = Member::join(&shop).await.unwrap();
    let order = member.buyer().buy(&sale, "pair").await.unwrap();
    let good = Good::of(&[
        ("product_id", &sale.product),
        ("sku_id", &sale.skus[0]),
        ("sku_ids", &sale.skus[0]),
        ("order_id", &order.order_id),
        ("user_id", &member.user.to_string()),
        ("email", &member.email),
    ]);
    let before = everything(&shop).await;
    let (mut tried, mut faults) = (0, Vec::new());
    for method in methods() {
        let paths = texts(&method.input());
        for path in &paths {
            for bad in bad() {
                let message = good.message(&method.input(), path, &bad);
                let answer = call(&shop, &member, &method, message).await;
                faults.extend(fault_of(&method, path, &bad, answer));
                tried += 1;
            }
        }
    }
    assert!(tried > 100, "the contract has more texts than {tried}");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let after = everything(&shop).await;
    for (table, rows) in &before {
        assert_eq!(after.get(table), Some(rows), "{table} was changed");
    }
}

/// All of the packages that somebody outside may call.
fn methods() -> Vec<MethodDescriptor> {
    let pool = access::descriptor_pool();
    let services = pool.services().filter(|it| PACKAGES.contains(&it.package_name()));
    let methods = services.flat_map(|service| service.methods().collect::<Vec<_>>());
    methods.filter(|method| access::of_method(method) != Access::Internal).collect()
}

/// The way to each text of a message, through messages, lists and choices.
fn texts(message: &MessageDescriptor) -> Vec<Path> {
    let mut paths = Vec::new();
    for field in message.fields() {
        assert!(!field.is_map(), "{} is a map: say how to put rubbish in", field.full_name());
        match field.kind() {
            Kind::String => paths.push(vec![field]),
            Kind::Message(inner) => paths.extend(texts(&inner).into_iter().map(|mut path| {
                path.insert(0, field.clone());
                path
            })),
            _ => {}
        }
    }
    paths
}

/// What fields are called, and a value that each would take.
struct Good(BTreeMap<String, String>);

impl Good {
    fn of(known: &[(&str, &str)]) -> Self {
        let code = "123456".to_owned();
        let password = "an0ther-pair!".to_owned();
        let token = "A".repeat(43);
        let mut all: BTreeMap<String, String> = BTreeMap::from([
            ("name".into(), "Ann".into()),
            ("phone".into(), "+821012345678".into()),
            ("password".into(), PASSWORD.into()),
            ("old_password".into(), PASSWORD.into()),
            ("new_password".into(), password),
            ("code".into(), code),
            ("sign_up_token".into(), token),
            ("payment_method".into(), "pm_card_approve".into()),
            ("image_url".into(), "https://example.com/ann".into()),
            ("recipient".into(), "Ann".into()),
            ("line1".into(), "1 Rubbish-ro".into()),
            ("city".into(), "Seoul".into()),
            ("postal_code".into(), "04784".into()),
            ("country_code".into(), "KR".into()),
            ("page_token".into(), String::new()),
            ("idempotency_key".into(), "rubbish".into()),
        ]);
        all.extend(known.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())));
        Self(all)
    }

    fn text(&self, field: &FieldDescriptor, whole: &MessageDescriptor) -> String {
        if field.name() == "code" && whole.name() == "ResetPasswordRequest" {
            return "CDFG3467".into();
        }
        let known = self.0.get(field.name()).cloned();
        let id = || uuid::Uuid::new_v4().to_string();
        known.unwrap_or_else(|| if field.name().ends_with("_id") { id() } else { "x".into() })
    }

    /// A message that would be taken, but for what stands at the end of the path.
    fn message(
        &self,
        of: &MessageDescriptor,
        path: &[FieldDescriptor],
        bad: &str,
    ) -> DynamicMessage {
        let mut message = DynamicMessage::new(of.clone());
        for field in of.fields() {
            let leads = path.first() == Some(&field);
            if let Some(choice) = field.containing_oneof() {
                // One of a choice: the one on the way, or else the first.
                let others: Vec<_> = choice.fields().collect();
                let chosen = others.iter().find(|it| path.first() == Some(it));
                if chosen.unwrap_or(&others[0]) != &field {
                    continue;
                }
            }
            if EITHER_OR.contains(&field.name()) {
                let chosen = path.first().map(FieldDescriptor::name);
                let chosen = chosen.filter(|name| EITHER_OR.contains(name));
                if chosen.unwrap_or(EITHER_OR[0]) != field.name() {
                    continue;
                }
            }
            let rest = if leads { &path[1..] } else { &[] };
            let value = match field.kind() {
                // A mask names the field that is bad: what it does not name is not looked at.
                Kind::String if field.full_name() == "google.protobuf.FieldMask.paths" => {
                    Value::String(if leads { bad.to_owned() } else { "name".into() })
                }
                Kind::String if leads => Value::String(bad.to_owned()),
                Kind::String => Value::String(self.text(&field, of)),
                Kind::Message(inner) if inner.full_name() == "google.protobuf.FieldMask" => {
                    let mut mask = self.message(&inner, rest, bad);
                    if let (false, Some(leaf)) = (leads, path.last()) {
                        let named = Value::List(vec![Value::String(leaf.name().to_owned())]);
                        mask.set_field_by_name("paths", named);
                    }
                    Value::Message(mask)
                }
                Kind::Message(inner) => Value::Message(self.message(&inner, rest, bad)),
                Kind::Enum(inner) => {
                    let first = inner.values().map(|value| value.number()).find(|it| *it != 0);
                    Value::EnumNumber(first.unwrap_or_default())
                }
                Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(1),
                _ => continue,
            };
            let value = if field.is_list() { Value::List(vec![value]) } else { value };
            message.set_field(&field, value);
        }
        message
    }
}

/// Calls as whoever may, each time from somewhere else: how often is not what is asked here.
async fn call(
    shop: &Shop,
    member: &Member,
    method: &MethodDescriptor,
    message: DynamicMessage,
) -> Result<(), Status> {
    let mut request = match access::of_method(method) {
        Access::Admin => shop.as_admin(message),
        Access::User => member.call(message),
        _ => Request::new(message),
    };
    let from: MetadataMap = member::from_anywhere(()).metadata().clone();
    let from = from.get("x-forwarded-for").unwrap().clone();
    request.metadata_mut().insert("x-forwarded-for", from);
    let path = access::path_of(method).parse().unwrap();
    let mut client = tonic::client::Grpc::new(shop.channel.clone());
    client.ready().await.unwrap();
    // One answer is a stream of one.
    let mut answers = client.server_streaming(request, path, Frames).await?.into_inner();
    answers.message().await.map(drop)
}

/// What is wrong with an answer, if it is not the refusal that it should be.
fn fault_of(
    method: &MethodDescriptor,
    path: &[FieldDescriptor],
    bad: &str,
    answer: Result<(), Status>,
) -> Option<String> {
    let names: Vec<&str> = path.iter().map(|field| field.name()).collect();
    let field = format!("{}.{}", method.input().name(), names.join("."));
    let what = format!("{field} with {} bytes", bad.len());
    let Err(status) = answer else { return Some(format!("{what} is taken")) };
    let refusal = Refusal::from_status(&status);
    let looked_at = LOOKED_AT.iter().find(|(name, _)| *name == field);
    let leaf = names.last().unwrap();
    let is_right = match (refusal.reason(), looked_at) {
        // A mask has no more of a name than that, and of a message that is too long no field is read.
        (Reason::InvalidArgument, _) => refusal.violations.iter().any(|fault| {
            let whole = fault.field == "message" && bad.len() > ORDER_BYTES_MAX;
            whole || fault.field.contains(leaf) || fault.field.contains("mask")
        }),
        (reason, Some((_, want))) => reason == *want,
        (_, None) => false,
    };
    (!is_right).then(|| format!("{what} gets {refusal:?}"))
}

/// All rows about accounts and orders, of each table.
async fn everything(shop: &Shop) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for role in [Role::User, Role::Order] {
        for (table, row) in rows(shop, role).await {
            all.entry(table).or_default().push(row);
        }
    }
    all.values_mut().for_each(|rows| rows.sort());
    all
}

/// Any message out, none looked at on the way back.
#[derive(Clone, Copy)]
struct Frames;

impl Codec for Frames {
    type Encode = DynamicMessage;
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Frames {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(
        &mut self,
        message: DynamicMessage,
        buffer: &mut EncodeBuf<'_>,
    ) -> Result<(), Status> {
        buffer.put_slice(&message.encode_to_vec());
        Ok(())
    }
}

impl Decoder for Frames {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        buffer.advance(buffer.remaining());
        Ok(Some(()))
    }
}
