//! Pods: their variables, ports, probes and end, held against what their programs take.

use std::time::Duration;

use firstcome_local::Service;
use serde_json::Value as Json;

use crate::{
    container::Container,
    manifests::{Manifests, list, text, title},
    program::{Programs, Served, of_image},
};

/// What Kubernetes needs until nobody is sent any more to a pod that ends.
const LEAVING: Duration = Duration::from_secs(5);
/// What a process needs after its drain to close what it has open, and Kubernetes to notice.
const AFTER_DRAIN: Duration = Duration::from_secs(3);
/// The kinds that have a template of pods.
pub const KINDS: [&str; 3] = ["Deployment", "StatefulSet", "Job"];
/// The label that every node has.
const HOSTNAME: &str = "kubernetes.io/hostname";
/// Where certificates are read from.
const TLS_VARIABLES: [&str; 3] =
    ["FIRSTCOME_TLS_CERTIFICATE", "FIRSTCOME_TLS_KEY", "FIRSTCOME_TLS_AUTHORITY"];

/// Faults of all pods.
pub fn faults(manifests: &Manifests, programs: &Programs) -> Vec<String> {
    let mut faults = Vec::new();
    for kind in KINDS {
        for object in manifests.of_kind(kind) {
            faults.extend(unpinned(object));
            faults.extend(idle_spread(object));
            for container in Container::all_of(object, manifests, &mut faults) {
                let (said, served) = container.read(programs);
                let mut found = said;
                if let Some(served) = &served {
                    found.extend(probes(&container, served));
                    found.extend(end(&object["spec"]["template"]["spec"], served));
                    found.extend(certificates(object, &container));
                }
                faults.extend(found.iter().map(|fault| format!("{}: {fault}", title(object))));
            }
        }
    }
    for service in Service::ALL {
        if deployment_of(manifests, service).is_none() {
            faults.push(format!("no Deployment runs {service}"));
        }
    }
    faults
}

/// The deployment that runs a service.
pub fn deployment_of(manifests: &Manifests, service: Service) -> Option<&Json> {
    manifests.of_kind("Deployment").find(|object| {
        let containers = list(&object["spec"]["template"]["spec"]["containers"]);
        containers.iter().any(|container| of_image(text(&container["image"])) == Some(service))
    })
}

/// The port of a container by its name or number, where it has that one.
pub fn port_of(container: &Json, port: &Json) -> Option<u64> {
    let ports = list(&container["ports"]);
    let wanted = |of: &&Json| of["containerPort"] == *port || of["name"] == *port;
    ports.iter().find(wanted).and_then(|of| of["containerPort"].as_u64())
}

/// Images without a version are another program tomorrow.
fn unpinned(object: &Json) -> Vec<String> {
    let pod = &object["spec"]["template"]["spec"];
    let containers = list(&pod["containers"]).iter().chain(list(&pod["initContainers"]));
    let images = containers.map(|container| text(&container["image"]));
    let loose = images.filter(|image| !is_pinned(image));
    loose.map(|image| format!("{}: image {image:?} names no version", title(object))).collect()
}

/// The scheduler leaves a node that lacks the label of one constraint out of all of them: where no
/// node has it, nothing is spread.
fn idle_spread(object: &Json) -> Vec<String> {
    let constraints = list(&object["spec"]["template"]["spec"]["topologySpreadConstraints"]);
    let keys = constraints.iter().map(|constraint| text(&constraint["topologyKey"]));
    let idle = keys.filter(|key| *key != HOSTNAME);
    idle.map(|key| format!("{}: nodes without {key} end its spread", title(object))).collect()
}

/// Whether an image is named by a digest, or by a tag that stays.
pub fn is_pinned(image: &str) -> bool {
    let name = image.rsplit('/').next().unwrap_or_default();
    let tag = name.split_once(':').map(|(_, tag)| tag);
    image.contains('@') || tag.is_some_and(|tag| tag.contains(|c: char| c.is_ascii_digit()))
}

/// Every probe asks the port where probes are answered: whether the process is ready by its name,
/// whether it lives by no name, so that a store that is away restarts nobody.
fn probes(container: &Container<'_>, served: &Served) -> Vec<String> {
    let mut faults = Vec::new();
    let Some(health_port) = served.health_port else {
        return vec!["probes are answered nowhere: set FIRSTCOME_HEALTH_LISTEN".to_owned()];
    };
    let name = container.service.name();
    for (probe, service) in
        [("startupProbe", name), ("readinessProbe", name), ("livenessProbe", "")]
    {
        let asked = &container.json[probe]["grpc"];
        if asked["port"].as_u64() != Some(u64::from(health_port)) {
            let port = &asked["port"];
            faults.push(format!("{probe} asks port {port}, answered is {health_port}"));
        }
        if text(&asked["service"]) != service {
            let have = text(&asked["service"]);
            faults.push(format!("{probe} asks for {have:?}, want {service:?}"));
        }
    }
    for port in [served.port, health_port] {
        if port_of(container.json, &port.into()).is_none() {
            faults.push(format!("it listens on {port}, and no containerPort says so"));
        }
    }
    let listed = list(&container.json["ports"]).iter().map(|port| &port["containerPort"]);
    let known = [u64::from(served.port), u64::from(health_port)];
    let dead = listed.filter(|port| !known.contains(&port.as_u64().unwrap_or_default()));
    faults.extend(dead.map(|port| format!("containerPort {port}: nobody listens there")));
    faults
}

/// A pod is given as long as its goodbye takes, and that is long enough for its callers to hear.
fn end(pod: &Json, served: &Served) -> Vec<String> {
    let mut faults = Vec::new();
    let seconds = |value: &Json| value.as_u64().map(Duration::from_secs);
    if served.drain_wait < LEAVING {
        let have = served.drain_wait;
        faults.push(format!("FIRSTCOME_DRAIN_WAIT is {have:?}; callers leave within {LEAVING:?}"));
    }
    let wanted = served.drain_wait + served.drain_timeout + AFTER_DRAIN;
    let grace = seconds(&pod["terminationGracePeriodSeconds"]).unwrap_or_default();
    if grace < wanted {
        faults.push(format!("its grace is {grace:?}; wait, drain and rest take {wanted:?}"));
    }
    faults
}

/// The three files are on a volume, and that is the secret of this service: another's certificate
/// would make it another.
fn certificates(object: &Json, container: &Container<'_>) -> Vec<String> {
    let mut faults = Vec::new();
    let volumes = list(&object["spec"]["template"]["spec"]["volumes"]);
    let wanted = format!("{}-tls", container.service.name().trim_start_matches("firstcome-"));
    for variable in TLS_VARIABLES {
        let Some(path) = container.known(variable) else {
            faults.push(format!("{variable} is not set"));
            continue;
        };
        let mounts = list(&container.json["volumeMounts"]);
        let holds = |mount: &&Json| {
            let folder = format!("{}/", text(&mount["mountPath"]));
            path.starts_with(&folder)
        };
        let volume = mounts.iter().find(holds).map(|mount| &mount["name"]);
        let volume = volume.and_then(|name| volumes.iter().find(|of| of["name"] == *name));
        let secret = volume.map(|volume| text(&volume["secret"]["secretName"]));
        if secret != Some(&wanted) {
            faults.push(format!("{variable} {path} is on {secret:?}, want secret {wanted}"));
        }
    }
    faults
}
