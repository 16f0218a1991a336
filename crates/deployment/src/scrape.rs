//! What Prometheus asks: on one machine by the names and ports that its configuration lists, on a
//! cluster by the annotations of pods, past the policies. Each must be where a program answers, or
//! its figures are missing on the day on which they are wanted.

use std::time::Duration;

use anyhow::{Context as _, Result};
use firstcome_local::Service;
use serde_json::Value as Json;

use crate::{
    compose::{self, Compose},
    container::Container,
    manifests::{Manifests, list, text, title},
    program::Programs,
    workload::deployment_of,
};

/// Lets whoever watches over the shop in.
const POLICY: &str = "monitoring";
/// What a pod says of where it is asked.
const ANNOTATIONS: [&str; 2] = ["prometheus.io/scrape", "prometheus.io/port"];

/// How often Prometheus asks where nobody says.
const INTERVAL_DEFAULT: Duration = Duration::from_secs(60);
/// A range in which there are fewer looks is no rate when one of them fails or is late.
const LOOKS_MIN: u32 = 4;

/// Reads Prometheus's configuration.
pub fn read(text: &str) -> Result<Json> {
    serde_yaml_ng::from_str(text).context("parse")
}

/// Everything that is wrong with what is asked of a compose file's services, one sentence each.
pub fn faults(scrape: &Json, compose: &Compose, programs: &Programs) -> Vec<String> {
    let serving = compose::serving(compose, programs);
    let mut faults = Vec::new();
    let mut asked = Vec::new();
    for job in list(&scrape["scrape_configs"]) {
        let name = text(&job["job_name"]);
        let targets = list(&job["static_configs"]).iter().flat_map(|of| list(&of["targets"]));
        for target in targets.map(text) {
            let answers = serving.iter().find(|(host, (_, served))| {
                served.health_port.is_some_and(|port| target == format!("{host}:{port}"))
            });
            match answers {
                None => faults.push(format!("job {name}: nobody answers at {target}")),
                Some((_, (service, _))) if short(*service) != name => {
                    faults.push(format!("job {name}: {target} is {service}"));
                }
                Some((_, (service, _))) => asked.push(*service),
            }
        }
    }
    let forgotten = Service::ALL.into_iter().filter(|service| !asked.contains(service));
    faults.extend(forgotten.map(|service| format!("no job asks {service}")));
    faults
}

/// Jobs that ask too seldom for the shortest range over which some rule looks.
pub fn faults_of_intervals(scrape: &Json, rules: &str) -> Vec<String> {
    let Some(shortest) = ranges(rules).min() else {
        return vec!["no rule looks over a range".to_owned()];
    };
    let duration = |value: &Json| humantime::parse_duration(value.as_str()?).ok();
    let general = duration(&scrape["global"]["scrape_interval"]).unwrap_or(INTERVAL_DEFAULT);
    let mut faults = Vec::new();
    for job in list(&scrape["scrape_configs"]) {
        let interval = duration(&job["scrape_interval"]).unwrap_or(general);
        if interval * LOOKS_MIN > shortest {
            let name = text(&job["job_name"]);
            faults
                .push(format!("job {name} asks every {interval:?}, a rule looks at {shortest:?}"));
        }
    }
    faults
}

/// As in `rate(firstcome_products_fenced[1m])`.
fn ranges(rules: &str) -> impl Iterator<Item = Duration> {
    let opened = rules.split('[').skip(1).filter_map(|rest| rest.split_once(']'));
    opened.filter_map(|(range, _)| humantime::parse_duration(range).ok())
}

/// Everything that is wrong with what is asked of a cluster's pods.
pub fn faults_of_pods(manifests: &Manifests, programs: &Programs) -> Vec<String> {
    let mut faults = Vec::new();
    for service in Service::ALL {
        let Some(deployment) = deployment_of(manifests, service) else { continue };
        // Their faults are told where pods are looked at.
        let containers = Container::all_of(deployment, manifests, &mut Vec::new());
        let served = containers.iter().find_map(|container| container.read(programs).1);
        let Some(port) = served.and_then(|served| served.health_port) else { continue };
        let said = &deployment["spec"]["template"]["metadata"]["annotations"];
        for (name, wanted) in ANNOTATIONS.into_iter().zip(["true".to_owned(), port.to_string()]) {
            if text(&said[name]) != wanted {
                let have = &said[name];
                faults.push(format!("{}: {name} is {have}, want {wanted}", title(deployment)));
            }
        }
        let policy = manifests.named("NetworkPolicy", POLICY);
        let rules = policy.map(|policy| list(&policy["spec"]["ingress"])).unwrap_or_default();
        let is_open =
            rules.iter().flat_map(|rule| list(&rule["ports"])).any(|of| of["port"] == port);
        if !is_open {
            faults.push(format!("no NetworkPolicy {POLICY} lets whoever asks {service} in"));
        }
    }
    faults
}

/// As its job is called.
fn short(service: Service) -> &'static str {
    service.name().trim_start_matches("firstcome-")
}
