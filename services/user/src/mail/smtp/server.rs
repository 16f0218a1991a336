//! Which mail server, and how we are sure that it is this one.

use std::{net::IpAddr, path::Path, time::Duration};

use lettre::transport::smtp::{
    self,
    authentication::{Credentials, Mechanism},
    client::{AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters},
    extension::ClientId,
};
use url::Url;

/// For smtps://, from the first byte in TLS.
const PORT_TLS: u16 = 465;
/// For smtp://, as mail is handed in.
const PORT_SUBMISSION: u16 = 587;
/// Ways to log in that mail servers have in common; both are in TLS.
const MECHANISMS: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];

/// A mail server.
pub struct Server {
    host: String,
    port: u16,
    tls: Tls,
    login: Option<Credentials>,
    hello: ClientId,
}

/// When the conversation goes over to TLS.
enum Tls {
    /// Never: what is said stays on this machine, or the operator answers for the way.
    Never,
    /// After a first word, and else there is no conversation.
    Asked(TlsParameters),
    /// From the first byte.
    FromStart(TlsParameters),
}

impl Server {
    /// As in `smtps://user:password@host:465` and `smtp://host:587?tls=required`. The certificate
    /// must be one that the public's authorities vouch for, or the ones in the file, if there is
    /// one. A path is the name to greet with, as in `smtps://host/shop.example`.
    ///
    /// # Errors
    /// What is wrong with the address or the file, for a list of faults.
    pub fn read(url: &str, authority: Option<&Path>) -> Result<Self, String> {
        let wants = "wants an address as in smtps://user:password@host:465";
        let url = Url::parse(url).map_err(|_| format!("--smtp-url {wants}"))?;
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| format!("--smtp-url {wants}"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let is_here = host == "localhost"
            || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        let mut asked = None;
        for (name, value) in url.query_pairs() {
            match (&*name, &*value) {
                ("tls", "required" | "none") => asked = Some(value.into_owned()),
                _ => return Err("--smtp-url takes tls=required or tls=none, no more".to_owned()),
            }
        }
        let tls = match (url.scheme(), asked.as_deref()) {
            ("smtps", None | Some("required")) => Tls::FromStart(parameters(&host, authority)?),
            ("smtp", Some("required")) => Tls::Asked(parameters(&host, authority)?),
            ("smtp", Some("none")) => Tls::Never,
            ("smtp", None) if is_here => Tls::Never,
            ("smtp", None) => {
                return Err("--smtp-url: smtp:// to another machine wants ?tls=required (or \
                     tls=none, where nobody can listen)"
                    .to_owned());
            }
            _ => return Err(format!("--smtp-url {wants}")),
        };
        if authority.is_some() && matches!(tls, Tls::Never) {
            return Err("--smtp-authority vouches for nobody: --smtp-url is without TLS".to_owned());
        }
        let login = login(&url)?;
        if login.is_some() && matches!(tls, Tls::Never) && !is_here {
            return Err("--smtp-url: a password goes to another machine in TLS only".to_owned());
        }
        let port = if matches!(tls, Tls::FromStart(_)) { PORT_TLS } else { PORT_SUBMISSION };
        let hello = match url.path().trim_matches('/') {
            "" => ClientId::default(),
            name => ClientId::Domain(name.to_owned()),
        };
        Ok(Self { host, port: url.port().unwrap_or(port), tls, login, hello })
    }

    /// Greets and logs in.
    pub async fn connect(&self, timeout: Duration) -> Result<AsyncSmtpConnection, smtp::Error> {
        let from_start = match &self.tls {
            Tls::FromStart(parameters) => Some(parameters.clone()),
            Tls::Asked(_) | Tls::Never => None,
        };
        let place = (self.host.as_str(), self.port);
        let connecting = AsyncSmtpConnection::connect_tokio1(
            place,
            Some(timeout),
            &self.hello,
            from_start,
            None,
        );
        let mut connection = connecting.await?;
        if let Tls::Asked(parameters) = &self.tls {
            connection.starttls(parameters.clone(), &self.hello).await?;
        }
        if let Some(login) = &self.login {
            connection.auth(&MECHANISMS, login).await?;
        }
        Ok(connection)
    }
}

fn login(url: &Url) -> Result<Option<Credentials>, String> {
    let Some(password) = url.password() else { return Ok(None) };
    let decode = |part: &str| {
        let decoded = percent_encoding::percent_decode_str(part).decode_utf8();
        decoded.map(String::from).map_err(|_| "--smtp-url: the log-in is not UTF-8".to_owned())
    };
    Ok(Some(Credentials::new(decode(url.username())?, decode(password)?)))
}

fn parameters(host: &str, authority: Option<&Path>) -> Result<TlsParameters, String> {
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(path) = authority {
        let unreadable = |why: String| format!("--smtp-authority: {}: {why}", path.display());
        let pem = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
        let certificates = Certificate::from_pem(&pem);
        if !pem.windows(27).any(|it| it == b"-----BEGIN CERTIFICATE-----") {
            return Err(unreadable("no certificate in it".to_owned()));
        }
        let certificates = certificates.map_err(|_| unreadable("not PEM".to_owned()))?;
        builder =
            builder.certificate_store(CertificateStore::None).add_root_certificate(certificates);
    }
    builder.build().map_err(|_| "--smtp-url: no certificate can fit this host".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(url: &str) -> Option<String> {
        Server::read(url, None).err()
    }

    #[test]
    fn mail_to_another_machine_goes_in_tls_unless_somebody_says_otherwise() {
        for good in [
            "smtps://mail.example.com",
            "smtps://ann:secret%21@mail.example.com:465",
            "smtp://ann:secret@mail.example.com:587?tls=required",
            "smtp://mail.example.com:25?tls=none",
            "smtp://127.0.0.1:2525",
            "smtp://ann:secret@localhost",
            "smtp://[::1]:25/shop.example",
        ] {
            assert_eq!(fault(good), None, "{good}");
        }
        let check = |url, words| {
            let said = fault(url).unwrap_or_else(|| panic!("{url} passes"));
            assert!(said.contains(words), "{url}: {said}");
            assert!(!said.contains("secret"), "{said}");
        };
        check("smtp://mail.example.com:25", "wants ?tls=required");
        check("smtp://ann:secret@mail.example.com?tls=none", "in TLS only");
        check("smtp://mail.example.com?tls=opportunistic", "takes tls=required");
        check("smtp://mail.example.com?timeout=1", "takes tls=required");
        check("smtps://ann:secret@mail.example.com?tls=none", "wants an address");
        check("http://ann:secret@mail.example.com", "wants an address");
        check("mail.example.com:secret", "wants an address");
        check("secret", "wants an address");
    }

    #[test]
    fn an_authority_without_tls_is_a_fault() {
        let authority = Path::new("authority.pem");
        for url in ["smtp://127.0.0.1:2525", "smtp://mail.example.com?tls=none"] {
            let said = Server::read(url, Some(authority)).err().expect("a fault");
            assert!(said.contains("--smtp-url is without TLS"), "{url}: {said}");
        }
    }

    #[test]
    fn an_authority_that_is_none_is_a_fault() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing.pem");
        let empty = folder.path().join("empty.pem");
        std::fs::write(&empty, "no certificate").unwrap();
        for path in [missing, empty] {
            let read = Server::read("smtps://mail.example.com", Some(&path));
            let said = read.err().expect("a fault");
            assert!(said.starts_with("--smtp-authority: "), "{said}");
        }
    }
}
