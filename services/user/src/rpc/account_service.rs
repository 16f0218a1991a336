//! AccountService: what anybody may call before, and what a user may call after, having a token.

use firstcome_mesh::{Identity, identity::client_address, page::Page};
use firstcome_proto::{
    Refusal, SessionId, UserId, timestamp,
    user_v1::{
        ChangePasswordRequest, ChangePasswordResponse, ListSessionsRequest, ListSessionsResponse,
        LogInRequest, LogInResponse, LogOutEverywhereRequest, LogOutEverywhereResponse,
        LogOutRequest, LogOutResponse, RefreshSessionRequest, RefreshSessionResponse,
        RequestPasswordResetRequest, RequestPasswordResetResponse, ResendVerificationRequest,
        ResendVerificationResponse, ResetPasswordRequest, ResetPasswordResponse,
        RevokeSessionRequest, RevokeSessionResponse, Session, SetUserStateRequest,
        SetUserStateResponse, SignUpRequest, SignUpResponse, TokenPair, UserState,
        VerifyEmailRequest, VerifyEmailResponse, account_service_server::AccountService,
    },
};
use tonic::{Request, Response, Status, metadata::MetadataMap};

use super::Faults;
use crate::{
    account::{Device, Email, Name, Password, Phone, SignUp, State},
    code::{Code, Purpose, SignUpToken},
    door::{Door, LogIn, Tokens},
    language::Language,
    session::Listed,
};

/// Longest idempotency key: the contract's.
const KEY_BYTES_MAX: usize = 64;

/// The service over the door.
pub struct Service(pub Door);

#[tonic::async_trait]
impl AccountService for Service {
    async fn sign_up(
        &self,
        request: Request<SignUpRequest>,
    ) -> Result<Response<SignUpResponse>, Status> {
        let from = client_address(request.metadata());
        let language = spoken(request.metadata());
        let signup = SignUp { language, ..request.into_inner().try_into()? };
        let (code_ttl, token) = self.0.sign_up(signup, from).await?;
        let code_ttl = Some(timestamp::duration_to_wire(code_ttl));
        Ok(Response::new(SignUpResponse { code_ttl, sign_up_token: token.to_text() }))
    }

    async fn verify_email(
        &self,
        request: Request<VerifyEmailRequest>,
    ) -> Result<Response<VerifyEmailResponse>, Status> {
        let request = request.into_inner();
        let mut faults = Faults::default();
        let email = faults.check(Email::from_field("email", &request.email));
        let code = faults.check(Code::from_field(Purpose::Verify, "code", &request.code));
        let token = SignUpToken::from_field("sign_up_token", &request.sign_up_token);
        let token = faults.check(token);
        let (Some(email), Some(code), Some(token)) = (email, code, token) else {
            return Err(faults.refusal().into());
        };
        self.0.verify_email(&email, &code, &token).await?;
        Ok(Response::new(VerifyEmailResponse {}))
    }

    async fn log_in(
        &self,
        request: Request<LogInRequest>,
    ) -> Result<Response<LogInResponse>, Status> {
        let from = client_address(request.metadata());
        let request = request.into_inner();
        let mut faults = Faults::default();
        let email = faults.check(Email::from_field("email", &request.email));
        let password = faults.check(Password::attempt("password", request.password.into()));
        let key = faults.check(idempotency_key(request.idempotency_key));
        let device = faults.check(Device::from_field("device", &request.device));
        let (Some(email), Some(password), Some(idempotency_key), Some(device)) =
            (email, password, key, device)
        else {
            return Err(faults.refusal().into());
        };
        let wanted = LogIn { email, password, idempotency_key, device, from };
        let (user, tokens) = self.0.log_in(wanted).await?;
        Ok(Response::new(LogInResponse { tokens: Some(tokens.into()), user_id: user.to_string() }))
    }

    async fn refresh_session(
        &self,
        request: Request<RefreshSessionRequest>,
    ) -> Result<Response<RefreshSessionResponse>, Status> {
        let from = client_address(request.metadata());
        let tokens = self.0.refresh(&request.get_ref().refresh_token, from).await?;
        Ok(Response::new(RefreshSessionResponse { tokens: Some(tokens.into()) }))
    }

