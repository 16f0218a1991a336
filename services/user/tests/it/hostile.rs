//! Rubbish in every field of text: a refusal that names the field, and nothing done.

use firstcome_proto::{
    Reason, Refusal,
    user_v1::{
        ChangePasswordRequest, DeleteAccountRequest, GetProfileRequest, ListSessionsRequest,
        LogInRequest, LogOutEverywhereRequest, Profile, RefreshSessionRequest,
        RequestPasswordResetRequest, ResendVerificationRequest, ResetPasswordRequest,
        RevokeSessionRequest, SetUserStateRequest, SignUpRequest, UpdateProfileRequest, UserState,
        VerifyEmailRequest,
    },
};
use prost_types::FieldMask;
use tonic::{Response, Status};

use super::harness::{
    PASSWORD, Shop, address, assert_refused, carrying, log_in_request, nobodys_token,
};

#[track_caller]
fn refused_for<T: std::fmt::Debug>(answer: Result<Response<T>, Status>, field: &str) {
    let refusal = Refusal::from_status(&answer.expect_err(field));
    assert_eq!(refusal.reason(), Reason::InvalidArgument, "{field}: {refusal:?}");
    let fields: Vec<_> = refusal.violations.iter().map(|fault| fault.field.as_str()).collect();
    assert_eq!(fields, [field]);
}

/// One field of a request.
type Text<M> = fn(&mut M) -> &mut String;

/// NUL, and 10 kB of what would be a good password if it were shorter.
fn bad() -> [String; 2] {
    ["a\0b1!aaaaa".to_owned(), "x1!".repeat(3_500)]
}

