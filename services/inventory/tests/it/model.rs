//! Random sequences of everything that can happen to one product, on real stores and two
//! replicas, against a plain model that predicts every answer and every row.
//!
//! The replicas are driven by hand on one thread: a batch is one call of the gate and one
//! transaction, so the model need not guess. A failure is shrunk, and its seed kept beside this
//! file. `PROPTEST_CASES` sets how many sequences are tried.

mod real;
mod step;
mod world;

use proptest::{
    prelude::*,
    test_runner::{Config, FileFailurePersistence, TestRunner},
};

use self::{
    real::Real,
    step::Step,
    world::{LIMITS, World},
};

/// Sequences tried in every run: half a minute, most of it waiting for dead loaders.
const CASES: u32 = 32;
/// Shrinking stops after this long; what is left is small enough to read.
const SHRINK_MS_MAX: u32 = 120_000;

#[test]
fn whatever_happens_the_stores_do_as_the_model_says() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let real = runtime.block_on(Real::start());
    let mut config = Config::default();
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = CASES;
    }
    config.max_shrink_time = SHRINK_MS_MAX;
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/model.seeds");
    config.failure_persistence = Some(Box::new(FileFailurePersistence::Direct(seeds)));

    let cases = (0..LIMITS.len(), prop::collection::vec(step::any(), 20..60));
    let ran = TestRunner::new(config).run(&cases, |(limit, steps)| {
        runtime.block_on(play(&real, limit, steps));
        Ok(())
    });
    if let Err(failure) = ran {
        panic!("{failure}");
    }
}

/// Plays one sequence in the model and in the stores, and compares them after each step.
async fn play(real: &Real, limit: usize, steps: Vec<Step>) {
    let mut world = World::new(limit);
    let scene = real.scene(&world).await;
    for (number, step) in steps.into_iter().enumerate() {
        let what = format!("step {number}, {step:?}");
        scene.take(&mut world, step, &what).await;
        scene.compare(&world, &what).await;
    }
    scene.wind_up(&mut world).await;
}