    async fn log_out(
        &self,
        request: Request<LogOutRequest>,
    ) -> Result<Response<LogOutResponse>, Status> {
        let caller = Identity::of(&request)?;
        self.0.log_out(caller.user, caller.session).await?;
        Ok(Response::new(LogOutResponse {}))
    }

    async fn resend_verification(
        &self,
        request: Request<ResendVerificationRequest>,
    ) -> Result<Response<ResendVerificationResponse>, Status> {
        let from = client_address(request.metadata());
        let email = Email::from_field("email", &request.get_ref().email)?;
        let code_ttl = self.0.resend_verification(email, from).await?;
        let code_ttl = Some(timestamp::duration_to_wire(code_ttl));
        Ok(Response::new(ResendVerificationResponse { code_ttl }))
    }

    async fn log_out_everywhere(
        &self,
        request: Request<LogOutEverywhereRequest>,
    ) -> Result<Response<LogOutEverywhereResponse>, Status> {
        self.0.log_out_everywhere(Identity::of(&request)?.user).await?;
        Ok(Response::new(LogOutEverywhereResponse {}))
    }

    async fn list_sessions(
        &self,
        request: Request<ListSessionsRequest>,
    ) -> Result<Response<ListSessionsResponse>, Status> {
        let caller = Identity::of(&request)?;
        let ListSessionsRequest { page_size, page_token } = request.into_inner();
        let page = Page::read(page_size, &page_token)?;
        let (sessions, next_page_token) = self.0.sessions(caller.user, page).await?;
        let sessions =
            sessions.into_iter().map(|session| to_wire(&session, caller.session)).collect();
        Ok(Response::new(ListSessionsResponse { sessions, next_page_token }))
    }

    async fn revoke_session(
        &self,
        request: Request<RevokeSessionRequest>,
    ) -> Result<Response<RevokeSessionResponse>, Status> {
        let caller = Identity::of(&request)?;
        let session = SessionId::from_field("session_id", &request.get_ref().session_id)?;
        self.0.revoke(caller.user, session).await?;
        Ok(Response::new(RevokeSessionResponse {}))
    }

    async fn change_password(
        &self,
        request: Request<ChangePasswordRequest>,
    ) -> Result<Response<ChangePasswordResponse>, Status> {
        let (caller, from) = (Identity::of(&request)?, client_address(request.metadata()));
        let ChangePasswordRequest { old_password, new_password } = request.into_inner();
        let mut faults = Faults::default();
        let old = faults.check(Password::attempt("old_password", old_password.into()));
        let new = faults.check(Password::new("new_password", new_password.into()));
        let (Some(old), Some(new)) = (old, new) else { return Err(faults.refusal().into()) };
        self.0.change_password(caller, &old, &new, from).await?;
        Ok(Response::new(ChangePasswordResponse {}))
    }

    async fn request_password_reset(
        &self,
        request: Request<RequestPasswordResetRequest>,
    ) -> Result<Response<RequestPasswordResetResponse>, Status> {
        let from = client_address(request.metadata());
        let email = Email::from_field("email", &request.get_ref().email)?;
        let code_ttl = self.0.request_password_reset(email, from).await?;
        let code_ttl = Some(timestamp::duration_to_wire(code_ttl));
        Ok(Response::new(RequestPasswordResetResponse { code_ttl }))
    }

    async fn reset_password(
        &self,
        request: Request<ResetPasswordRequest>,
    ) -> Result<Response<ResetPasswordResponse>, Status> {
        let from = client_address(request.metadata());
        let request = request.into_inner();
        let mut faults = Faults::default();
        let email = faults.check(Email::from_field("email", &request.email));
        let code = faults.check(Code::from_field(Purpose::Reset, "code", &request.code));
        let new = faults.check(Password::new("new_password", request.new_password.into()));
        let (Some(email), Some(code), Some(new)) = (email, code, new) else {
            return Err(faults.refusal().into());
        };
        self.0.reset_password(&email, &code, &new, from).await?;
        Ok(Response::new(ResetPasswordResponse {}))
    }

    async fn set_user_state(
        &self,
        request: Request<SetUserStateRequest>,
    ) -> Result<Response<SetUserStateResponse>, Status> {
        let request = request.into_inner();
        let mut faults = Faults::default();
        let user = faults.check(UserId::from_field("user_id", &request.user_id));
        let wanted = faults.check(match request.state() {
            UserState::Active => Ok(State::Active),
            UserState::Banned => Ok(State::Banned),
            _ => Err(Refusal::invalid("state", "want ACTIVE or BANNED")),
        });
        let (Some(user), Some(wanted)) = (user, wanted) else {
            return Err(faults.refusal().into());
        };
        self.0.set_user_state(user, wanted).await?;
        Ok(Response::new(SetUserStateResponse { state: UserState::from(wanted).into() }))
    }
}

