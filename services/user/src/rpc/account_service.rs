//! AccountService: what anybody may call before, and LogOut after, having a token.

use firstcome_mesh::Identity;
use firstcome_proto::{
    Refusal, timestamp,
    user_v1::{
        LogInRequest, LogInResponse, LogOutRequest, LogOutResponse, RefreshSessionRequest,
        RefreshSessionResponse, SignUpRequest, SignUpResponse, TokenPair, VerifyEmailRequest,
        VerifyEmailResponse, account_service_server::AccountService,
    },
};
use tonic::{Request, Response, Status};

use super::Faults;
use crate::{
    account::{Email, Name, Password, Phone, SignUp},
    code::Code,
    door::{Door, Tokens},
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
        let code_ttl = self.0.sign_up(request.into_inner().try_into()?).await?;
        Ok(Response::new(SignUpResponse { code_ttl: Some(timestamp::duration_to_wire(code_ttl)) }))
    }

    async fn verify_email(
        &self,
        request: Request<VerifyEmailRequest>,
    ) -> Result<Response<VerifyEmailResponse>, Status> {
        let request = request.into_inner();
        let mut faults = Faults::default();
        let email = faults.check(Email::from_field("email", &request.email));
        let code = faults.check(Code::from_field("code", &request.code));
        let (Some(email), Some(code)) = (email, code) else { return Err(faults.refusal().into()) };
        self.0.verify_email(&email, &code).await?;
        Ok(Response::new(VerifyEmailResponse {}))
    }

    async fn log_in(
        &self,
        request: Request<LogInRequest>,
    ) -> Result<Response<LogInResponse>, Status> {
        let request = request.into_inner();
        let mut faults = Faults::default();
        let email = faults.check(Email::from_field("email", &request.email));
        let password = faults.check(Password::attempt("password", request.password.into()));
        let key = faults.check(idempotency_key(request.idempotency_key));
        let (Some(email), Some(password), Some(key)) = (email, password, key) else {
            return Err(faults.refusal().into());
        };
        let (user, tokens) = self.0.log_in(&email, password, &key).await?;
        Ok(Response::new(LogInResponse { tokens: Some(tokens.into()), user_id: user.to_string() }))
    }

    async fn refresh_session(
        &self,
        request: Request<RefreshSessionRequest>,
    ) -> Result<Response<RefreshSessionResponse>, Status> {
        let tokens = self.0.refresh(&request.get_ref().refresh_token).await?;
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
        _: Request<firstcome_proto::user_v1::ResendVerificationRequest>,
    ) -> Result<Response<firstcome_proto::user_v1::ResendVerificationResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn log_out_everywhere(
        &self,
        _: Request<firstcome_proto::user_v1::LogOutEverywhereRequest>,
    ) -> Result<Response<firstcome_proto::user_v1::LogOutEverywhereResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn list_sessions(
        &self,
        _: Request<firstcome_proto::user_v1::ListSessionsRequest>,
    ) -> Result<Response<firstcome_proto::user_v1::ListSessionsResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn revoke_session(
        &self,
        _: Request<firstcome_proto::user_v1::RevokeSessionRequest>,
    ) -> Result<Response<firstcome_proto::user_v1::RevokeSessionResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn change_password(
        &self,
        _: Request<firstcome_proto::user_v1::ChangePasswordRequest>,
    ) -> Result<Response<firstcome_proto::user_v1::ChangePasswordResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn request_password_reset(
        &self,
        _: Request<firstcome_proto::user_v1::RequestPasswordResetRequest>,
    ) -> Result<Response<firstcome_proto::user_v1::RequestPasswordResetResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn reset_password(
        &self,
        _: Request<firstcome_proto::user_v1::ResetPasswordRequest>,
    ) -> Result<Response<firstcome_proto::user_v1::ResetPasswordResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn set_user_state(
        &self,
        _: Request<firstcome_proto::user_v1::SetUserStateRequest>,
    ) -> Result<Response<firstcome_proto::user_v1::SetUserStateResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }
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
                Ok(Self { email, name, phone, password })
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
        let refusal = SignUp::try_from(request).err().expect("everything is wrong");
        let fields: Vec<_> = refusal.violations.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(fields, ["name", "email", "password", "phone"]);
    }

    #[test]
    fn a_key_is_bounded_and_printable() {
        assert!(idempotency_key("a 1-~".into()).is_ok());
        for wrong in [String::new(), "x".repeat(65), "a\0".into(), "é".into(), "a\n".into()] {
            assert!(idempotency_key(wrong.clone()).is_err(), "{wrong:?}");
        }
    }
}
