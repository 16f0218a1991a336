//! Ways between pods: every service that is called is found by its name, at its port, and the
//! policies let the call leave and come in.

use std::collections::BTreeMap;

use firstcome_local::Service;
use serde_json::Value as Json;

use crate::{
    container::Container,
    manifests::{Manifests, labels, list, selects, text, title},
    program::Programs,
    workload::{deployment_of, port_of},
};

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
    faults
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
    manifests
        .of_kind("NetworkPolicy")
        .filter(|policy| selects(&policy["spec"]["podSelector"]["matchLabels"], pods))
        .flat_map(|policy| list(&policy["spec"][direction]))
        .any(|rule| {
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
