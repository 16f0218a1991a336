//! Holds what `deploy/` says against what the programs take and what a cluster knows, without a
//! cluster: `cargo xtask check`.
//!
//! The programs' word is their own configuration, linked in: whatever it refuses is refused here,
//! before anybody deploys it. *Invariant:* nothing here is started, changed or written.

pub mod compose;
pub mod container;
pub mod manifests;
pub mod network;
pub mod pools;
pub mod program;
pub mod redis;
pub mod schema;
pub mod scrape;
pub mod workload;

use std::path::Path;

use anyhow::{Context as _, Result};

use self::{
    manifests::{Kustomize, Manifests},
    program::Programs,
};

/// What is applied, one overlay after the other: together they are a whole shop.
pub const DEPLOYMENTS: [(&str, &[&str]); 2] = [
    (
        "kind",
        &[
            "deploy/k8s/overlays/kind/stores",
            "deploy/k8s/overlays/kind/migrate",
            "deploy/k8s/overlays/kind",
        ],
    ),
    (
        "production",
        &[
            "deploy/k8s/overlays/production/migrate",
            "deploy/k8s/overlays/production",
            "deploy/k8s/overlays/production/operator",
        ],
    ),
];

/// The file that brings everything up on one machine.
pub const COMPOSE_FILE: &str = "docker-compose.yml";

/// What its Prometheus asks.
pub const SCRAPE_FILE: &str = "deploy/prometheus/prometheus.yml";

/// What a cluster's Prometheus asks.
pub const CLUSTER_SCRAPE_FILE: &str = "deploy/prometheus/kubernetes.yml";

/// What either does with it.
pub const RULES_FILE: &str = "deploy/prometheus/rules.yml";

/// Renders one of [`DEPLOYMENTS`].
pub fn render(root: &Path, kustomize: &Kustomize, overlays: &[&str]) -> Result<Manifests> {
    let stages = overlays.iter().map(|overlay| kustomize.render(&root.join(overlay)));
    Manifests::read(&stages.collect::<Result<Vec<_>>>()?).context("read what was rendered")
}

/// Everything that is wrong with a rendered deployment, one sentence each.
pub fn faults_of(manifests: &Manifests, programs: &Programs) -> Vec<String> {
    let mut faults = schema::faults(manifests);
    faults.extend(workload::faults(manifests, programs));
    faults.extend(network::faults(manifests, programs));
    faults.extend(scrape::faults_of_pods(manifests, programs));
    faults.extend(pools::faults(manifests, programs));
    faults.extend(redis::faults(&redis::commands(manifests)));
    faults
}
