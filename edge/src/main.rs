//! The life of the edge: config, telemetry, build, bind, serve, drain.

use std::process::ExitCode;

use firstcome_edge::{
    App,
    config::{self, Command},
};
use firstcome_mesh::{Shutdown, server, telemetry};

#[tokio::main]
async fn main() -> ExitCode {
    let config::CommandLine { logs, command: Command::Serve(config) } =
        firstcome_mesh::config::load();
    telemetry::init(&logs);
    match run(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            tracing::error!(fault = format!("{fault:#}"), "stop");
            ExitCode::FAILURE
        }
    }
}

async fn run(config: config::Config) -> anyhow::Result<()> {
    let shutdown = Shutdown::on_signals()?;
    let serve = config.serve.clone();
    let app = App::build(config, &shutdown)?;
    let listener = server::bind(serve.listen).await;
    app.serve(listener, shutdown, serve.drain_timeout).await
}
