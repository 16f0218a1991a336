//! What is done to the processes of a mesh, one after the other.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use firstcome_local::{Address, Mesh, Replica, Service, mesh};
use tokio::time::{Instant, sleep};

use crate::journal::Journal;

/// Whoever gives up as often while it starts will not start at all.
const STARTS_MAX: u32 = 3;

/// One step, on one process.
#[derive(Clone, Debug)]
pub struct Step {
    /// Whose process.
    pub service: Service,
    /// Which of them, from 1.
    pub replica: u16,
    /// What happens to it.
    pub kind: Kind,
    /// The folder with the programs of its next life; its last ones unless given.
    pub programs: Option<PathBuf>,
}

/// What happens to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It is told to end, ends well, and is started anew.
    Restart,
    /// It did not run yet.
    Start,
}

/// What became of a step.
#[derive(Clone, Debug)]
pub struct Restart {
    /// What was done.
    pub step: Step,
    /// When it began, in milliseconds since the journal's start.
    pub begun_ms: u64,
    /// How long it took to end, its calls answered.
    pub drained: Duration,
    /// How long it did not serve: from when it was told to end until it was ready again.
    pub down: Duration,
    /// How often it was started until it was ready; more than once where it gave up in between.
    pub starts: u32,
}

/// Every process once; whoever calls another comes after it.
pub fn all() -> Vec<Step> {
    each(None)
}

/// Every process once, to these programs.
pub fn to(programs: &Path) -> Vec<Step> {
    each(Some(programs.to_owned()))
}

fn each(programs: Option<PathBuf>) -> Vec<Step> {
    let step = |service, replica| {
        let programs = programs.clone();
        Step { service, replica, kind: Kind::Restart, programs }
    };
    Service::ALL
        .into_iter()
        .flat_map(|service| [1, 2].map(|replica| step(service, replica)))
        .collect()
}

/// One process of each service, by turns the first and the second.
pub fn one_of_each() -> Vec<Step> {
    let turns = Service::ALL.into_iter().zip([1, 2].into_iter().cycle());
    let step = |(service, replica)| Step { service, replica, kind: Kind::Restart, programs: None };
    turns.map(step).collect()
}

/// To these programs from ones that know a single process of each service: a second of each is
/// started beside the first, and then the first ones are replaced from the edge inwards, so that
/// whoever knows one process only never loses it.
pub fn beside(programs: &Path) -> Vec<Step> {
    let step = |kind, service, replica| {
        let programs = Some(programs.to_owned());
        Step { service, replica, kind, programs }
    };
    let starts = Service::ALL.into_iter().map(|service| step(Kind::Start, service, 2));
    let restarts = Service::ALL.into_iter().rev().map(|service| step(Kind::Restart, service, 1));
    starts.chain(restarts).collect()
}

/// Takes all of them, with a pause after each. The schemas are brought up to date first when there
/// are other programs to come.
pub async fn take_all(
    mesh: &Mesh,
    steps: &[Step],
    pause: Duration,
    journal: &Journal,
) -> Result<Vec<Restart>> {
    if let Some(programs) = steps.iter().find_map(|step| step.programs.clone()) {
        eprintln!("  migrate to {}", programs.display());
        mesh::migrate(&Address { programs, ..mesh.address().clone() }).await?;
    }
    let mut restarts = Vec::new();
    for step in steps {
        let restart = take(mesh, step, journal).await;
        let name = || format!("{} {}", step.service, step.replica);
        restarts.push(restart.with_context(name)?);
        eprintln!("  {} {} is ready", step.service, step.replica);
        sleep(pause).await;
    }
    Ok(restarts)
}

async fn take(mesh: &Mesh, step: &Step, journal: &Journal) -> Result<Restart> {
    let replica = mesh.replica(step.service, step.replica)?;
    let before = replica.pid().await.ok();
    let begun = Instant::now();
    if step.kind == Kind::Restart {
        ensure!(before.is_some(), "it does not run");
        replica.drain().await?;
    }
    let drained = begun.elapsed();
    if let Some(programs) = &step.programs {
        replica.renew(&Address { programs: programs.clone(), ..mesh.address().clone() });
    }
    let starts = serve(replica).await?;
    let after = replica.pid().await?;
    ensure!(before != Some(after), "the same process goes on");
    let begun_ms = journal.ms(begun);
    let down = begun.elapsed();
    Ok(Restart { step: step.clone(), begun_ms, drained, down, starts })
}

/// Starts a process until it is ready. One that gives up while it starts, as a service does that
/// cannot reach its stores, is started again, as a cluster would; how often it was started.
async fn serve(replica: &Replica) -> Result<u32> {
    for starts in 1..STARTS_MAX {
        match replica.serve().await {
            Ok(()) => return Ok(starts),
            Err(error) if !replica.runner().has_ended().await => return Err(error),
            Err(error) => eprintln!("  {} is started again: {error}", replica.name()),
        }
        replica.runner().kill9().await;
    }
    replica.serve().await?;
    Ok(STARTS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(steps: &[Step]) -> Vec<(&'static str, u16)> {
        steps.iter().map(|step| (step.service.name(), step.replica)).collect()
    }

    #[test]
    fn every_process_is_restarted_once_and_callers_last() {
        let names = names(&all());
        assert_eq!(names.len(), 10);
        assert_eq!(names[..2], [("firstcome-user", 1), ("firstcome-user", 2)]);
        assert_eq!(names[8..], [("firstcome-edge", 1), ("firstcome-edge", 2)]);
    }

    #[test]
    fn one_of_each_is_the_first_and_the_second_by_turns() {
        let replicas: Vec<_> = one_of_each().iter().map(|step| step.replica).collect();
        assert_eq!(replicas, [1, 2, 1, 2, 1]);
    }

    #[test]
    fn who_knows_one_process_only_is_replaced_before_it_loses_that() {
        let steps = beside(Path::new("/new"));
        let (starts, restarts) = steps.split_at(5);
        assert!(starts.iter().all(|step| step.kind == Kind::Start && step.replica == 2));
        assert_eq!(names(restarts)[0], ("firstcome-edge", 1));
        assert_eq!(names(restarts)[1], ("firstcome-order", 1));
    }
}
