//! Copies to break.

use std::{fs, sync::OnceLock};

use firstcome_deployment::{
    COMPOSE_FILE, DEPLOYMENTS,
    compose::Compose,
    faults_of,
    manifests::{Kustomize, Manifests},
    program::Programs,
    render,
};
use firstcome_local::Checkout;
use serde_json::Value as Json;

/// The programs, with certificates to show them.
pub fn programs() -> &'static Programs {
    static PROGRAMS: OnceLock<Programs> = OnceLock::new();
    PROGRAMS.get_or_init(|| Programs::prepare().unwrap())
}

/// One of the deployments as it is rendered; `None` where nothing renders.
pub fn rendered(name: &str) -> Option<Manifests> {
    static RENDERED: OnceLock<Option<Vec<Manifests>>> = OnceLock::new();
    let all = RENDERED.get_or_init(|| {
        let Some(kustomize) = Kustomize::find() else {
            eprintln!("skipped: no kubectl and no kustomize to render with");
            return None;
        };
        let checkout = Checkout::here();
        let rendered = DEPLOYMENTS
            .iter()
            .map(|(_, overlays)| render(checkout.root(), &kustomize, overlays).unwrap());
        Some(rendered.collect())
    });
    let place = DEPLOYMENTS.iter().position(|(known, _)| *known == name).unwrap();
    Some(all.as_ref()?[place].clone())
}

/// What is wrong with it.
pub fn faults(manifests: &Manifests) -> Vec<String> {
    faults_of(manifests, programs())
}

/// The compose file.
pub fn composed() -> Compose {
    let path = Checkout::here().root().join(COMPOSE_FILE);
    Compose::read(&fs::read_to_string(path).unwrap()).unwrap()
}

/// One object of a copy, to be changed.
pub fn object<'a>(manifests: &'a mut Manifests, kind: &str, name: &str) -> &'a mut Json {
    let mut objects = manifests.objects.iter_mut();
    let wanted = |object: &&mut Json| object["kind"] == kind && object["metadata"]["name"] == name;
    objects.find(wanted).unwrap_or_else(|| panic!("there is a {kind} {name}"))
}

/// The only container of an object.
pub fn container(object: &mut Json) -> &mut Json {
    &mut object["spec"]["template"]["spec"]["containers"][0]
}

/// The list of a container's variables.
pub fn env(container: &mut Json) -> &mut Vec<Json> {
    container["env"].as_array_mut().unwrap()
}

/// Exactly one thing is wrong, and it is called so.
#[track_caller]
pub fn assert_found(faults: &[String], parts: &[&str]) {
    let found = faults.iter().any(|fault| parts.iter().all(|part| fault.contains(part)));
    assert!(found, "want a fault with {parts:?}, have {faults:#?}");
}
