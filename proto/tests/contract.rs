//! What buf cannot check: every method says who may call it and how it may be retried.

use firstcome_proto::access::{self, Access, Peer, peer};
use prost_reflect::{Kind, MethodDescriptor};
use prost_types::method_options::IdempotencyLevel;

fn methods() -> Vec<MethodDescriptor> {
    let pool = access::descriptor_pool();
    let methods: Vec<_> = pool
        .services()
        .filter(|service| service.full_name().starts_with("firstcome."))
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .collect();
    assert!(methods.len() > 20, "the descriptor set holds the contract");
    methods
}

#[test]
fn every_method_says_who_may_call_it() {
    let silent: Vec<_> = methods()
        .iter()
        .filter(|method| access::of_method(method) == Access::Unspecified)
        .map(access::path_of)
        .collect();
    assert!(silent.is_empty(), "methods without an access option: {silent:?}");
}

#[test]
fn every_method_is_idempotent_or_takes_a_key() {
    for method in methods() {
        let level = method.method_descriptor_proto().options.as_ref();
        let level = level.map_or(IdempotencyLevel::IdempotencyUnknown, |o| o.idempotency_level());
        let key = method
            .input()
            .get_field_by_name("idempotency_key")
            .is_some_and(|field| field.kind() == Kind::String);
        assert_eq!(
            level == IdempotencyLevel::IdempotencyUnknown,
            key,
            "{} must either be idempotent or take an idempotency_key",
            access::path_of(&method),
        );
    }
}

#[test]
fn batched_methods_are_internal() {
    for service in ["ReservationService", "OrderIntakeService", "ChargeService", "TokenKeyService"]
    {
        let found: Vec<_> =
            methods().into_iter().filter(|m| m.parent_service().name() == service).collect();
        assert!(!found.is_empty(), "{service} exists");
        for method in found {
            assert_eq!(
                access::of_method(&method),
                Access::Internal,
                "{}",
                access::path_of(&method)
            );
        }
    }
}

#[test]
fn every_method_has_a_caller_in_the_mesh() {
    for method in methods() {
        let caller = peer::caller_of(&method);
        let path = access::path_of(&method);
        match path.split(['/', '.']).nth(4).unwrap() {
            "ReservationService" | "OfferService" | "ChargeService" | "AddressBookService" => {
                assert_eq!(caller, Some(Peer::Order), "{path}")
            }
            _ => assert_eq!(caller, Some(Peer::Edge), "{path}"),
        }
    }
    for peer in Peer::ALL {
        assert_eq!(Peer::named(peer.name()), Some(peer));
    }
}