/// Every row of `users`, to see that nothing was done.
async fn rows(shop: &Shop) -> String {
    let rows = "select coalesce(string_agg(users::text, ' ' order by user_id), '') from users";
    sqlx::query_scalar(rows).fetch_one(&shop.database.pool).await.expect("the rows")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_text_of_a_stranger_is_bounded_and_printable() {
    let shop = Shop::open().await;
    let (email, password) = (address(), PASSWORD.to_owned());
    shop.member(&email).await;
    let before = rows(&shop).await;
    let mut accounts = shop.accounts.clone();
    for bad in bad() {
        let right = SignUpRequest {
            name: "Ann".into(),
            email: address(),
            password: password.clone(),
            phone: "+821012345678".into(),
        };
        let set: [(&str, Text<SignUpRequest>); 4] = [
            ("name", |request| &mut request.name),
            ("email", |request| &mut request.email),
            ("password", |request| &mut request.password),
            ("phone", |request| &mut request.phone),
        ];
        for (field, of) in set {
            let mut request = right.clone();
            bad.clone_into(of(&mut request));
            refused_for(accounts.sign_up(request).await, field);
        }

        let right = log_in_request(&email, &password, "k");
        let set: [(&str, Text<LogInRequest>); 3] = [
            ("email", |request| &mut request.email),
            ("idempotency_key", |request| &mut request.idempotency_key),
            ("device", |request| &mut request.device),
        ];
        for (field, of) in set {
            let mut request = right.clone();
            bad.clone_into(of(&mut request));
            refused_for(accounts.log_in(request).await, field);
        }
        let request = RefreshSessionRequest { refresh_token: bad.clone() };
        assert_refused(accounts.refresh_session(request).await, Reason::TokenInvalid);
    }
    // A password that is looked at and not kept may be anything short.
    let [nul, huge] = bad();
    assert_refused(shop.log_in(&email, &nul, "k").await, Reason::BadCredentials);
    refused_for(accounts.log_in(log_in_request(&email, &huge, "k")).await, "password");
    assert_eq!(rows(&shop).await, before, "nothing was changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_text_around_a_code_is_bounded_and_printable() {
    let shop = Shop::open().await;
    let email = address();
    shop.member(&email).await;
    let before = rows(&shop).await;
    let mut accounts = shop.accounts.clone();
    for bad in bad() {
        let right = VerifyEmailRequest {
            email: email.clone(),
            code: "123456".into(),
            sign_up_token: nobodys_token(),
        };
        let request = VerifyEmailRequest { email: bad.clone(), ..right.clone() };
        refused_for(accounts.verify_email(request).await, "email");
        let request = VerifyEmailRequest { code: bad.clone(), ..right.clone() };
        refused_for(accounts.verify_email(request).await, "code");
        let request = VerifyEmailRequest { sign_up_token: bad.clone(), ..right };
        refused_for(accounts.verify_email(request).await, "sign_up_token");
        let request = ResendVerificationRequest { email: bad.clone() };
        refused_for(accounts.resend_verification(request).await, "email");
        let request = RequestPasswordResetRequest { email: bad.clone() };
        refused_for(accounts.request_password_reset(request).await, "email");
        let right = ResetPasswordRequest {
            email: email.clone(),
            code: "CDFG3467".into(),
            new_password: PASSWORD.into(),
        };
        let request = ResetPasswordRequest { email: bad.clone(), ..right.clone() };
        refused_for(accounts.reset_password(request).await, "email");
        let request = ResetPasswordRequest { code: bad.clone(), ..right.clone() };
        refused_for(accounts.reset_password(request).await, "code");
        let request = ResetPasswordRequest { new_password: bad.clone(), ..right };
        refused_for(accounts.reset_password(request).await, "new_password");
    }
    assert_eq!(rows(&shop).await, before, "nothing was changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_text_of_a_user_is_bounded_and_printable() {
    let shop = Shop::open().await;
    let tokens = shop.member(&address()).await;
    let claims = shop.claims(&tokens.access_token).await;
    let before = rows(&shop).await;
    let (mut accounts, mut profiles) = (shop.accounts.clone(), shop.profiles.clone());
    for bad in bad() {
        let request = carrying(&claims, RevokeSessionRequest { session_id: bad.clone() });
        refused_for(accounts.revoke_session(request).await, "session_id");
        let request = ListSessionsRequest { page_size: 0, page_token: bad.clone() };
        refused_for(accounts.list_sessions(carrying(&claims, request)).await, "page_token");
        let request =
            ChangePasswordRequest { old_password: PASSWORD.into(), new_password: bad.clone() };
        refused_for(accounts.change_password(carrying(&claims, request)).await, "new_password");
        let request = SetUserStateRequest { user_id: bad.clone(), state: UserState::Banned.into() };
        refused_for(accounts.set_user_state(carrying(&claims, request)).await, "user_id");

        let profile = Profile {
            name: bad.clone(),
            phone: bad.clone(),
            greeting: bad.clone(),
            image_url: bad.clone(),
            ..Profile::default()
        };
        for path in ["name", "phone", "greeting", "image_url", &bad] {
            let update_mask = Some(FieldMask { paths: vec![path.to_owned()] });
            let request = UpdateProfileRequest { profile: Some(profile.clone()), update_mask };
            let answer = profiles.update_profile(carrying(&claims, request)).await;
            let is_known = path != bad;
            let field = if is_known { format!("profile.{path}") } else { "update_mask".into() };
            refused_for(answer, &field);
        }
    }
    let [_, huge] = bad();
    let request = ChangePasswordRequest { old_password: huge.clone(), new_password: huge.clone() };
    let answer = accounts.change_password(carrying(&claims, request)).await;
    let refusal = Refusal::from_status(&answer.expect_err("two faults"));
    assert_eq!(refusal.violations.len(), 2, "both are named: {refusal:?}");
    let request = carrying(&claims, DeleteAccountRequest { password: huge });
    refused_for(profiles.delete_account(request).await, "password");
    let request = ListSessionsRequest { page_size: 101, page_token: String::new() };
    refused_for(accounts.list_sessions(carrying(&claims, request)).await, "page_size");
    assert_eq!(rows(&shop).await, before, "nothing was changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_without_an_identity_gets_past() {
    let shop = Shop::open().await;
    let (mut accounts, mut profiles) = (shop.accounts.clone(), shop.profiles.clone());
    let no = Reason::TokenInvalid;
    assert_refused(accounts.list_sessions(ListSessionsRequest::default()).await, no);
    assert_refused(accounts.revoke_session(RevokeSessionRequest::default()).await, no);
    assert_refused(accounts.log_out_everywhere(LogOutEverywhereRequest {}).await, no);
    assert_refused(accounts.change_password(ChangePasswordRequest::default()).await, no);
    assert_refused(profiles.get_profile(GetProfileRequest {}).await, no);
    assert_refused(profiles.update_profile(UpdateProfileRequest::default()).await, no);
    assert_refused(profiles.delete_account(DeleteAccountRequest::default()).await, no);
}
