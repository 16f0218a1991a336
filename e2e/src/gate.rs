//! The live stock from behind, for what no caller can do: set its clock, break it.

use anyhow::{Context as _, Result};
use fred::{
    clients::Client,
    interfaces::{ClientLike as _, HashesInterface as _, KeysInterface as _},
    types::config::Config,
};

use crate::{Sale, Shop};

/// The gate of one product.
pub struct Gate {
    client: Client,
    product: String,
}

impl Gate {
    /// Reaches for it.
    pub async fn of(shop: &Shop, sale: &Sale) -> Result<Self> {
        let config = Config::from_url(shop.mesh.stores().redis_url())?;
        let client = Client::new(config, None, None, None);
        client.init().await.context("reach the cluster")?;
        Ok(Self { client, product: sale.product.clone() })
    }

    fn key(&self, name: &str) -> String {
        format!("fc:{{{}}}:{name}", self.product)
    }

    /// Puts the gate's clock at an instant after its machine's: it never goes back.
    pub async fn set_clock(&self, ms: i64) -> Result<()> {
        let _: i64 = self.client.hset(self.key("stock"), ("last", ms)).await?;
        Ok(())
    }

    /// When it opens, milliseconds since 1970.
    pub async fn opens_ms(&self) -> Result<i64> {
        Ok(self.client.hget(self.key("stock"), "opens").await?)
    }

    /// Loses one of its keys: stock, taken, buyers or unconfirmed.
    pub async fn lose(&self, name: &str) -> Result<()> {
        let gone: i64 = self.client.del(self.key(name)).await?;
        anyhow::ensure!(gone == 1, "{name} was there");
        Ok(())
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let client = self.client.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { drop(client.quit().await) });
        }
    }
}
