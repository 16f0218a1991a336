//! The life of the process: config, telemetry, build, bind, serve, drain.

use firstcome_inventory::{
    app::{self, App},
    config::{Command, Config},
    measure,
    store::Store,
};
use firstcome_mesh::{Shutdown, config, server::Listeners, telemetry};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config: Config = config::load();
    telemetry::init(&config.logs);
    match config.command {
        Command::Migrate { database_url } => Ok(Store::migrate(&database_url).await?),
        Command::MeasureGate(wanted) => measure::run(&wanted).await,
        Command::Healthy(healthy) => Ok(healthy.ask(app::NAME).await?),
        Command::Serve(service) => {
            let _traces = telemetry::export(&service.serve.traces, app::NAME)?;
            let listeners = Listeners::bind(&service.serve).await;
            let shutdown = Shutdown::on_signals(service.serve.drain_wait)?;
            let app = App::build(&service, shutdown).await?;
            Ok(app.serve(listeners, service.serve.drain_timeout).await?)
        }
    }
}
