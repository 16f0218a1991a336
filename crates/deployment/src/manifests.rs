//! Rendered manifests: objects of a cluster, looked into by path.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value as Json;

/// Names the program that renders, when it is not `kubectl`.
const KUSTOMIZE_VARIABLE: &str = "FIRSTCOME_KUSTOMIZE";

/// What renders overlays: kubectl, which has kustomize inside, or kustomize itself.
pub struct Kustomize {
    program: PathBuf,
    command: &'static str,
}

impl Kustomize {
    /// The one that the environment names, else kubectl if PATH leads to it.
    pub fn find() -> Option<Self> {
        let named = env::var_os(KUSTOMIZE_VARIABLE).filter(|name| !name.is_empty());
        let program = named.map(PathBuf::from).or_else(|| {
            let path = env::var_os("PATH").unwrap_or_default();
            let candidates = env::split_paths(&path).map(|folder| folder.join("kubectl"));
            candidates.into_iter().find(|candidate| candidate.is_file())
        })?;
        let is_kubectl = program.file_name().is_some_and(|name| name == "kubectl");
        Some(Self { program, command: if is_kubectl { "kustomize" } else { "build" } })
    }

    /// An overlay as a cluster would get it.
    pub fn render(&self, overlay: &Path) -> Result<String> {
        let mut command = Command::new(&self.program);
        let output = command.arg(self.command).arg(overlay).output();
        let output = output.with_context(|| format!("run {}", self.program.display()))?;
        if !output.status.success() {
            bail!("{}: {}", overlay.display(), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// The objects of one deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifests {
    /// In the order in which they were rendered.
    pub objects: Vec<Json>,
    /// Of each object the overlay that brings it first, counted from 0.
    pub stages: Vec<usize>,
}

impl Manifests {
    /// Reads a stream of YAML documents for each overlay.
    pub fn read(overlays: &[String]) -> Result<Self> {
        let (mut objects, mut stages) = (Vec::new(), Vec::new());
        for (stage, text) in overlays.iter().enumerate() {
            for document in serde_yaml_ng::Deserializer::from_str(text) {
                let value: Json = serde::Deserialize::deserialize(document)?;
                // Overlays that are applied one after the other may share an object.
                if !value.is_null() && !objects.contains(&value) {
                    objects.push(value);
                    stages.push(stage);
                }
            }
        }
        ensure!(!objects.is_empty(), "there is no object");
        Ok(Self { objects, stages })
    }

    /// What is there after each stage, from the first one to all of it.
    pub fn by_stage(&self) -> impl Iterator<Item = Self> {
        let last = self.stages.iter().max().copied().unwrap_or_default();
        (0..=last).map(|until| {
            let all = self.objects.iter().zip(&self.stages);
            let there = all.filter(|(_, stage)| **stage <= until);
            let (objects, stages) = there.map(|(object, stage)| (object.clone(), *stage)).unzip();
            Self { objects, stages }
        })
    }

    /// The objects of a kind.
    pub fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Json> {
        self.objects.iter().filter(move |object| object["kind"] == kind)
    }

    /// One object.
    pub fn named<'a>(&'a self, kind: &'a str, name: &str) -> Option<&'a Json> {
        self.of_kind(kind).find(|object| object["metadata"]["name"] == name)
    }
}

/// How an object is called in a fault.
pub fn title(object: &Json) -> String {
    format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"]))
}

/// A string, or nothing.
pub fn text(value: &Json) -> &str {
    value.as_str().unwrap_or_default()
}

/// The elements of a list, or none.
pub fn list(value: &Json) -> &[Json] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Labels, or the labels of a selector.
pub fn labels(value: &Json) -> BTreeMap<&str, &str> {
    let pairs = value.as_object().into_iter().flatten();
    pairs.map(|(name, value)| (name.as_str(), text(value))).collect()
}

/// Whether a selector of labels means whoever bears these.
pub fn selects(selector: &Json, labelled: &BTreeMap<&str, &str>) -> bool {
    labels(selector).iter().all(|(name, value)| labelled.get(name) == Some(value))
}
