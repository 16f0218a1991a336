//! The compose file: against its schema, and its services against what their programs take.

use std::{collections::BTreeMap, sync::LazyLock};

use anyhow::{Context as _, Result};
use firstcome_local::Service;
use jsonschema::Validator;
use serde_json::Value as Json;

use crate::{
    container::endpoints,
    manifests::{list, text},
    pools::{MIGRATIONS, RESERVED, in_args},
    program::{Programs, Served, Value, of_image},
    redis::{self, Command},
    schema,
    workload::is_pinned,
};

/// The compose specification's own; deploy/schemas/README.md says where it is from.
static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| {
    let vendored = include_str!("../../../deploy/schemas/compose.json");
    let schema = serde_json::from_str(vendored).expect("a vendored schema is JSON");
    jsonschema::validator_for(&schema).expect("a vendored schema is one")
});
/// How every service of ours is asked how it is: there is no other program in its image.
const HEALTHCHECK: [&str; 3] = ["CMD", "/firstcome", "healthy"];

/// A compose file, its anchors and merges resolved.
#[derive(Clone, Debug)]
pub struct Compose(pub Json);

impl Compose {
    /// Reads it.
    pub fn read(text: &str) -> Result<Self> {
        let mut value: serde_yaml_ng::Value = serde_yaml_ng::from_str(text).context("parse")?;
        // A merge may bring another one with it.
        for _ in 0..4 {
            value.apply_merge().context("merge")?;
        }
        Ok(Self(serde_json::to_value(value).context("a compose file is plain data")?))
    }

    fn services(&self) -> impl Iterator<Item = (&String, &Json)> {
        self.0["services"].as_object().into_iter().flatten()
    }
}

/// Everything that is wrong with it, one sentence each.
pub fn faults(compose: &Compose, programs: &Programs) -> Vec<String> {
    let mut faults: Vec<String> = schema::errors(&VALIDATOR, &compose.0).collect();
    let mut serving: BTreeMap<&str, (Service, Served)> = BTreeMap::new();
    for (name, service) in compose.services() {
        let mut found = loose_ends(compose, service);
        if let Some(of) = of_image(text(&service["image"])) {
            let (said, served) = programs.read(of, &words(&service["command"]), &env(service));
            found.extend(said);
            found.extend(image(of, service));
            if let Some(served) = served {
                found.extend(probed(service, &served));
                serving.insert(name, (of, served));
            }
        }
        faults.extend(found.into_iter().map(|fault| format!("{name}: {fault}")));
    }
    faults.extend(ways(compose, &serving));
    faults.extend(pools(compose, &serving));
    faults.extend(redis::faults(&commands(compose)));
    faults
}

/// Where its services serve, by their names.
pub fn serving<'a>(
    compose: &'a Compose,
    programs: &Programs,
) -> BTreeMap<&'a str, (Service, Served)> {
    let ours = compose.services().filter_map(|(name, service)| {
        let of = of_image(text(&service["image"]))?;
        let (_, served) = programs.read(of, &words(&service["command"]), &env(service));
        Some((name.as_str(), (of, served?)))
    });
    ours.collect()
}

/// What is named must be there, and named with its version.
fn loose_ends(compose: &Compose, service: &Json) -> Vec<String> {
    let mut faults = Vec::new();
    let image = text(&service["image"]);
    if !is_pinned(image) {
        faults.push(format!("image {image:?} names no version"));
    }
    for (needed, how) in service["depends_on"].as_object().into_iter().flatten() {
        let other = &compose.0["services"][needed];
        if other.is_null() {
            faults.push(format!("it waits for {needed}, which is not there"));
        }
        if how["condition"] == "service_healthy" && other["healthcheck"].is_null() {
            faults.push(format!("it waits for the health of {needed}, whom nobody asks"));
        }
    }
    for volume in list(&service["volumes"]).iter().map(text) {
        let source = volume.split(':').next().unwrap_or_default();
        let is_name = !source.starts_with(['.', '/']);
        if is_name && compose.0["volumes"].get(source).is_none() {
            faults.push(format!("volume {source} is not there"));
        }
    }
    faults
}

/// The image holds the program that it is named after.
fn image(of: Service, service: &Json) -> Option<String> {
    let built = text(&service["build"]["args"]["BIN"]);
    (built != of.name()).then(|| format!("its image is built with BIN={built}, want {of}"))
}

/// It is asked how it is, certificates are where it looks for them, and open ports lead somewhere.
fn probed(service: &Json, served: &Served) -> Vec<String> {
    let mut faults = Vec::new();
    if list(&service["healthcheck"]["test"]) != HEALTHCHECK {
        faults.push(format!("its health is not asked by {HEALTHCHECK:?}"));
    }
    if served.health_port.is_none() {
        faults.push("probes are answered nowhere: set FIRSTCOME_HEALTH_LISTEN".to_owned());
    }
    let mounts: Vec<&str> = list(&service["volumes"])
        .iter()
        .filter_map(|volume| text(volume).split(':').nth(1))
        .collect();
    for (name, value) in env(service) {
        let Value::Known(path) = value else { continue };
        let is_file = name.starts_with("FIRSTCOME_TLS_");
        if is_file && !mounts.iter().any(|mount| path.starts_with(&format!("{mount}/"))) {
            faults.push(format!("{name} {path} is on no volume"));
        }
    }
    for published in list(&service["ports"]).iter().map(text) {
        let target = published.rsplit(':').next().unwrap_or_default();
        if target != served.port.to_string() {
            faults.push(format!("{published} leads to {target}, it listens on {}", served.port));
        }
    }
    faults
}

/// Every service that is called is the one that is meant, and listens there.
fn ways(compose: &Compose, serving: &BTreeMap<&str, (Service, Served)>) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, service) in
        compose.services().filter(|(name, _)| serving.contains_key(name.as_str()))
    {
        for (called, url) in endpoints(&env(service)) {
            let leads = serving.iter().any(|(host, (of, served))| {
                *of == called && url == format!("http://{host}:{}", served.port)
            });
            if !leads {
                faults.push(format!("{name}: {url} does not lead to {called}"));
            }
        }
    }
    for service in Service::ALL {
        if !serving.values().any(|(of, _)| *of == service) {
            faults.push(format!("nobody serves {service}"));
        }
    }
    faults
}

/// One replica of each.
fn pools(compose: &Compose, serving: &BTreeMap<&str, (Service, Served)>) -> Option<String> {
    let command = words(&compose.0["services"]["postgres"]["command"]);
    let most = in_args(command.iter().map(String::as_str)).unwrap_or_default();
    let pools: u32 = serving.values().map(|(_, served)| served.connections).sum();
    let wanted = RESERVED + MIGRATIONS + pools;
    (wanted > most).then(|| format!("pools want {wanted} connections of {most}"))
}

fn commands(compose: &Compose) -> Vec<Command> {
    compose.services().map(|(name, service)| (name.clone(), words(&service["command"]))).collect()
}

fn words(command: &Json) -> Vec<String> {
    list(command).iter().map(|word| text(word).to_owned()).collect()
}

/// A service's own variables; those of others are not ours to know.
fn env(service: &Json) -> BTreeMap<String, Value> {
    let pairs = service["environment"].as_object().into_iter().flatten();
    pairs.map(|(name, value)| (name.clone(), Value::Known(text(value).to_owned()))).collect()
}
