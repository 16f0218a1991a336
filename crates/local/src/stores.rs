//! The stores of one mesh: private ones, or somebody's own.

use std::path::Path;

use anyhow::{Result, bail};

use crate::{
    Checkout, Database, Postgres, RedisCluster, Role, database::Passwords, port, postgres,
    process::User, redis_cluster, secret::Secrets, tools::Programs,
};

/// Where the private stores of `up` listen.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// The first of six.
    pub redis_first: u16,
    /// Postgres.
    pub postgres: u16,
}

/// Addresses of stores that somebody else runs.
#[derive(Clone, Debug, Default)]
pub struct Own {
    /// Of a Postgres, with a login that may create roles and databases.
    pub database_url: Option<String>,
    /// Of a Redis Cluster.
    pub redis_url: Option<String>,
}

/// Running stores; dropping them kills the private ones.
#[derive(Debug)]
pub struct Stores {
    redis: Option<RedisCluster>,
    redis_url: String,
    postgres: Option<Postgres>,
    database: Database,
}

impl Stores {
    /// Starts what keeps its data in the checkout, three primaries with a replica each; continues
    /// with the data of last time.
    pub async fn start_kept(checkout: &Checkout, ports: Ports, own: Own) -> Result<Self> {
        let secrets = Secrets::open(&checkout.secrets())?;
        let own_both = own.database_url.is_some() && own.redis_url.is_some();
        let programs = if own_both { None } else { Some(Programs::find_or_install(checkout)?) };

        let start_redis = async {
            let (None, Some(programs)) = (&own.redis_url, &programs) else { return Ok(None) };
            let cluster = RedisCluster::start(redis_cluster::Options {
                programs: programs.redis.clone(),
                folder: checkout.data().join("redis"),
                logs: checkout.logs(),
                first_port: Some(ports.redis_first),
                replicas: true,
                debug_commands: false,
            });
            cluster.await.map(Some)
        };
        let start_postgres = async {
            let (None, Some(programs)) = (&own.database_url, &programs) else { return Ok(None) };
            port::ensure_free(ports.postgres, "postgres")?;
            let folder = match User::is_root() {
                true => checkout.data_of_root(),
                false => checkout.data().join("postgres"),
            };
            let server = Postgres::start(postgres::Options {
                programs: programs.postgres.clone(),
                folder,
                port: ports.postgres,
                log: checkout.logs().join("postgres.log"),
                kind: postgres::Kind::Kept(secrets.clone()),
            });
            server.await.map(Some)
        };
        let (redis, postgres) = tokio::try_join!(start_redis, start_postgres)?;
        let redis_url = redis.as_ref().map(RedisCluster::url).or(own.redis_url);
        let database = match (&postgres, own.database_url) {
            (Some(postgres), _) => postgres.database().clone(),
            (None, Some(url)) => Database::prepare(&url, Passwords::kept(&secrets)?).await?,
            (None, None) => bail!("postgres was neither started nor given"),
        };
        let redis_url = redis_url.expect("a cluster was started unless an address was given");
        Ok(Self { redis, redis_url, postgres, database })
    }

    /// Starts what keeps nothing, on free ports, in a folder that goes with this process.
    pub async fn start_throwaway(
        checkout: &Checkout,
        folder: &Path,
        replicas: bool,
    ) -> Result<Self> {
        let programs = Programs::find_or_install(checkout)?;
        let redis = RedisCluster::start(redis_cluster::Options {
            programs: programs.redis,
            folder: folder.join("redis"),
            logs: folder.join("logs"),
            first_port: None,
            replicas,
            debug_commands: true,
        });
        let postgres = Postgres::start(postgres::Options {
            programs: programs.postgres,
            folder: folder.join("postgres"),
            port: port::free_row(1)?[0],
            log: folder.join("logs/postgres.log"),
            kind: postgres::Kind::Throwaway,
        });
        let (redis, postgres) = tokio::try_join!(redis, postgres)?;
        let (redis_url, database) = (redis.url(), postgres.database().clone());
        Ok(Self { redis: Some(redis), redis_url, postgres: Some(postgres), database })
    }

    /// The private Redis Cluster, to break it.
    pub fn redis(&self) -> Option<&RedisCluster> {
        self.redis.as_ref()
    }

    /// The address of the Redis Cluster, in the form that the services read.
    pub fn redis_url(&self) -> &str {
        &self.redis_url
    }

    /// The private Postgres, to break it.
    pub fn postgres(&self) -> Option<&Postgres> {
        self.postgres.as_ref()
    }

    /// The database of the mesh.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Where a service's rows are.
    pub fn database_url(&self, role: Role) -> String {
        self.database.url(role)
    }

    /// Starts the private ones again that have ended by themselves; says which.
    pub async fn revive(&self) -> Result<Vec<String>> {
        let mut revived = match &self.redis {
            Some(redis) => redis.revive().await?,
            None => Vec::new(),
        };
        if let Some(postgres) = &self.postgres {
            if postgres.revive().await? {
                revived.push("postgres".to_owned());
            }
        }
        Ok(revived)
    }

    /// Stops the private ones in good order.
    pub async fn stop(&self) {
        let redis = async {
            if let Some(redis) = &self.redis {
                redis.stop().await
            }
        };
        let postgres = async {
            if let Some(postgres) = &self.postgres {
                postgres.stop().await
            }
        };
        tokio::join!(redis, postgres);
    }
}
