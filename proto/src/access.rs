//! Who may call what, read from the options in the contract.

pub mod peer;

use prost_reflect::{DescriptorPool, MethodDescriptor, Value};

pub use crate::access_v1::{Access, Identity, Role};
pub use peer::Peer;

/// The full name of the option that every method carries.
const OPTION: &str = "firstcome.access.v1.access";

/// The contract with its options, ready to be looked at.
pub fn descriptor_pool() -> DescriptorPool {
    DescriptorPool::decode(crate::DESCRIPTOR_SET).expect("the build made a valid descriptor set")
}

/// The access of a method; `Unspecified` when the option is missing.
pub fn of_method(method: &MethodDescriptor) -> Access {
    let pool = method.parent_pool();
    let option = pool.get_extension_by_name(OPTION).expect("the contract declares the option");
    match *method.options().get_extension(&option) {
        Value::EnumNumber(number) => Access::try_from(number).unwrap_or(Access::Unspecified),
        _ => Access::Unspecified,
    }
}

/// The HTTP/2 path of a method, as in `/firstcome.order.v1.OrderService/PlaceOrder`.
pub fn path_of(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

/// Whether a call of this method has no end by itself: somebody watches, until they have seen
/// enough. Other streams end with their answers.
pub fn is_endless(method: &MethodDescriptor) -> bool {
    method.is_server_streaming() && method.name().starts_with("Watch")
}
