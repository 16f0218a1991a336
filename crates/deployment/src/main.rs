//! `cargo xtask check`: says everything that is wrong with `deploy/`; exits 1 when something is.

use std::{fs, process::ExitCode};

use anyhow::{Context as _, Result};
use firstcome_deployment::{
    CLUSTER_SCRAPE_FILE, COMPOSE_FILE, DEPLOYMENTS, RULES_FILE, SCRAPE_FILE,
    compose::{self, Compose},
    faults_of,
    manifests::Kustomize,
    program::Programs,
    render, scrape,
};
use firstcome_local::Checkout;

fn main() -> ExitCode {
    match run() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(faults) => {
            eprintln!("{faults} fault(s)");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// How many faults there are.
fn run() -> Result<usize> {
    let checkout = Checkout::here();
    let root = checkout.root();
    let programs = Programs::prepare()?;
    let mut found = 0;

    let read = |file: &'static str| fs::read_to_string(root.join(file)).context(file);
    let composed = Compose::read(&read(COMPOSE_FILE)?).context(COMPOSE_FILE)?;
    found += tell(COMPOSE_FILE, &compose::faults(&composed, &programs));
    let asked = scrape::read(&read(SCRAPE_FILE)?).context(SCRAPE_FILE)?;
    let rules = read(RULES_FILE)?;
    let mut faults = scrape::faults(&asked, &composed, &programs);
    faults.extend(scrape::faults_of_intervals(&asked, &rules));
    found += tell(SCRAPE_FILE, &faults);
    let asked = scrape::read(&read(CLUSTER_SCRAPE_FILE)?).context(CLUSTER_SCRAPE_FILE)?;
    found += tell(CLUSTER_SCRAPE_FILE, &scrape::faults_of_intervals(&asked, &rules));

    let kustomize = Kustomize::find()
        .context("no kubectl on PATH, and FIRSTCOME_KUSTOMIZE names no program")?;
    for (name, overlays) in DEPLOYMENTS {
        let manifests = render(root, &kustomize, overlays)?;
        let title = format!("{name}, {} objects", manifests.objects.len());
        found += tell(&title, &faults_of(&manifests, &programs));
    }
    Ok(found)
}

fn tell(title: &str, faults: &[String]) -> usize {
    println!("{title}: {}", if faults.is_empty() { "in order" } else { "not in order" });
    for fault in faults {
        println!("  {fault}");
    }
    faults.len()
}
