//! Ways between pods: every service that is called is found by its name, at its port, and the
//! policies let the call leave and come in; and so with names and stores, for what runs before the
//! services are there too.

use std::collections::{BTreeMap, BTreeSet};

use firstcome_local::Service;
use serde_json::Value as Json;

use crate::{
    container::Container,
    manifests::{Manifests, labels, list, selects, text, title},
    program::Programs,
    redis::FORM,
    workload::{KINDS, deployment_of, port_of},
};

/// Where names are looked up: by UDP, and by TCP what does not fit into a datagram.
const NAMES: [(u64, &str); 2] = [(53, "UDP"), (53, "TCP")];
/// The namespace of whoever answers there.
const NAMES_NAMESPACE: &str = "kube-system";
/// Whoever is told one of these goes to Postgres or to Redis.
const STORES: [(&str, u64, &[&str]); 2] = [
    ("postgres", 5432, &["FIRSTCOME_DATABASE_URL", "PGHOST"]),
    ("redis", 6379, &["FIRSTCOME_REDIS_URL", FORM]),
];

/// Faults of services and policies.
pub fn faults(manifests: &Manifests, programs: &Programs) -> Vec<String> {
    let mut faults = dead_ports(manifests);
    for caller in Service::ALL {
        let Some(deployment) = deployment_of(manifests, caller) else { continue };
        // Their faults are told where pods are looked at.
        let containers = Container::all_of(deployment, manifests, &mut Vec::new());
        for (called, url) in containers.iter().flat_map(Container::endpoints) {
            if let Err(fault) = way(manifests, programs, deployment, called, url) {
                faults.push(format!("{}: {fault}", title(deployment)));
            }
        }
    }
    if manifests.named("NetworkPolicy", "deny-all").is_none_or(|policy| !denies_all(policy)) {
        faults.push("no NetworkPolicy deny-all denies what is not said".to_owned());
    }
    // What is shut off at one stage is so at the next ones, and told once.
    let shut: BTreeSet<String> = manifests.by_stage().flat_map(|there| shut_off(&there)).collect();
    faults.extend(shut);
    faults
}

/// Pods that some policy lets out to certain places only, and none to names or to their stores. A
/// Job runs with the policies that are there by then, not with those that come with the services.
fn shut_off(there: &Manifests) -> Vec<String> {
    let mut faults = Vec::new();
    for object in KINDS.into_iter().flat_map(|kind| there.of_kind(kind)) {
        let template = &object["spec"]["template"];
        let pods = labels(&template["metadata"]["labels"]);
        if !is_isolated(there, &pods) {
            continue;
        }
        let shut = NAMES.iter().filter(|at| !leaves(there, &pods, is_for_names, **at));
        faults.extend(shut.map(|(port, protocol)| {
            let by = format!("{protocol} {port}");
            format!("{}: no NetworkPolicy lets it look names up by {by}", title(object))
        }));
        for (store, port, told_by) in STORES {
            let is_used = list(&template["spec"]["containers"]).iter().any(|container| {
                let variables = list(&container["env"]).iter().map(|variable| &variable["name"]);
                variables
                    .chain(list(&container["command"]))
                    .any(|word| told_by.contains(&text(word)))
            });
            if is_used && !reaches_store(there, &pods, store, port) {
                faults.push(format!("{}: no NetworkPolicy lets it reach {store}", title(object)));
            }
        }
    }
    faults
}

/// Whether some policy is about what leaves these pods: then nothing else leaves.
fn is_isolated(manifests: &Manifests, pods: &BTreeMap<&str, &str>) -> bool {
    about(manifests, pods)
        .any(|policy| list(&policy["spec"]["policyTypes"]).iter().any(|kind| kind == "Egress"))
}

/// To a store that is rendered too, whose own policies let it in, or to the networks of somebody
/// else's.
fn reaches_store(
    manifests: &Manifests,
    pods: &BTreeMap<&str, &str>,
    store: &str,
    port: u64,
) -> bool {
    let Some(rendered) = manifests.named("StatefulSet", store) else {
        let is_network = |peer: &Json| peer["ipBlock"].is_object();
        return leaves(manifests, pods, is_network, (port, "TCP"));
    };
    let others = labels(&rendered["spec"]["template"]["metadata"]["labels"]);
    passes(manifests, "egress", pods, &others, port)
        && passes(manifests, "ingress", &others, pods, port)
}

fn is_for_names(peer: &Json) -> bool {
    let namespace = labels(&peer["namespaceSelector"]["matchLabels"]);
    namespace.get("kubernetes.io/metadata.name") == Some(&NAMES_NAMESPACE)
}

/// Whether a policy lets these pods out to somebody like that, at a port by a protocol.
fn leaves(
    manifests: &Manifests,
    pods: &BTreeMap<&str, &str>,
    is_meant: impl Fn(&Json) -> bool,
    (port, protocol): (u64, &str),
) -> bool {
    about(manifests, pods).flat_map(|policy| list(&policy["spec"]["egress"])).any(|rule| {
        let is_open = |open: &Json| {
            let by = open["protocol"].as_str().unwrap_or("TCP");
            open["port"] == port && by == protocol
        };
        list(&rule["to"]).iter().any(&is_meant) && list(&rule["ports"]).iter().any(is_open)
    })
}

