//! `cargo xtask check`: says everything that is wrong with `deploy/`; exits 1 when something is.

use std::{fs, process::ExitCode};

use anyhow::{Context as _, Result};
use firstcome_deployment::{
    COMPOSE_FILE, DEPLOYMENTS, SCRAPE_FILE,
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

    let text = fs::read_to_string(root.join(COMPOSE_FILE)).context(COMPOSE_FILE)?;
    let composed = Compose::read(&text).context(COMPOSE_FILE)?;
    found += tell(COMPOSE_FILE, &compose::faults(&composed, &programs));
    let text = fs::read_to_string(root.join(SCRAPE_FILE)).context(SCRAPE_FILE)?;
    let asked = scrape::read(&text).context(SCRAPE_FILE)?;
    found += tell(SCRAPE_FILE, &scrape::faults(&asked, &composed, &programs));

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
