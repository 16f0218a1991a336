//! The files, what is made of them, and how new ones take the place of old ones.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::{Duration, SystemTime},
};

use parking_lot::RwLock;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::Resumption,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem, pem::PemObject as _},
    server::WebPkiClientVerifier,
    version::TLS13,
};

/// How often the files are read again: soon enough for whoever replaces them to wait for it.
const RELOAD_INTERVAL: Duration = Duration::from_secs(2);
/// What both sides speak inside.
const ALPN_HTTP2: &[u8] = b"h2";

/// The current credentials of this process. Clones share them; the last one gone, nobody reads the
/// files any more.
#[derive(Clone, Debug)]
pub struct Credentials {
    current: Arc<RwLock<Material>>,
}

impl Credentials {
    /// Reads the files, and starts to watch them.
    pub fn open(files: Files) -> Result<Self, Fault> {
        let contents = files.read()?;
        let material = Material::of(&contents, SystemTime::now())?;
        let current = Arc::new(RwLock::new(material));
        // Polled, because whoever replaces files may do so in any way: Kubernetes moves a link
        // two folders above them.
        tokio::spawn(follow(files, contents, Arc::downgrade(&current)));
        Ok(Self { current })
    }

    /// For the next connection to be made.
    pub fn client(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.current.read().client)
    }

    /// For the next connection to be accepted.
    pub fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().server)
    }
}

/// Takes over what the files become, for as long as somebody uses it.
async fn follow(files: Files, mut known: Contents, current: Weak<RwLock<Material>>) {
    let mut last_fault = None;
    loop {
        tokio::time::sleep(RELOAD_INTERVAL).await;
        let Some(current) = current.upgrade() else { return };
        let reader = files.clone();
        let read = tokio::task::spawn_blocking(move || reader.read()).await;
        let Ok(read) = read else { return };
        let renewed = match read {
            Ok(contents) if contents == known => {
                last_fault = None;
                continue;
            }
            Ok(contents) => {
                Material::of(&contents, SystemTime::now()).map(|material| (contents, material))
            }
            Err(fault) => Err(fault),
        };
        match renewed {
            Ok((contents, material)) => {
                *current.write() = material;
                known = contents;
                last_fault = None;
                tracing::info!(certificate = %files.certificate.display(), "renew the certificate");
            }
            // Once for each fault: what is half written now is whole when it is read again.
            Err(fault) => {
                let fault = Some(fault.to_string());
                if fault != last_fault {
                    tracing::error!(fault, "keep the old certificate");
                }
                last_fault = fault;
            }
        }
    }
}

/// Where the three parts are.
#[derive(Clone, Debug)]
pub struct Files {
    /// A chain of certificates, PEM, one's own first.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// The authorities to believe, PEM.
    pub authority: PathBuf,
}

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// One or two of three.
    #[error("--tls-certificate, --tls-key and --tls-authority go together")]
    Incomplete,
    /// A file cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{} does not hold what it should: {source}", path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// The parts are not one another's, or out of date.
    #[error("certificate, key and authority do not fit: {0}")]
    Unfit(#[from] rustls::Error),
    /// There is no authority that could be believed.
    #[error("the authority is none: {0}")]
    Authority(#[from] rustls::server::VerifierBuilderError),
}

impl Files {
    /// Fails unless the parts can be read, belong together, and are good at this time.
    pub fn check(&self, at: SystemTime) -> Result<(), Fault> {
        Material::of(&self.read()?, at).map(drop)
    }

    fn read(&self) -> Result<Contents, Fault> {
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key)?);
        Ok(Contents {
            chain: certificates(&self.certificate)?,
            key: key.map_err(|source| Fault::Pem { path: self.key.clone(), source })?,
            authorities: certificates(&self.authority)?,
        })
    }
}

/// The certificates in a file, one at least.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let contents = read(path)?;
    let certificates = CertificateDer::pem_slice_iter(&contents).collect::<Result<Vec<_>, _>>();
    let certificates = match certificates {
        Ok(none) if none.is_empty() => Err(pem::Error::NoItemsFound),
        certificates => certificates,
    };
    certificates.map_err(|source| Fault::Pem { path: path.to_owned(), source })
}

fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    fs::read(path).map_err(|source| Fault::Read { path: path.to_owned(), source })
}

/// What the files hold.
#[derive(PartialEq, Eq)]
struct Contents {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    authorities: Vec<CertificateDer<'static>>,
}

/// What is made of them.
#[derive(Debug)]
struct Material {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl Material {
    fn of(contents: &Contents, at: SystemTime) -> Result<Self, Fault> {
        let provider = Arc::new(provider());
        let mut authorities = RootCertStore::empty();
        for authority in &contents.authorities {
            authorities.add(authority.clone())?;
        }
        let authorities = Arc::new(authorities);
        let callers = WebPkiClientVerifier::builder_with_provider(
            Arc::clone(&authorities),
            Arc::clone(&provider),
        );
        let callers = callers.build()?;
        // As a peer would: what would be refused by all others is a fault of ours.
        if let Some((own, chain)) = contents.chain.split_first() {
            let since_epoch = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            callers.verify_client_cert(own, chain, UnixTime::since_unix_epoch(since_epoch))?;
        }

        let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(authorities)
            .with_client_auth_cert(contents.chain.clone(), contents.key.clone_key())?;
        client.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
        // Connections last for days, and each new one proves both sides anew.
        client.resumption = Resumption::disabled();

        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(callers)
            .with_single_cert(contents.chain.clone(), contents.key.clone_key())?;
        server.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
        server.send_tls13_tickets = 0;
        Ok(Self { client: Arc::new(client), server: Arc::new(server) })
    }
}

/// AES-128 stands first: four rounds in ten cheaper than AES-256, and every byte of every call
/// passes through it twice.
fn provider() -> CryptoProvider {
    let cipher_suites = vec![
        ring::cipher_suite::TLS13_AES_128_GCM_SHA256,
        ring::cipher_suite::TLS13_AES_256_GCM_SHA384,
        ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    CryptoProvider { cipher_suites, ..ring::default_provider() }
}