/// The policies about these pods.
fn about<'a>(
    manifests: &'a Manifests,
    pods: &BTreeMap<&str, &str>,
) -> impl Iterator<Item = &'a Json> {
    let is_about =
        move |policy: &&Json| selects(&policy["spec"]["podSelector"]["matchLabels"], pods);
    manifests.of_kind("NetworkPolicy").filter(is_about)
}

/// Follows a call from one pod to another.
fn way(
    manifests: &Manifests,
    programs: &Programs,
    caller: &Json,
    called: Service,
    url: &str,
) -> Result<(), String> {
    let place = url.strip_prefix("http://").and_then(|place| place.split_once(':'));
    let (host, port) = place.ok_or_else(|| format!("{url} is not http://name:port"))?;
    let port: u64 = port.parse().map_err(|_| format!("{url} has no port"))?;
    let service = manifests.named("Service", host).ok_or_else(|| format!("no Service {host}"))?;
    let deployment =
        deployment_of(manifests, called).ok_or_else(|| format!("{called} runs nowhere"))?;
    let pods = &deployment["spec"]["template"]["metadata"]["labels"];
    if !selects(&service["spec"]["selector"], &labels(pods)) {
        return Err(format!("Service {host} does not select {called}"));
    }
    let ports = list(&service["spec"]["ports"]);
    let entry = ports.iter().find(|entry| entry["port"].as_u64() == Some(port));
    let entry = entry.ok_or_else(|| format!("Service {host} has no port {port}"))?;
    let containers = Container::all_of(deployment, manifests, &mut Vec::new());
    let container = containers.first().ok_or_else(|| format!("{called} has no container"))?;
    let Some(served) = container.read(programs).1 else { return Ok(()) };
    let served = u64::from(served.port);
    if port_of(container.json, &entry["targetPort"]) != Some(served) {
        return Err(format!("Service {host} leads to {}, not to {served}", entry["targetPort"]));
    }
    // Callers of a headless service choose an address, and then use the port that they were told.
    if service["spec"]["clusterIP"] == "None" && port != served {
        return Err(format!("{url}: {called} listens on {served}"));
    }
    let caller = labels(&caller["spec"]["template"]["metadata"]["labels"]);
    let pods = labels(pods);
    if !passes(manifests, "egress", &caller, &pods, served) {
        return Err(format!("no NetworkPolicy lets a call to {called} leave"));
    }
    if !passes(manifests, "ingress", &pods, &caller, served) {
        return Err(format!("no NetworkPolicy lets a call to {called} in"));
    }
    Ok(())
}

/// Whether a policy about these pods lets them reach, or be reached by, those others at a port.
fn passes(
    manifests: &Manifests,
    direction: &str,
    pods: &BTreeMap<&str, &str>,
    others: &BTreeMap<&str, &str>,
    port: u64,
) -> bool {
    let side = if direction == "egress" { "to" } else { "from" };
    about(manifests, pods).flat_map(|policy| list(&policy["spec"][direction])).any(|rule| {
        let peers = list(&rule[side]);
        let named = peers.iter().any(|peer| {
            peer["podSelector"].is_object()
                && peer["namespaceSelector"].is_null()
                && selects(&peer["podSelector"]["matchLabels"], others)
        });
        let ports = list(&rule["ports"]);
        let open = ports.is_empty() || ports.iter().any(|open| open["port"] == port);
        (peers.is_empty() || named) && open
    })
}

fn denies_all(policy: &Json) -> bool {
    let spec = &policy["spec"];
    let both = list(&spec["policyTypes"]).len() == 2;
    labels(&spec["podSelector"]["matchLabels"]).is_empty()
        && both
        && list(&spec["ingress"]).is_empty()
        && list(&spec["egress"]).is_empty()
}

/// A port of a service that leads to no port of its pods.
fn dead_ports(manifests: &Manifests) -> Vec<String> {
    let mut faults = Vec::new();
    for service in manifests.of_kind("Service") {
        let selected = ["Deployment", "StatefulSet"].into_iter().find_map(|kind| {
            manifests.of_kind(kind).find(|object| {
                let pods = labels(&object["spec"]["template"]["metadata"]["labels"]);
                selects(&service["spec"]["selector"], &pods)
            })
        });
        let Some(selected) = selected else {
            faults.push(format!("{} selects nobody", title(service)));
            continue;
        };
        let containers = list(&selected["spec"]["template"]["spec"]["containers"]);
        for port in list(&service["spec"]["ports"]) {
            let target = &port["targetPort"];
            if !containers.iter().any(|container| port_of(container, target).is_some()) {
                let name = text(&port["name"]);
                faults.push(format!("{}: port {name} leads to {target}", title(service)));
            }
        }
    }
    faults
}
