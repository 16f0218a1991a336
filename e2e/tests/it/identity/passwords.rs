//! Another password: by the old one, or by a mailed code.

use firstcome_e2e::{
    Shop,
    member::{self, Member, PASSWORD, reason_of},
};
use firstcome_proto::{
    Reason,
    user_v1::{ChangePasswordRequest, RequestPasswordResetRequest, ResetPasswordRequest},
};
use firstcome_testkit::eventually;

use super::{PATIENCE, QUICK, REVOKED_WITHIN, code_of_newest, until_refused};

const NEW_PASSWORD: &str = "other-pairs-5!";

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_changed_with_the_old_one_and_reset_with_a_mailed_code() {
    let shop = Shop::own(&QUICK).await.unwrap();
    let mut laptop = Member::join(&shop).await.unwrap();
    let phone = Member::on_device(&shop, &laptop.email, PASSWORD, "phone").await.unwrap();

    let change = |old: &str, new: &str| ChangePasswordRequest {
        old_password: old.into(),
        new_password: new.into(),
    };
    let wrong = laptop.call(change("wrong-pairs-1!", NEW_PASSWORD));
    let wrong = laptop.accounts().change_password(wrong).await;
    assert_eq!(reason_of(wrong), Reason::BadCredentials);
    // Twice, as after a lost answer.
    for _ in 0..2 {
        let request = laptop.call(change(PASSWORD, NEW_PASSWORD));
        laptop.accounts().change_password(request).await.unwrap();
    }
    let took = until_refused(&phone).await;
    assert!(took <= REVOKED_WITHIN, "every other device: {took:?}");
    laptop.refresh().await.unwrap();
    let old = Member::on_device(&shop, &laptop.email, PASSWORD, "").await;
    assert_eq!(reason_of(old.map(drop)), Reason::BadCredentials);

    let mails = laptop.mails().len();
    let email = laptop.email.clone();
    let ask = RequestPasswordResetRequest { email: email.clone() };
    let asked = || async {
        let ask = member::from_anywhere(ask.clone());
        laptop.accounts().request_password_reset(ask).await.is_ok()
    };
    eventually(PATIENCE, asked).await;
    let nobody = RequestPasswordResetRequest { email: member::new_email() };
    laptop.accounts().request_password_reset(nobody).await.unwrap();
    eventually(PATIENCE, || async { code_of_newest(&laptop, mails).is_some() }).await;
    let code = code_of_newest(&laptop, mails).unwrap();
    let reset = |new: &str| ResetPasswordRequest {
        email: email.clone(),
        code: code.clone(),
        new_password: new.to_owned(),
    };
    for _ in 0..2 {
        laptop.accounts().reset_password(reset(PASSWORD)).await.unwrap();
    }
    let second = laptop.accounts().reset_password(reset("third-pairs-6!")).await;
    assert_eq!(reason_of(second), Reason::CodeInvalid, "a code sets one password");
    let took = until_refused(&laptop).await;
    assert!(took <= REVOKED_WITHIN, "every device: {took:?}");
    Member::on_device(&shop, &email, PASSWORD, "").await.unwrap();
}
