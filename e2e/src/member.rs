//! Somebody who signed up through the edge, code from the mail and all.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, anyhow};
use firstcome_proto::{
    Reason, Refusal, UserId,
    user_v1::{
        LogInRequest, RefreshSessionRequest, SignUpRequest, TokenPair, VerifyEmailRequest,
        account_service_client::AccountServiceClient, profile_service_client::ProfileServiceClient,
    },
};
use firstcome_testkit::eventually;
use tonic::{Request, Status, transport::Channel};
use uuid::Uuid;

use crate::{Buyer, Shop, shop::authorized};

/// What everybody has first.
pub const PASSWORD: &str = "pairs-4-all!";
/// A password hash in a debug build, many stories at once, two cores.
const MAIL_PATIENCE: Duration = Duration::from_secs(60);

/// A device that is logged in, and its owner.
#[derive(Clone)]
pub struct Member {
    /// The account.
    pub user: UserId,
    /// What it is known by.
    pub email: String,
    /// The device's newest tokens.
    pub tokens: TokenPair,
    /// Where it calls from.
    pub address: String,
    channel: Channel,
    mail: PathBuf,
}

impl Member {
    /// An account of a new address, and its first device.
    pub async fn join(shop: &Shop) -> Result<Self> {
        let email = new_email();
        let token = join_in(shop, sign_up(&email)).await;
        let token = token.map_err(|refusal| anyhow!("sign up: {}", refusal.message))?;
        let code = code_of_mail(shop, &email, 1).await;
        let verified = verify(shop, &email, &code, &token).await;
        verified.map_err(|refusal| anyhow!("verify: {}", refusal.message))?;
        Self::on_device(shop, &email, PASSWORD, "first device").await.context("log in")
    }

    /// Another device of somebody with an account.
    pub async fn on_device(
        shop: &Shop,
        email: &str,
        password: &str,
        device: &str,
    ) -> Result<Self, Status> {
        let [a, b, c] = rand::random::<[u8; 3]>();
        let address = format!("10.{a}.{b}.{c}");
        let mut request = Request::new(LogInRequest {
            email: email.to_owned(),
            password: password.to_owned(),
            idempotency_key: Uuid::new_v4().to_string(),
            device: device.to_owned(),
        });
        let from = address.parse().expect("addresses are ASCII");
        request.metadata_mut().insert("x-forwarded-for", from);
        let answer = AccountServiceClient::new(shop.channel.clone()).log_in(request).await?;
        let answer = answer.into_inner();
        Ok(Self {
            user: answer.user_id.parse().expect("an id"),
            email: email.to_owned(),
            tokens: answer.tokens.expect("tokens"),
            address,
            channel: shop.channel.clone(),
            mail: shop.mesh.address().mail.clone(),
        })
    }

    /// A call by this device.
    pub fn call<T>(&self, message: T) -> Request<T> {
        let mut request = authorized(message, &self.tokens.access_token);
        let address = self.address.parse().expect("addresses are ASCII");
        request.metadata_mut().insert("x-forwarded-for", address);
        request
    }

    /// Accounts.
    pub fn accounts(&self) -> AccountServiceClient<Channel> {
        AccountServiceClient::new(self.channel.clone())
    }

    /// Profiles and addresses.
    pub fn profiles(&self) -> ProfileServiceClient<Channel> {
        ProfileServiceClient::new(self.channel.clone())
    }

    /// The same device at another edge.
    pub fn through(&self, endpoint: &str) -> Result<Self> {
        let channel = Channel::from_shared(endpoint.to_owned())?.connect_lazy();
        Ok(Self { channel, ..self.clone() })
    }

    /// The same device as a buyer.
    pub fn buyer(&self) -> Buyer {
        let mut buyer =
            Buyer::new(self.channel.clone(), self.user, self.tokens.access_token.clone())
                .expect("a buyer");
        buyer.address.clone_from(&self.address);
        buyer
    }

    /// Trades the device's refresh token for the next.
    pub async fn refresh(&mut self) -> Result<(), Refusal> {
        let spent = self.tokens.refresh_token.clone();
        let request = RefreshSessionRequest { refresh_token: spent };
        let answer = self.accounts().refresh_session(self.call(request)).await;
        let answer = answer.map_err(|status| Refusal::from_status(&status))?;
        self.tokens = answer.into_inner().tokens.expect("tokens");
        Ok(())
    }

    /// Everything that was mailed to this address, oldest first.
    pub fn mails(&self) -> Vec<String> {
        mails_in(&self.mail, &self.email)
    }
}

/// A call without a token, from an address that nobody else calls from.
pub fn from_anywhere<T>(message: T) -> Request<T> {
    let [a, b, c] = rand::random::<[u8; 3]>();
    let mut request = Request::new(message);
    let from = format!("10.{a}.{b}.{c}").parse().expect("addresses are ASCII");
    request.metadata_mut().insert("x-forwarded-for", from);
    request
}

/// An address that nobody has.
pub fn new_email() -> String {
    format!("minji-{}@example.com", Uuid::new_v4().simple())
}

/// What everybody signs up with.
pub fn sign_up(email: &str) -> SignUpRequest {
    SignUpRequest {
        name: "Kim Minji".into(),
        email: email.to_owned(),
        password: PASSWORD.into(),
        phone: "+821012345678".into(),
    }
}

/// SignUp from anywhere; gives the token that the sign-up is verified with.
pub async fn join_in(shop: &Shop, sign_up: SignUpRequest) -> Result<String, Refusal> {
    let request = from_anywhere(sign_up);
    let answer = AccountServiceClient::new(shop.channel.clone()).sign_up(request).await;
    let answer = answer.map_err(|status| Refusal::from_status(&status))?;
    Ok(answer.into_inner().sign_up_token)
}

/// VerifyEmail.
pub async fn verify(shop: &Shop, email: &str, code: &str, token: &str) -> Result<(), Refusal> {
    let request = VerifyEmailRequest {
        email: email.to_owned(),
        code: code.to_owned(),
        sign_up_token: token.to_owned(),
    };
    let request = from_anywhere(request);
    let answer = AccountServiceClient::new(shop.channel.clone()).verify_email(request).await;
    answer.map(drop).map_err(|status| Refusal::from_status(&status))
}

/// The code in the so-manieth mail to an address, counted from 1, once it is there.
pub async fn code_of_mail(shop: &Shop, email: &str, number: usize) -> String {
    let mails = || mails_in(&shop.mesh.address().mail, email);
    eventually(MAIL_PATIENCE, || async { mails().len() >= number }).await;
    code_in(&mails()[number - 1]).expect("a code")
}

/// The code in a mail: six digits, or eight capitals and digits; an address may have as many.
pub fn code_in(mail: &str) -> Option<String> {
    let (_, body) = mail.split_once("\n\n")?;
    let is_code = |word: &&str| match word.len() {
        6 => word.bytes().all(|byte| byte.is_ascii_digit()),
        8 => word.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase()),
        _ => false,
    };
    let mut words = body.split(|letter: char| !letter.is_ascii_alphanumeric());
    words.find(is_code).map(str::to_owned)
}

/// Why a call was refused.
pub fn reason_of<T: std::fmt::Debug>(answer: Result<T, Status>) -> Reason {
    Refusal::from_status(&answer.expect_err("a refusal")).reason()
}

fn mails_in(folder: &std::path::Path, email: &str) -> Vec<String> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = files
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|end| end == "txt"))
        .collect();
    files.sort();
    let mails = files.iter().filter_map(|path| std::fs::read_to_string(path).ok());
    mails.filter(|mail| mail.starts_with(&format!("To: {email}\n"))).collect()
}
