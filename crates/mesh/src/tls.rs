//! What a process of the mesh proves itself by and trusts others by: a certificate that names it, its
//! key, and the authority that all of them share. The files may change at any time; new connections
//! use what is new, and no process is started again for it.

pub mod credentials;

use std::path::PathBuf;

pub use credentials::{Credentials, Fault, Files};

use crate::config::Validate;

/// Which files; all three, or none, and then the process neither encrypts nor checks who calls.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Tls {
    /// The certificate of this process, PEM, with its chain. It names the process, as in
    /// `order.firstcome.internal`, and serves both to call and to be called.
    #[arg(long, env = "FIRSTCOME_TLS_CERTIFICATE", value_name = "FILE")]
    pub tls_certificate: Option<PathBuf>,

    /// The certificate's private key, PEM.
    #[arg(long, env = "FIRSTCOME_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// The authorities whose certificates are believed, PEM.
    #[arg(long, env = "FIRSTCOME_TLS_AUTHORITY", value_name = "FILE")]
    pub tls_authority: Option<PathBuf>,
}

impl Tls {
    /// Reads the files, and keeps reading them. To be called once in the life of a process: it says
    /// so when there is nothing to prove oneself by.
    pub fn open(&self) -> Result<Option<Credentials>, Fault> {
        let Some(files) = self.files()? else {
            tracing::warn!("no certificate is configured: calls between services are in the clear");
            return Ok(None);
        };
        Credentials::open(files).map(Some)
    }

    /// The files, if any are configured.
    pub fn files(&self) -> Result<Option<Files>, Fault> {
        match (&self.tls_certificate, &self.tls_key, &self.tls_authority) {
            (None, None, None) => Ok(None),
            (Some(certificate), Some(key), Some(authority)) => Ok(Some(Files {
                certificate: certificate.clone(),
                key: key.clone(),
                authority: authority.clone(),
            })),
            _ => Err(Fault::Incomplete),
        }
    }
}

impl Validate for Tls {
    fn faults(&self) -> Vec<String> {
        let checked = match self.files() {
            Ok(Some(files)) => files.check(std::time::SystemTime::now()),
            Ok(None) => Ok(()),
            Err(fault) => Err(fault),
        };
        checked.err().map(|fault| fault.to_string()).into_iter().collect()
    }
}
