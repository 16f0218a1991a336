//! The life of the payment process.

use anyhow::Context as _;
use firstcome_mesh::{Shutdown, config, server::Listeners, telemetry};
use firstcome_payment::{
    app::{self, App},
    config::{Command, Config},
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config: Config = config::load();
    telemetry::init(&config.logs);
    match config.command {
        Command::Migrate(databases) => app::migrate(&databases).await.context("migrate"),
        Command::Healthy(healthy) => healthy.ask(app::NAME).await.context("ask"),
        Command::Serve(serve) => {
            let _traces = telemetry::export(&serve.mesh.traces, app::NAME)?;
            let listeners = Listeners::bind(&serve.mesh).await;
            let app = App::build(&serve).await.context("start")?;
            let shutdown = Shutdown::on_signals(serve.mesh.drain_wait)?;
            app.serve(listeners, shutdown, serve.mesh.drain_timeout).await.context("serve")
        }
    }
}
