//! The life of the edge: config, telemetry, build, bind, serve, drain.

use std::process::ExitCode;

use anyhow::Context as _;
use firstcome_edge::{
    App, app,
    config::{self, Command},
};
use firstcome_mesh::{Shutdown, server::Listeners, telemetry};

#[tokio::main]
async fn main() -> ExitCode {
    let config::CommandLine { logs, command } = firstcome_mesh::config::load();
    telemetry::init(&logs);
    let ran = match command {
        Command::Serve(config) => run(*config).await,
        Command::Healthy(healthy) => healthy.ask(app::NAME).await.context("ask"),
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            tracing::error!(fault = format!("{fault:#}"), "stop");
            ExitCode::FAILURE
        }
    }
}

async fn run(config: config::Config) -> anyhow::Result<()> {
    let serve = config.serve.clone();
    let _traces = telemetry::export(&serve.traces, app::NAME)?;
    let shutdown = Shutdown::on_signals(serve.drain_wait)?;
    let app = App::build(config, &shutdown)?;
    let listeners = Listeners::bind(&serve).await;
    app.serve(listeners, shutdown, serve.drain_timeout).await
}
