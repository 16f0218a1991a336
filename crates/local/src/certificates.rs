//! The certificates of one mesh on this machine: an authority of its own, which nobody else
//! believes, and one certificate for each process and for whoever looks after them.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result};
use firstcome_mesh::tls::{Credentials, Files};
use firstcome_proto::access::Peer;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::{checkout, secret};

/// How the authority calls itself.
const AUTHORITY: &str = "firstcome on this machine";
/// An authority lasts as long as its folder.
const AUTHORITY_TTL: Duration = Duration::from_secs(3650 * DAY_SECONDS);
const CERTIFICATE_TTL: Duration = Duration::from_secs(90 * DAY_SECONDS);
/// What has less left at a start is renewed: no mesh runs for longer between two starts.
const CERTIFICATE_LEFT_MIN: Duration = Duration::from_secs(30 * DAY_SECONDS);
const DAY_SECONDS: u64 = 24 * 60 * 60;

/// A folder of certificates and keys, readable by their owner only.
#[derive(Clone, Debug)]
pub struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    /// Those in this folder; what is missing, near its end or of another authority is made.
    pub fn prepare(folder: &Path) -> Result<Self> {
        checkout::create_private_folder(folder)
            .with_context(|| format!("create {}", folder.display()))?;
        let certificates = Self { folder: folder.to_owned() };
        let authority = certificates.authority()?;
        let late = SystemTime::now() + CERTIFICATE_LEFT_MIN;
        for peer in Peer::ALL {
            let files = certificates.files(peer);
            if files.check(late).is_err() {
                issue(&authority, peer, &files).with_context(|| format!("certify {peer:?}"))?;
            }
        }
        Ok(certificates)
    }

    /// Those that an earlier start left in this folder.
    pub fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Where one peer's are.
    pub fn files(&self, peer: Peer) -> Files {
        Files {
            certificate: self.folder.join(format!("{}.pem", peer.name())),
            key: self.folder.join(format!("{}.key", peer.name())),
            authority: self.folder.join("authority.pem"),
        }
    }

    /// One peer's, to call others as it does.
    pub fn credentials(&self, peer: Peer) -> Result<Credentials> {
        let credentials = Credentials::open(self.files(peer));
        credentials.with_context(|| format!("the certificate of {}", peer.name()))
    }

    /// The authority that is there, or a new one, whom no earlier certificate will fit.
    fn authority(&self) -> Result<Issuer<'static, KeyPair>> {
        let (certificate, key) =
            (self.folder.join("authority.pem"), self.folder.join("authority.key"));
        let kept = certificate.exists().then(|| fs::read_to_string(&key).ok()).flatten();
        if let Some(pem) = kept {
            let key = KeyPair::from_pem(&pem).context("read the authority's key")?;
            return Ok(Issuer::new(authority_params(), key));
        }
        let pair = KeyPair::generate()?;
        let params = authority_params();
        // The key first: where there is a certificate, its key is there and fits.
        if certificate.exists() {
            fs::remove_file(&certificate)?;
        }
        secret::write_private(&key, &pair.serialize_pem())?;
        secret::write_private(&certificate, &params.self_signed(&pair)?.pem())?;
        Ok(Issuer::new(params, pair))
    }
}

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, AUTHORITY);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    last(&mut params, AUTHORITY_TTL);
    params
}

fn issue(authority: &Issuer<'_, KeyPair>, peer: Peer, files: &Files) -> Result<()> {
    let pair = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![peer.name().to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, peer.name());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    last(&mut params, CERTIFICATE_TTL);
    let certificate = params.signed_by(&pair, authority)?;
    secret::write_private(&files.key, &pair.serialize_pem())?;
    secret::write_private(&files.certificate, &certificate.pem())
}

/// From a day ago, because a virtual machine's clock may be set back.
fn last(params: &mut CertificateParams, span: Duration) {
    let now = SystemTime::now();
    params.not_before = (now - Duration::from_secs(DAY_SECONDS)).into();
    params.not_after = (now + span).into();
}

/// The variables that a service reads, as in [`firstcome_mesh::Tls`].
pub fn env(files: &Files) -> [(&'static str, String); 3] {
    [
        ("FIRSTCOME_TLS_CERTIFICATE", files.certificate.display().to_string()),
        ("FIRSTCOME_TLS_KEY", files.key.display().to_string()),
        ("FIRSTCOME_TLS_AUTHORITY", files.authority.display().to_string()),
    ]
}
