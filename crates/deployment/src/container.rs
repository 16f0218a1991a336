//! One container as its program will see it: its command and its variables.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use firstcome_local::Service;
use serde_json::Value as Json;

use crate::{
    manifests::{Manifests, list, text, title},
    program::{Programs, Served, Value, of_image},
};

/// A container of ours.
pub struct Container<'a> {
    /// Whose program runs in it.
    pub service: Service,
    /// As it is rendered.
    pub json: &'a Json,
    args: Vec<String>,
    env: BTreeMap<String, Value>,
}

impl<'a> Container<'a> {
    /// Those of ours in an object that has a template of pods.
    pub fn all_of(object: &'a Json, manifests: &Manifests, faults: &mut Vec<String>) -> Vec<Self> {
        let mut ours = Vec::new();
        for json in list(&object["spec"]["template"]["spec"]["containers"]) {
            let Some(service) = of_image(text(&json["image"])) else { continue };
            if !json["command"].is_null() || !json["envFrom"].is_null() {
                let fault = "the image says what runs, and every variable is written out";
                faults.push(format!("{}: {fault}", title(object)));
            }
            let args = list(&json["args"]).iter().map(|arg| text(arg).to_owned()).collect();
            let mut env = BTreeMap::new();
            for variable in list(&json["env"]) {
                let value = value_of(variable, manifests).unwrap_or_else(|fault| {
                    faults.push(format!("{}: {fault}", title(object)));
                    Value::Kept
                });
                env.insert(text(&variable["name"]).to_owned(), value);
            }
            ours.push(Self { service, json, args, env });
        }
        ours
    }

    /// What the program says to it; where it serves, if that is what it does.
    pub fn read(&self, programs: &Programs) -> (Vec<String>, Option<Served>) {
        programs.read(self.service, &self.args, &self.env)
    }

    /// A variable whose value is written out.
    pub fn known(&self, name: &str) -> Option<&str> {
        match self.env.get(name) {
            Some(Value::Known(value)) => Some(value),
            _ => None,
        }
    }

    /// The services that it is told to call, and where.
    pub fn endpoints(&self) -> Vec<(Service, &str)> {
        endpoints(&self.env)
    }
}

/// The services that somebody is told to call, and where.
pub fn endpoints(env: &BTreeMap<String, Value>) -> Vec<(Service, &str)> {
    let mut endpoints = Vec::new();
    for service in Service::ALL {
        let short = service.name().trim_start_matches("firstcome-").to_uppercase();
        if let Some(Value::Known(url)) = env.get(&format!("FIRSTCOME_{short}_ENDPOINT")) {
            endpoints.push((service, url.as_str()));
        }
    }
    endpoints
}

/// What a variable will be. A secret or a config that is rendered too must have the key; one that
/// is not is somebody else's to make.
fn value_of(variable: &Json, manifests: &Manifests) -> Result<Value, String> {
    if let Some(value) = variable["value"].as_str() {
        return Ok(Value::Known(value.to_owned()));
    }
    let from = &variable["valueFrom"];
    let (kind, reference) = match () {
        () if from["secretKeyRef"].is_object() => ("Secret", &from["secretKeyRef"]),
        () if from["configMapKeyRef"].is_object() => ("ConfigMap", &from["configMapKeyRef"]),
        () => return Err(format!("{} has no value", text(&variable["name"]))),
    };
    let (name, key) = (text(&reference["name"]), text(&reference["key"]));
    match manifests.named(kind, name) {
        None => Ok(Value::Kept),
        Some(object) => {
            let value = object["data"][key].as_str();
            let value = value.ok_or_else(|| format!("{kind} {name} has no {key}"))?;
            let plain = if kind == "Secret" { decoded(value) } else { Some(value.to_owned()) };
            plain.map(Value::Known).ok_or_else(|| format!("{kind} {name}: {key} is not text"))
        }
    }
}

/// As a secret is written.
fn decoded(value: &str) -> Option<String> {
    let bytes = BASE64_STANDARD.decode(value.replace('\n', "")).ok()?;
    String::from_utf8(bytes).ok()
}
