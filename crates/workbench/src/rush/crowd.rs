//! Who comes: buyers made in bulk, and a few who really sign up through the edge, code from the
//! mail and all. Each has a client address of its own.

use std::{net::Ipv4Addr, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use firstcome_local::{Address, Service, secret};
use firstcome_proto::{
    UserId,
    user_v1::{
        LogInRequest, SignUpRequest, VerifyEmailRequest,
        account_service_client::AccountServiceClient,
    },
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::Deserialize;
use tokio::time::Instant;
use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};

use crate::calls::Person;

/// Sign-ups under way at once: each costs two password hashes, which the shop bounds.
const SIGN_UPS_IN_FLIGHT: usize = 4;
/// A password hash takes a second in a debug build, and there are queues.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// A mail that is not there by then will not come.
const MAIL_TIMEOUT: Duration = Duration::from_secs(30);
const MAIL_POLL: Duration = Duration::from_millis(50);
const PASSWORD: &str = "first-come-1st";
/// The same buyers come again to the next rush: it is another product.
const SEED_PREFIX: &str = "rush";
/// What `seed` gives all of them.
pub const SEEDED_PASSWORD: &str = "Seeded-buyer-1";
const SEED_TIMEOUT: Duration = Duration::from_secs(300);
const ADMIN_EMAIL: &str = "rush-operator@firstcome.example";

/// One line of what `seed` writes.
#[derive(Deserialize)]
struct Seeded {
    user_id: String,
    access_token: String,
}

/// The address of one of those who are made in bulk.
pub fn seeded_email(number: u32) -> String {
    format!("{SEED_PREFIX}-{number}@seed.firstcome.example")
}

/// Makes so many verified users in bulk, unless they are there from another run.
pub async fn seed(mesh: &Address, count: usize, file: &Path) -> Result<()> {
    if count == 0 {
        return Ok(());
    }
    run_seed(mesh, count, file, &[]).await.context("make buyers in bulk")
}

/// Signs a token for each of those, as late as that can be.
pub async fn sign(mesh: &Address, count: usize, file: &Path) -> Result<Vec<Person>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    run_seed(mesh, count, file, &["--sign-only"]).await.context("sign the buyers' tokens")?;
    let lines = tokio::fs::read_to_string(file).await.context("read the seeded users")?;
    // Tokens are as good as passwords.
    tokio::fs::remove_file(file).await.context("remove the seeded tokens")?;
    let people: Vec<_> = lines
        .lines()
        .enumerate()
        .map(|(number, line)| {
            let seeded: Seeded = serde_json::from_str(line)?;
            person(number, seeded.user_id.parse()?, &seeded.access_token)
        })
        .collect::<Result<_>>()
        .context("read the seeded users")?;
    if people.len() != count {
        bail!("asked for {count} users, was given {}", people.len());
    }
    Ok(people)
}

async fn run_seed(mesh: &Address, count: usize, file: &Path, more: &[&str]) -> Result<()> {
    mesh.launch(Service::User, "seed")
        .args(["--count", &count.to_string(), "--prefix", SEED_PREFIX])
        .args(more)
        .arg_path("--out", file)
        .run(SEED_TIMEOUT)
        .await
}

/// A token of an admin who is made for this.
pub async fn admin(mesh: &Address, channel: Channel) -> Result<MetadataValue<Ascii>> {
    let password = format!("a1-{}", secret::generate());
    mesh.launch(Service::User, "create-admin")
        .env([("FIRSTCOME_ADMIN_EMAIL", ADMIN_EMAIL), ("FIRSTCOME_ADMIN_PASSWORD", &password)])
        .run(SEED_TIMEOUT)
        .await
        .context("make an admin")?;
    let message = LogInRequest {
        email: ADMIN_EMAIL.into(),
        password,
        idempotency_key: secret::generate(),
        device: String::new(),
    };
    let answer = AccountServiceClient::new(channel).log_in(message).await;
    let answer = answer.context("log the admin in")?.into_inner();
    let token = answer.tokens.context("an answer without tokens")?.access_token;
    format!("Bearer {token}").parse().context("a token of visible text")
}

