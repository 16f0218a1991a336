//! The contract as the world may see it: without internal methods and, outside development, those
//! for it; without the services that have only those, and the files that hold nothing else.

use std::collections::HashSet;

use anyhow::Context as _;
use firstcome_proto::access::{self, Access};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, FileDescriptor, MethodDescriptor, Value};
use tonic::service::RoutesBuilder;
use tonic_reflection::server::Builder;

use crate::wire::MESSAGE_BYTES_MAX;

/// Adds reflection in both versions: grpcurl speaks the older, newer tools the newer.
pub fn add_to(
    routes: &mut RoutesBuilder,
    contract: &DescriptorPool,
    in_development: bool,
) -> anyhow::Result<()> {
    let public = public_part(contract, in_development)?;
    let described = || {
        Builder::configure()
            .register_encoded_file_descriptor_set(&public)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // The details of our errors, which a tool cannot show without.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    let v1 = described().build_v1().context("describe the contract")?;
    let v1alpha = described().build_v1alpha().context("describe the contract")?;
    routes
        .add_service(v1.max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(v1alpha.max_decoding_message_size(MESSAGE_BYTES_MAX));
    Ok(())
}

/// The encoded descriptor set of what is not hidden.
fn public_part(contract: &DescriptorPool, in_development: bool) -> anyhow::Result<Vec<u8>> {
    let is_hidden = |method: &MethodDescriptor| match access::of_method(method) {
        Access::Internal => true,
        Access::Development => !in_development,
        Access::Unspecified | Access::Public | Access::User | Access::Admin => false,
    };
    let hidden: HashSet<String> = contract
        .files()
        .filter(|file| has_only(file, is_hidden))
        .map(|file| file.name().to_owned())
        .collect();
    let mut needed = HashSet::new();
    for file in contract.files().filter(|file| !hidden.contains(file.name())) {
        needed.extend(file.dependencies().map(|needed| needed.name().to_owned()));
    }

    let mut set = Vec::new();
    for file in contract.files() {
        if hidden.contains(file.name()) && !needed.contains(file.name()) {
            continue;
        }
        // Field 1 of a FileDescriptorSet, length-delimited.
        let file = without(contract, &file, is_hidden)?.encode_to_vec();
        prost::encoding::encode_key(1, prost::encoding::WireType::LengthDelimited, &mut set);
        prost::encoding::encode_varint(file.len() as u64, &mut set);
        set.extend_from_slice(&file);
    }
    Ok(set)
}

fn has_only(file: &FileDescriptor, is_hidden: impl Fn(&MethodDescriptor) -> bool) -> bool {
    let mut methods = file.services().flat_map(|service| service.methods().collect::<Vec<_>>());
    file.services().len() > 0 && methods.all(|method| is_hidden(&method))
}

/// The file with its options, which a decoded `FileDescriptorProto` would lose.
fn without(
    contract: &DescriptorPool,
    file: &FileDescriptor,
    is_hidden: impl Fn(&MethodDescriptor) -> bool,
) -> anyhow::Result<DynamicMessage> {
    let kind = contract.get_message_by_name("google.protobuf.FileDescriptorProto");
    let kind = kind.context("the contract imports descriptor.proto for its options")?;
    let mut described = DynamicMessage::decode(kind, file.encode_to_vec().as_slice())?;

    let hidden: HashSet<(String, String)> = file
        .services()
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .filter(&is_hidden)
        .map(|method| (method.parent_service().name().to_owned(), method.name().to_owned()))
        .collect();
    if let Some(Value::List(services)) = described.get_field_by_name_mut("service") {
        for service in services.iter_mut().filter_map(Value::as_message_mut) {
            let service_name = name_of(service);
            if let Some(Value::List(methods)) = service.get_field_by_name_mut("method") {
                methods.retain(|method| {
                    let method = method.as_message().map(name_of).unwrap_or_default();
                    !hidden.contains(&(service_name.clone(), method))
                });
            }
        }
        services.retain(|service| {
            let methods = service.as_message().and_then(|s| s.get_field_by_name("method"));
            methods.is_some_and(|methods| methods.as_list().is_some_and(|list| !list.is_empty()))
        });
    }
    Ok(described)
}

fn name_of(message: &DynamicMessage) -> String {
    let name = message.get_field_by_name("name");
    name.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(in_development: bool) -> DescriptorPool {
        let public = public_part(&access::descriptor_pool(), in_development).unwrap();
        DescriptorPool::decode(public.as_slice()).unwrap()
    }

    #[test]
    fn what_is_for_development_is_seen_there_only() {
        for in_development in [true, false] {
            let service = seen(in_development).get_service_by_name("firstcome.edge.v1.RushService");
            assert_eq!(service.is_some(), in_development);
        }
    }

    #[test]
    fn what_the_world_sees_has_no_internal_method_and_keeps_its_options() {
        let public = seen(false);
        let methods: Vec<_> =
            public.services().flat_map(|s| s.methods().collect::<Vec<_>>()).collect();
        assert!(methods.iter().any(|method| method.name() == "PlaceOrder"));
        for method in &methods {
            let access = access::of_method(method);
            assert!(matches!(access, Access::Public | Access::User | Access::Admin), "{method:?}");
        }
        assert!(public.get_service_by_name("firstcome.inventory.v1.ReservationService").is_none());
        assert!(public.get_message_by_name("firstcome.inventory.v1.ReserveItem").is_none());
    }
}
