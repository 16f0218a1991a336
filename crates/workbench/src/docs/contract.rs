//! The contract as the page tells it: services, types and their comments.

use std::collections::HashMap;

use firstcome_proto::access::{self, Access};
use prost_reflect::{
    DescriptorPool, EnumDescriptor, FileDescriptor, MessageDescriptor, ServiceDescriptor,
};

/// The contract with its comments, which the services' own copy leaves out.
const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/contract.bin"));
/// What the names of all our packages begin with.
const PACKAGES: &str = "firstcome.";
/// The services that a client needs first, in the order in which it does; then the others.
const FIRST: [&str; 4] = ["AccountService", "CatalogService", "StockService", "OrderService"];

/// Everything that the page tells.
pub struct Contract {
    pool: DescriptorPool,
    /// By file and by place in it.
    comments: HashMap<(String, Vec<i32>), String>,
}

impl Contract {
    /// As it was when this program was built.
    pub fn read() -> Self {
        let pool = DescriptorPool::decode(DESCRIPTOR_SET).expect("the build made a valid set");
        let mut comments = HashMap::new();
        for file in pool.files() {
            let info = file.file_descriptor_proto().source_code_info.clone().unwrap_or_default();
            for location in info.location {
                if let Some(comment) = location.leading_comments {
                    let place = (file.name().to_owned(), location.path);
                    comments.insert(place, unwrapped(&comment));
                }
            }
        }
        Self { pool, comments }
    }

    /// The services that clients call, or those that only the mesh does.
    pub fn services(&self, internal: bool) -> Vec<ServiceDescriptor> {
        let ours = self.pool.services().filter(|service| is_ours(service.full_name()));
        let mut services: Vec<_> =
            ours.filter(|service| is_internal(service) == internal).collect();
        services.sort_by_key(|service| {
            let place = FIRST.iter().position(|name| *name == service.name());
            (place.unwrap_or(FIRST.len()), service.full_name().to_owned())
        });
        services
    }

    /// Messages that are part of others: neither a call's own request nor its answer.
    pub fn parts(&self) -> Vec<MessageDescriptor> {
        let methods: Vec<_> =
            self.pool.services().flat_map(|s| s.methods().collect::<Vec<_>>()).collect();
        let is_a_calls = |message: &MessageDescriptor| {
            methods.iter().any(|method| method.input() == *message || method.output() == *message)
        };
        let ours = self.pool.all_messages().filter(|message| is_ours(message.full_name()));
        let parts = ours.filter(|message| !message.is_map_entry() && !is_a_calls(message));
        sorted(parts.collect(), MessageDescriptor::full_name)
    }

    /// Enums, but for that of the reasons, which has a chapter of its own.
    pub fn enums(&self) -> Vec<EnumDescriptor> {
        let ours = self.pool.all_enums().filter(|found| is_ours(found.full_name()));
        let enums = ours.filter(|found| found.full_name() != super::reasons::ENUM);
        sorted(enums.collect(), EnumDescriptor::full_name)
    }

    /// The reasons.
    pub fn reasons(&self) -> EnumDescriptor {
        self.pool.get_enum_by_name(super::reasons::ENUM).expect("the contract has reasons")
    }

    /// What is said at a place; buf sees to it that something is.
    pub fn comment(&self, file: &FileDescriptor, path: &[i32]) -> &str {
        let place = (file.name().to_owned(), path.to_vec());
        self.comments.get(&place).map_or("", String::as_str)
    }
}

fn sorted<T>(mut items: Vec<T>, name: impl Fn(&T) -> &str) -> Vec<T> {
    items.sort_by(|one, other| name(one).cmp(name(other)));
    items
}

/// Whether it is of the contract, and nothing that it imports.
pub fn is_ours(full_name: &str) -> bool {
    full_name.starts_with(PACKAGES)
}

fn is_internal(service: &ServiceDescriptor) -> bool {
    service.methods().all(|method| access::of_method(&method) == Access::Internal)
}

/// The lines of a comment as one.
fn unwrapped(comment: &str) -> String {
    comment.split_whitespace().collect::<Vec<_>>().join(" ")
}
