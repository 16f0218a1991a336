//! Objects against the schemas of Kubernetes and of the custom kinds that we use, strictly: what
//! is not in the schema is a fault, and so is an object without one.

use std::{collections::HashMap, sync::LazyLock};

use jsonschema::Validator;
use serde_json::{Value as Json, json};

use crate::manifests::{Manifests, list, text, title};

/// One validator for each kind that we use, by version and kind; deploy/schemas/README.md says where
/// they are from.
static VALIDATORS: LazyLock<HashMap<String, Validator>> = LazyLock::new(|| {
    let vendored = include_str!("../../../deploy/schemas/kubernetes.json");
    let schemas: Json = serde_json::from_str(vendored).expect("a vendored schema is JSON");
    let kinds = schemas["kinds"].as_object().into_iter().flatten();
    kinds.map(|(kind, name)| (kind.clone(), validator(text(name), &schemas["$defs"]))).collect()
});

/// Faults of all objects.
pub fn faults(manifests: &Manifests) -> Vec<String> {
    let mut faults = Vec::new();
    for object in &manifests.objects {
        let kind = format!("{} {}", text(&object["apiVersion"]), text(&object["kind"]));
        match VALIDATORS.get(&kind) {
            Some(validator) => {
                faults.extend(errors(validator, object).map(|e| format!("{}: {e}", title(object))));
            }
            None => faults.push(format!("{}: {kind} has no schema here", title(object))),
        }
        faults.extend(twice(object));
    }
    faults
}

/// What a validator says of a value.
pub fn errors<'a>(
    validator: &'a Validator,
    value: &'a Json,
) -> impl Iterator<Item = String> + use<'a> {
    validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path()))
}

fn validator(name: &str, definitions: &Json) -> Validator {
    // A pointer, in which a slash is written so.
    let reference = format!("#/$defs/{}", name.replace('/', "~1").replace(' ', "%20"));
    let schema = json!({ "$ref": reference, "$defs": definitions });
    jsonschema::validator_for(&schema).expect("a vendored schema is one")
}

/// A variable that is set twice in one container: the second one counts, and nobody sees it.
fn twice(object: &Json) -> Vec<String> {
    let containers = list(&object["spec"]["template"]["spec"]["containers"]);
    let mut faults = Vec::new();
    for container in containers {
        let mut names: Vec<&str> =
            list(&container["env"]).iter().map(|variable| text(&variable["name"])).collect();
        names.sort_unstable();
        for pair in names.windows(2).filter(|pair| pair[0] == pair[1]) {
            faults.push(format!("{}: {} is set twice", title(object), pair[0]));
        }
    }
    faults
}
