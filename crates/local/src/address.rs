//! Where a running mesh is: all that a program needs to call its services, look into its stores
//! and run one of its commands. It carries passwords: write it where only its owner can read.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::Result;
use firstcome_mesh::upstream;
use firstcome_proto::access::Peer;
use serde::{Deserialize, Serialize};
use tonic::transport::Channel;

use crate::{Certificates, Role, Service, certificates, process::Launch, secret::Secrets};

/// On one's own machine nobody waits long for a goodbye.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Whoever watches over a replica's health hears at once that it leaves, and goes elsewhere.
const DRAIN_WAIT: Duration = Duration::from_secs(1);

/// What the sandbox of a private mesh signs its webhooks with. No secret to anybody who has this
/// source, and it need not be: an event only makes payment look into the sandbox's own ledger.
const SANDBOX_WEBHOOK_SECRET: &str = "whsec_of_a_private_mesh";

/// The places of one mesh.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Address {
    /// The folder with the five programs.
    pub programs: PathBuf,
    /// One log for each process.
    pub logs: PathBuf,
    /// Where mails land.
    pub mail: PathBuf,
    /// The folder of [`Certificates`].
    pub certificates: PathBuf,
    /// What personal data is sealed with.
    pub sealing: Sealing,
    /// Where each replica of each service listens, as in `http://127.0.0.1:8080`.
    pub endpoints: BTreeMap<Service, Vec<String>>,
    /// The Redis Cluster, in the form that the services read.
    pub redis_url: String,
    /// Where each role logs in.
    pub database_urls: BTreeMap<Role, String>,
    /// More environment, for one service or, without one, for all.
    pub env: Vec<(Option<Service>, String, String)>,
}

/// The keys of whoever keeps personal data.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sealing {
    user_data_keys: String,
    user_index_key: String,
    order_data_keys: String,
}

impl Sealing {
    /// Made on first use, the same ever after.
    pub fn kept(secrets: &Secrets) -> Result<Self> {
        let ring = |name| Ok::<_, anyhow::Error>(format!("1:{}", secrets.get(name)?));
        Ok(Self {
            user_data_keys: ring("user-data-key")?,
            user_index_key: secrets.get("user-index-key")?,
            order_data_keys: ring("order-data-key")?,
        })
    }
}

impl Address {
    /// Where a service listens, as in `http://127.0.0.1:8080`: its first replica, which is the only
    /// one unless more are wanted.
    pub fn endpoint(&self, service: Service) -> &str {
        self.endpoints_of(service).first().expect("a service has a replica")
    }

    /// Where each replica of a service listens.
    pub fn endpoints_of(&self, service: Service) -> &[String] {
        &self.endpoints[&service]
    }

    /// The same mesh as one that has, and knows, the first replica of each service only.
    pub fn of_first_replicas(&self) -> Self {
        let mut address = self.clone();
        address.endpoints.values_mut().for_each(|endpoints| endpoints.truncate(1));
        address
    }

    /// Where a role's rows are.
    pub fn database_url(&self, role: Role) -> &str {
        &self.database_urls[&role]
    }

    /// What each peer proves itself by.
    pub fn certificates(&self) -> Certificates {
        Certificates::at(&self.certificates)
    }

    /// A channel to a service as this peer. The edge's port is the public one, and in the clear.
    pub fn channel(&self, service: Service, caller: Peer) -> Result<Channel> {
        self.channel_at(service, self.endpoint(service), caller)
    }

    /// A channel to the replica of a service that listens there.
    pub fn channel_at(&self, service: Service, endpoint: &str, caller: Peer) -> Result<Channel> {
        if service == Service::Edge {
            return Ok(upstream::channel(endpoint)?);
        }
        let credentials = self.certificates().credentials(caller)?;
        Ok(upstream::connection_to(service.peer(), endpoint, Some(&credentials))?)
    }

    /// Runs one of a service's commands, as in `create-admin`, to its end.
    pub async fn run(&self, service: Service, args: &[&str], deadline: Duration) -> Result<()> {
        let (command, args) = args.split_first().expect("a command has a name");
        self.launch(service, command).args(args).run(deadline).await
    }

