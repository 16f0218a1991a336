//! The nodes of a Redis Cluster that comes with a deployment: whoever starts one of them is told the
//! names of all, and so is whoever makes them a cluster. A node that is not named there is not
//! introduced when it comes back under another address.

use std::collections::BTreeSet;

use crate::manifests::{Manifests, list, text, title};

/// Starts the node that it is told first, and introduces it to the others.
const START: &str = "/scripts/start.sh";
/// Makes those that it is told a cluster.
pub const FORM: &str = "/scripts/form.sh";

/// What runs, by name, and its command.
pub type Command = (String, Vec<String>);

/// The commands of all pods.
pub fn commands(manifests: &Manifests) -> Vec<Command> {
    let mut commands = Vec::new();
    for object in ["StatefulSet", "Job"].into_iter().flat_map(|kind| manifests.of_kind(kind)) {
        for container in list(&object["spec"]["template"]["spec"]["containers"]) {
            let words = list(&container["command"]).iter().map(|word| text(word).to_owned());
            commands.push((title(object), words.collect()));
        }
    }
    commands
}

/// Faults of the nodes, where there are some.
pub fn faults(commands: &[Command]) -> Vec<String> {
    let Some(cluster) = commands.iter().find_map(|(_, words)| told(words, FORM)) else {
        return Vec::new();
    };
    let started = commands.iter().filter_map(|(name, words)| Some((name, told(words, START)?)));
    let strange = started.filter(|(_, names)| *names != cluster);
    strange.map(|(name, names)| format!("{name}: told of {names:?}, want {cluster:?}")).collect()
}

/// The names behind a script; what the cluster fills in is one of them.
fn told<'a>(words: &'a [String], script: &str) -> Option<BTreeSet<&'a str>> {
    let mut words = words.iter().map(String::as_str);
    words.find(|word| *word == script)?;
    Some(words.filter(|name| !name.starts_with("$(")).collect())
}
