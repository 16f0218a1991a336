//! The route table: every path that may be called from outside, read from the contract. What is
//! not in it, internal methods included, does not exist for the world.

use std::{collections::HashMap, sync::Arc};

use anyhow::{Context as _, bail};
use firstcome_proto::access::{self, Access};
use prost_reflect::{DescriptorPool, MethodDescriptor};
use prost_types::method_options::IdempotencyLevel;

/// The methods whose answers the edge makes itself.
const TYPED: [(&str, Kind); 4] = [
    ("/firstcome.order.v1.OrderService/PlaceOrder", Kind::PlaceOrder),
    ("/firstcome.inventory.v1.StockService/WatchStock", Kind::WatchStock),
    ("/firstcome.edge.v1.ShopService/GetMyPage", Kind::MyPage),
    ("/firstcome.edge.v1.RushService/WatchRush", Kind::WatchRush),
];

/// The methods that are watched closely, and why.
///
/// RefreshSession is not among them: what it tries is a MAC of 32 bytes, which nobody guesses and
/// which is looked at before any database is; and behind one carrier's gateway thousands of honest
/// devices refresh every few minutes, each of whom a refusal would log out. The limit of all calls
/// bounds it.
const WATCHED: [(&str, &[Class]); 8] = [
    ("/firstcome.user.v1.AccountService/SignUp", &[Class::Credentials, Class::Mail]),
    ("/firstcome.user.v1.AccountService/ResendVerification", &[Class::Credentials, Class::Mail]),
    ("/firstcome.user.v1.AccountService/RequestPasswordReset", &[Class::Credentials, Class::Mail]),
    ("/firstcome.user.v1.AccountService/VerifyEmail", &[Class::Credentials]),
    ("/firstcome.user.v1.AccountService/LogIn", &[Class::Credentials]),
    ("/firstcome.user.v1.AccountService/ResetPassword", &[Class::Credentials]),
    ("/firstcome.user.v1.AccountService/ChangePassword", &[Class::OwnPassword]),
    ("/firstcome.user.v1.ProfileService/DeleteAccount", &[Class::OwnPassword]),
];

/// What a method lets its caller try, beyond what any call does: each class has a rate of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A password or a code of anybody's, or an address of anybody's; counted by address.
    Credentials,
    /// It sends a mail to whomever the caller names; counted by address.
    Mail,
    /// The password of the account that the token is of; counted by user.
    OwnPassword,
}

/// A service behind the edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upstream {
    User,
    Inventory,
    Order,
    Payment,
}

impl Upstream {
    /// By package: `firstcome.<noun>.v1`.
    fn of_package(package: &str) -> Option<Self> {
        match package {
            "firstcome.user.v1" => Some(Self::User),
            "firstcome.inventory.v1" => Some(Self::Inventory),
            "firstcome.order.v1" => Some(Self::Order),
            "firstcome.payment.v1" => Some(Self::Payment),
            _ => None,
        }
    }
}

/// How a method is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Passed on as bytes.
    Forward(Upstream),
    /// Gathered with other buyers' calls.
    PlaceOrder,
    /// Fed from the one stream that all watchers of a product share.
    WatchStock,
    /// Gathered from several services.
    MyPage,
    /// Told from what is counted here.
    WatchRush,
    /// Health and reflection: the edge's own.
    Local,
}

/// A method that may be called from outside.
#[derive(Debug)]
pub struct Route {
    pub path: http::uri::PathAndQuery,
    pub access: Access,
    pub kind: Kind,
    /// Calling twice does what calling once does: a call that met no server may be made again.
    pub repeatable: bool,
    /// Its answer is a stream, which has no end by itself.
    pub streaming: bool,
    /// Counted by the rates of these too.
    pub classes: &'static [Class],
}

/// Every route by its path.
#[derive(Clone, Debug)]
pub struct Table(Arc<HashMap<String, Arc<Route>>>);

impl Table {
    /// Reads the contract; fails on what the edge could not serve. What is for development has a
    /// route where the edge is `in_development`.
    pub fn read(contract: &DescriptorPool, in_development: bool) -> anyhow::Result<Self> {
        let mut routes = HashMap::new();
        for method in methods(contract) {
            let path = access::path_of(&method);
            if let Some(route) = route(&method).with_context(|| path.clone())? {
                routes.insert(path, Arc::new(route));
            }
        }
        let typed = TYPED.iter().map(|(path, _)| *path);
        for path in typed.chain(WATCHED.iter().map(|(path, _)| *path)) {
            if !routes.contains_key(path) {
                bail!("the contract has no {path}");
            }
        }
        routes.retain(|_, route| in_development || route.access != Access::Development);
        for set in [
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ] {
            let pool = DescriptorPool::decode(set).context("a standard protocol's descriptors")?;
            for method in methods(&pool) {
                let path = access::path_of(&method);
                let route = described(&method, Access::Public, Kind::Local)?;
                routes.insert(path, Arc::new(route));
            }
        }
        Ok(Self(Arc::new(routes)))
    }