    /// A service's program with its environment.
    pub fn launch(&self, service: Service, command: &str) -> Launch {
        let log = self.logs.join(format!("{service}.log"));
        Launch::new(service.name(), self.program(service), log)
            .args([command])
            .env(self.env_of(service))
    }

    /// A service's program.
    pub fn program(&self, service: Service) -> PathBuf {
        self.programs.join(service.name())
    }

    /// What it needs in its environment.
    pub fn env_of(&self, service: Service) -> Vec<(String, String)> {
        let endpoints = |service| self.endpoints_of(service).join(",");
        // The callers of the only one could not go elsewhere.
        let is_alone = self.endpoints_of(service).len() == 1;
        let drain_wait = if is_alone { Duration::ZERO } else { DRAIN_WAIT };
        let mut env = vec![
            listen(self.endpoint(service)),
            ("FIRSTCOME_REDIS_URL", self.redis_url.clone()),
            ("FIRSTCOME_USER_ENDPOINT", endpoints(Service::User)),
            ("FIRSTCOME_INVENTORY_ENDPOINT", endpoints(Service::Inventory)),
            ("FIRSTCOME_ORDER_ENDPOINT", endpoints(Service::Order)),
            ("FIRSTCOME_PAYMENT_ENDPOINT", endpoints(Service::Payment)),
            ("FIRSTCOME_DRAIN_TIMEOUT", format!("{}ms", DRAIN_TIMEOUT.as_millis())),
            ("FIRSTCOME_DRAIN_WAIT", format!("{}ms", drain_wait.as_millis())),
            ("FIRSTCOME_DEVELOPMENT", "true".to_owned()),
            ("TOKIO_WORKER_THREADS", worker_threads().to_string()),
        ];
        env.extend(certificates::env(&self.certificates().files(service.peer())));
        if let Some(role) = service.role() {
            env.push(("FIRSTCOME_DATABASE_URL", self.database_url(role).to_owned()));
        }
        match service {
            Service::User => {
                env.push(("FIRSTCOME_MAIL_DIR", self.mail.display().to_string()));
                env.push(("FIRSTCOME_DATA_KEYS", self.sealing.user_data_keys.clone()));
                env.push(("FIRSTCOME_INDEX_KEY", self.sealing.user_index_key.clone()));
                // A password's hash takes 19 MiB for 20 ms, which the allocator would keep.
                env.push(("MIMALLOC_PURGE_DELAY", "0".to_owned()));
            }
            Service::Payment => {
                let sandbox = self.database_url(Role::Sandbox).to_owned();
                env.push(("FIRSTCOME_SANDBOX_DATABASE_URL", sandbox));
                // The sandbox's webhooks come in as a provider's would: through the public port.
                let webhooks = format!("{}/webhooks/sandbox", self.endpoint(Service::Edge));
                env.push(("FIRSTCOME_SANDBOX_WEBHOOK_URL", webhooks));
                let secret = SANDBOX_WEBHOOK_SECRET.to_owned();
                env.push(("FIRSTCOME_SANDBOX_WEBHOOK_SECRET", secret));
            }
            // A rush gives each buyer an address of its own.
            Service::Edge => env.push(("FIRSTCOME_TRUSTED_PROXIES", "127.0.0.1/32".to_owned())),
            Service::Order => {
                env.push(("FIRSTCOME_DATA_KEYS", self.sealing.order_data_keys.clone()));
            }
            Service::Inventory => {}
        }
        let env = env.into_iter().map(|(name, value)| (name.to_owned(), value));
        let more = self.env.iter().filter(|(of, _, _)| of.is_none_or(|of| of == service));
        env.chain(more.map(|(_, name, value)| (name.clone(), value.clone()))).collect()
    }
}

/// Where a process listens, as it is told.
pub(crate) fn listen(endpoint: &str) -> (&'static str, String) {
    ("FIRSTCOME_LISTEN", endpoint.replace("http://", ""))
}

/// Threads of each process for its tasks. Five services, their stores and whoever loads them share
/// this machine's cores: more threads would only wake each other up, which costs more than most of
/// what they do.
pub fn worker_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))
}
