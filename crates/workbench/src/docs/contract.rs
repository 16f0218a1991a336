//! The contract as the page tells it: services, types and their comments.

use std::collections::{BTreeSet, HashMap};

use firstcome_proto::access::{self, Access};
use prost_reflect::{
    DescriptorPool, EnumDescriptor, FileDescriptor, Kind, MessageDescriptor, ServiceDescriptor,
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

    /// Messages that are part of others, of what clients send and get or of what only the mesh does.
    pub fn parts(&self, internal: bool) -> Vec<MessageDescriptor> {
        let (calls_own, public) = (self.calls_own(), self.public());
        let ours = self.pool.all_messages().filter(|message| is_ours(message.full_name()));
        let parts = ours.filter(|message| {
            let is_a_part = !message.is_map_entry() && !calls_own.contains(message.full_name());
            is_a_part && public.contains(message.full_name()) != internal
        });
        sorted(parts.collect(), MessageDescriptor::full_name)
    }

    /// Enums of either kind, but for that of the reasons, which has a chapter of its own.
    pub fn enums(&self, internal: bool) -> Vec<EnumDescriptor> {
        let public = self.public();
        let ours = self.pool.all_enums().filter(|found| is_ours(found.full_name()));
        let enums = ours.filter(|found| {
            let name = found.full_name();
            name != super::reasons::ENUM && public.contains(name) != internal
        });
        sorted(enums.collect(), EnumDescriptor::full_name)
    }

    /// The requests and answers of all methods.
    fn calls_own(&self) -> BTreeSet<String> {
        let services = self.pool.services();
        let methods = services.flat_map(|service| service.methods().collect::<Vec<_>>());
        let messages = methods.flat_map(|method| [method.input(), method.output()]);
        messages.map(|message| message.full_name().to_owned()).collect()
    }

    /// Every type that a client meets.
    fn public(&self) -> BTreeSet<String> {
        let services = self.services(false);
        let methods = services.iter().flat_map(|service| service.methods());
        let mut open: Vec<_> =
            methods.flat_map(|method| [method.input(), method.output()]).collect();
        let mut met = BTreeSet::new();
        while let Some(message) = open.pop() {
            if !met.insert(message.full_name().to_owned()) {
                continue;
            }
            for field in message.fields() {
                match field.kind() {
                    Kind::Message(part) => open.push(part),
                    Kind::Enum(found) => drop(met.insert(found.full_name().to_owned())),
                    _ => {}
                }
            }
        }
        met
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