    /// The route of a path, if the world may know of it.
    pub fn find(&self, path: &str) -> Option<&Arc<Route>> {
        self.0.get(path)
    }

    /// Every path.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

fn methods(pool: &DescriptorPool) -> Vec<MethodDescriptor> {
    pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
}

fn route(method: &MethodDescriptor) -> anyhow::Result<Option<Route>> {
    let access = access::of_method(method);
    match access {
        Access::Internal => return Ok(None),
        Access::Unspecified => bail!("it does not say who may call it"),
        Access::Public | Access::User | Access::Admin | Access::Development => {}
    }
    if method.is_client_streaming() {
        bail!("it takes a stream, which the edge does not bound yet");
    }
    let path = access::path_of(method);
    let kind = match TYPED.iter().find(|(typed, _)| *typed == path) {
        Some((_, kind)) => *kind,
        None => {
            let package = method.parent_file().package_name().to_owned();
            let upstream = Upstream::of_package(&package);
            Kind::Forward(upstream.with_context(|| format!("no service owns {package}"))?)
        }
    };
    described(method, access, kind).map(Some)
}

fn described(method: &MethodDescriptor, access: Access, kind: Kind) -> anyhow::Result<Route> {
    let path = access::path_of(method);
    let options = method.method_descriptor_proto().options.as_ref();
    let level = options.map(|options| options.idempotency_level());
    Ok(Route {
        access,
        kind,
        repeatable: level.is_some_and(|level| level != IdempotencyLevel::IdempotencyUnknown),
        streaming: method.is_server_streaming(),
        classes: classes_of(&path),
        path: path.parse().context("its name does not make a path")?,
    })
}

fn classes_of(path: &str) -> &'static [Class] {
    let watched = WATCHED.iter().find(|(watched, _)| *watched == path);
    watched.map_or(&[], |(_, classes)| classes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_contract() {
        let table = Table::read(&access::descriptor_pool(), true).unwrap();
        let cases = [
            ("user.v1.AccountService/LogIn", Access::Public, Kind::Forward(Upstream::User)),
            ("user.v1.AccountService/LogOut", Access::User, Kind::Forward(Upstream::User)),
            (
                "inventory.v1.CatalogService/CreateProduct",
                Access::Admin,
                Kind::Forward(Upstream::Inventory),
            ),
            ("inventory.v1.StockService/WatchStock", Access::Public, Kind::WatchStock),
            ("order.v1.OrderService/PlaceOrder", Access::User, Kind::PlaceOrder),
            ("order.v1.OrderService/PayOrder", Access::User, Kind::Forward(Upstream::Order)),
            (
                "payment.v1.PaymentService/GetPayment",
                Access::User,
                Kind::Forward(Upstream::Payment),
            ),
            ("edge.v1.ShopService/GetMyPage", Access::User, Kind::MyPage),
            ("edge.v1.RushService/WatchRush", Access::Development, Kind::WatchRush),
        ];
        for (name, access, kind) in cases {
            let route = table.find(&format!("/firstcome.{name}")).expect(name);
            assert_eq!((route.access, route.kind), (access, kind), "{name}");
        }
        for (path, classes) in WATCHED {
            assert_eq!(table.find(path).expect(path).classes, classes, "{path}");
        }
        let refresh = table.find("/firstcome.user.v1.AccountService/RefreshSession");
        assert_eq!(refresh.expect("a route").classes, []);
        assert!(table.find("/grpc.health.v1.Health/Check").is_some());
        assert!(table.find("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo").is_some());
    }

    #[test]
    fn no_internal_method_has_a_route() {
        let contract = access::descriptor_pool();
        let table = Table::read(&contract, true).unwrap();
        let internal: Vec<_> = methods(&contract)
            .into_iter()
            .filter(|method| access::of_method(method) == Access::Internal)
            .collect();
        assert!(internal.len() >= 10);
        for method in internal {
            assert!(table.find(&access::path_of(&method)).is_none(), "{}", method.full_name());
        }
    }

    #[test]
    fn outside_development_nothing_else_is_missing_than_what_is_for_it() {
        let contract = access::descriptor_pool();
        let tables = [true, false].map(|it| Table::read(&contract, it).unwrap());
        let [everywhere, outside] = tables.each_ref().map(|table| table.paths().count());
        assert_eq!(everywhere - outside, 1);
        assert!(tables[1].find("/firstcome.edge.v1.RushService/WatchRush").is_none());
    }
}
