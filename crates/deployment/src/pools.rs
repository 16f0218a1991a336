//! Connections to Postgres: all pools, at the most replicas that there may be, fit the server.

use firstcome_local::Service;
use serde_json::Value as Json;

use crate::{
    container::Container,
    manifests::{Manifests, list, text},
    program::Programs,
    workload::deployment_of,
};

/// Of Postgres's own: kept for a superuser who looks what is wrong.
pub const RESERVED: u32 = 3;
/// A migration has few connections and is alone in its service; all four may run at once.
pub const MIGRATIONS: u32 = 8;

/// Faults of the sum.
pub fn faults(manifests: &Manifests, programs: &Programs) -> Vec<String> {
    let Some(most) = connections_max(manifests) else {
        return vec!["nothing says how many connections Postgres takes".to_owned()];
    };
    let mut wanted = RESERVED + MIGRATIONS;
    let mut parts = Vec::new();
    for service in Service::ALL {
        let Some(deployment) = deployment_of(manifests, service) else { continue };
        let replicas = replicas_max(manifests, deployment);
        for container in Container::all_of(deployment, manifests, &mut Vec::new()) {
            let Some(served) = container.read(programs).1 else { continue };
            wanted += served.connections * replicas;
            parts.push(format!("{service} {} x {replicas}", served.connections));
        }
    }
    if wanted > most {
        let parts = parts.join(", ");
        return vec![format!("pools want {wanted} connections of {most}: {parts}, and a rest")];
    }
    Vec::new()
}

/// What the autoscaler may go up to, and the one more of a roll-out.
fn replicas_max(manifests: &Manifests, deployment: &Json) -> u32 {
    let name = &deployment["metadata"]["name"];
    let scaler = manifests
        .of_kind("HorizontalPodAutoscaler")
        .find(|scaler| scaler["spec"]["scaleTargetRef"]["name"] == *name);
    let most = match scaler {
        Some(scaler) => &scaler["spec"]["maxReplicas"],
        None => &deployment["spec"]["replicas"],
    };
    let surge = &deployment["spec"]["strategy"]["rollingUpdate"]["maxSurge"];
    let count = |value: &Json| value.as_u64().and_then(|count| u32::try_from(count).ok());
    count(most).unwrap_or(1) + count(surge).unwrap_or(1)
}

/// As the Postgres that is rendered too is told, or as somebody says of their own.
fn connections_max(manifests: &Manifests) -> Option<u32> {
    if let Some(stores) = manifests.named("ConfigMap", "stores") {
        return text(&stores["data"]["postgres-connections-max"]).parse().ok();
    }
    let postgres = manifests.named("StatefulSet", "postgres")?;
    let containers = list(&postgres["spec"]["template"]["spec"]["containers"]);
    containers.iter().find_map(|container| in_args(list(&container["args"]).iter().map(text)))
}

/// As in `-c max_connections=300`.
pub fn in_args<'a>(mut args: impl Iterator<Item = &'a str>) -> Option<u32> {
    args.find_map(|arg| arg.strip_prefix("max_connections=")?.parse().ok())
}
