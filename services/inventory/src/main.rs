//! The life of the process: config, telemetry, build, bind, serve, drain.

use firstcome_inventory::{
    app::App,
    config::{Command, Config},
    measure,
    store::Store,
};
use firstcome_mesh::{Shutdown, config, server, telemetry};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config: Config = config::load();
    telemetry::init(&config.logs);
    match config.command {
        Command::Migrate { database_url } => Ok(Store::migrate(&database_url).await?),
        Command::MeasureGate(wanted) => measure::run(&wanted).await,
        Command::Serve(service) => {
            let listener = server::bind(service.serve.listen).await;
            let shutdown = Shutdown::on_signals()?;
            let app = App::build(&service, shutdown).await?;
            Ok(app.serve(listener, service.serve.drain_timeout).await?)
        }
    }
}