/// The first of `accept-language` that we speak.
fn spoken(metadata: &MetadataMap) -> Language {
    let header = metadata.get("accept-language").and_then(|header| header.to_str().ok());
    let tags = header.unwrap_or_default().split(',').map(str::trim);
    let words = tags.filter_map(|tag| tag.split(['-', ';']).next());
    words
        .filter_map(|word| Language::from_word(&word.to_ascii_lowercase()))
        .next()
        .unwrap_or_default()
}

impl TryFrom<SignUpRequest> for SignUp {
    type Error = Refusal;

    fn try_from(request: SignUpRequest) -> Result<Self, Refusal> {
        let mut faults = Faults::default();
        let name = faults.check(Name::from_field("name", &request.name));
        let email = faults.check(Email::from_field("email", &request.email));
        let password = faults.check(Password::new("password", request.password.into()));
        let phone = faults.check(Phone::from_field("phone", &request.phone));
        match (name, email, password, phone) {
            (Some(name), Some(email), Some(password), Some(phone)) => {
                Ok(Self { email, name, phone, password, language: Language::default() })
            }
            _ => Err(faults.refusal()),
        }
    }
}

impl From<Tokens> for TokenPair {
    fn from(tokens: Tokens) -> Self {
        Self {
            access_token: tokens.access,
            access_token_ttl: Some(timestamp::duration_to_wire(tokens.access_ttl)),
            refresh_token: tokens.refresh.expose().to_owned(),
            refresh_token_ttl: Some(timestamp::duration_to_wire(tokens.refresh_ttl)),
        }
    }
}

impl From<State> for UserState {
    fn from(state: State) -> Self {
        match state {
            State::Inactive => Self::Inactive,
            State::Active => Self::Active,
            State::Dormant => Self::Dormant,
            State::Banned => Self::Banned,
            State::Deleted => Self::Deleted,
        }
    }
}

fn to_wire(session: &Listed, current: SessionId) -> Session {
    Session {
        session_id: session.id.to_string(),
        device: session.device.to_string(),
        client_address: session.address.to_string(),
        create_time: Some(timestamp::to_wire(session.created_at)),
        last_use_time: Some(timestamp::to_wire(session.last_used_at)),
        expire_time: Some(timestamp::to_wire(session.expires_at)),
        is_current: session.id == current,
    }
}

pub(crate) fn idempotency_key(text: String) -> Result<String, Refusal> {
    let printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if text.is_empty() || text.len() > KEY_BYTES_MAX || !printable {
        return Err(Refusal::invalid("idempotency_key", "want 1 to 64 printable ASCII characters"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_of_a_sign_up_is_named() {
        let request = SignUpRequest {
            name: "A\0nn".into(),
            email: "nowhere".into(),
            password: "short".into(),
            phone: "12".into(),
        };
        let refusal = SignUp::try_from(request).expect_err("everything is wrong");
        let fields: Vec<_> = refusal.violations.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(fields, ["name", "email", "password", "phone"]);
    }

    #[test]
    fn the_first_language_that_we_speak_counts() {
        let check = |header: Option<&'static str>, want| {
            let mut metadata = MetadataMap::new();
            if let Some(header) = header {
                metadata.insert("accept-language", header.parse().expect("ASCII"));
            }
            assert_eq!(spoken(&metadata), want, "{header:?}");
        };
        check(None, Language::English);
        check(Some("ko-KR,ko;q=0.9,en;q=0.8"), Language::Korean);
        check(Some("fr-FR, KO;q=0.5"), Language::Korean);
        check(Some("en-GB,ko"), Language::English);
        check(Some("*;;,"), Language::English);
    }

    #[test]
    fn a_key_is_bounded_and_printable() {
        assert!(idempotency_key("a 1-~".into()).is_ok());
        for wrong in [String::new(), "x".repeat(65), "a\0".into(), "é".into(), "a\n".into()] {
            assert!(idempotency_key(wrong.clone()).is_err(), "{wrong:?}");
        }
    }
}