/// Signs so many people up through the edge; they are numbered from `first`.
pub async fn sign_up(
    channel: &Channel,
    mail_folder: &Path,
    run: &str,
    count: usize,
    first: usize,
) -> Result<Vec<Person>> {
    let sign_ups = (first..first + count).map(|number| {
        let channel = channel.clone();
        async move {
            sign_up_one(channel, mail_folder, run, number)
                .await
                .with_context(|| format!("sign-up {number}"))
        }
    });
    stream::iter(sign_ups).buffer_unordered(SIGN_UPS_IN_FLIGHT).try_collect().await
}

async fn sign_up_one(
    channel: Channel,
    mail_folder: &Path,
    run: &str,
    number: usize,
) -> Result<Person> {
    let mut client = AccountServiceClient::new(channel);
    let email = format!("rush-{run}-{number}@example.com");
    let message = SignUpRequest {
        name: format!("Rush Buyer {number}"),
        email: email.clone(),
        password: PASSWORD.into(),
        phone: "+821012345678".into(),
    };
    let answer = client.sign_up(from(number, message)?).await.context("sign up")?;
    let sign_up_token = answer.into_inner().sign_up_token;
    let code = mailed_code(mail_folder, &email).await?;
    let message = VerifyEmailRequest { email: email.clone(), code, sign_up_token };
    client.verify_email(from(number, message)?).await.context("verify the email")?;
    let message = LogInRequest {
        email,
        password: PASSWORD.into(),
        idempotency_key: format!("rush-{run}-{number}"),
        device: String::new(),
    };
    let answer = client.log_in(from(number, message)?).await.context("log in")?.into_inner();
    let tokens = answer.tokens.context("an answer without tokens")?;
    person(number, answer.user_id.parse()?, &tokens.access_token)
}

/// Waits for the mail to this address and reads the code in it.
pub async fn mailed_code(folder: &Path, email: &str) -> Result<String> {
    let give_up = Instant::now() + MAIL_TIMEOUT;
    loop {
        let mut files = tokio::fs::read_dir(folder)
            .await
            .with_context(|| format!("read {}", folder.display()))?;
        while let Some(file) = files.next_entry().await? {
            if !file.file_name().to_string_lossy().contains(email) {
                continue;
            }
            // A mail that is being written, or removed by its owner, is looked at next time.
            let Ok(mail) = tokio::fs::read_to_string(file.path()).await else { continue };
            if let Some(code) = code_in(&mail) {
                return Ok(code.to_owned());
            }
        }
        if Instant::now() >= give_up {
            bail!("no mail to {email} in {}", folder.display());
        }
        tokio::time::sleep(MAIL_POLL).await;
    }
}

/// The one word of six digits in the mail's body.
fn code_in(mail: &str) -> Option<&str> {
    let body = mail.split_once("\r\n\r\n").or_else(|| mail.split_once("\n\n"));
    body.map_or(mail, |(_, body)| body)
        .split(|c: char| !c.is_ascii_alphanumeric())
        .find(|word| word.len() == 6 && word.bytes().all(|byte| byte.is_ascii_digit()))
}

fn person(number: usize, user: UserId, token: &str) -> Result<Person> {
    let authorization = format!("Bearer {token}").parse().context("a token of visible text")?;
    Ok(Person { user, authorization, address: address_of(number)? })
}

fn from<T>(number: usize, message: T) -> Result<Request<T>> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-forwarded-for", address_of(number)?);
    request.set_timeout(CALL_TIMEOUT);
    Ok(request)
}

/// A client address for each, out of 10.0.0.0/8.
pub fn address_of(number: usize) -> Result<MetadataValue<Ascii>> {
    let number = u32::try_from(number).ok().filter(|&number| number < 1 << 24);
    let number = number.context("at most 16 million buyers")?;
    Ok(Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 0).to_bits() + number).to_string().parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_found_in_the_mail_and_nothing_else_is() {
        let mail = "To: rush-1@example.com\r\nDate: 123456\r\n\r\nYour code: 042917.\r\n";
        assert_eq!(code_in(mail), Some("042917"));
        assert_eq!(code_in("subject\n\nfor 1234567 or a12345\n"), None);
        assert_eq!(code_in("code 111111"), Some("111111"));
    }

    #[test]
    fn everybody_has_an_address() {
        assert_eq!(address_of(0).unwrap(), "10.0.0.0");
        assert_eq!(address_of(200_000).unwrap(), "10.3.13.64");
        assert!(address_of(1 << 24).is_err());
    }
}
