//! What a user tells of itself, and what is left when it is taken back.

use firstcome_proto::{
    Reason,
    user_v1::{
        DeleteAccountRequest, GetProfileRequest, Language, Profile, SignUpRequest, TokenPair,
        UpdateProfileRequest, UserState,
    },
};
use futures::future::join_all;
use prost_types::FieldMask;
use tonic::Status;

use super::harness::{PASSWORD, Shop, address, assert_refused};

const EAGER: &[&str] = &["--code-cooldown=0s"];

async fn get(shop: &Shop, tokens: &TokenPair) -> Result<Profile, Status> {
    let request = shop.by(tokens, GetProfileRequest {}).await;
    let answer = shop.profiles.clone().get_profile(request).await?;
    Ok(answer.into_inner().profile.expect("a profile"))
}

async fn update(
    shop: &Shop,
    tokens: &TokenPair,
    profile: Profile,
    paths: &[&str],
) -> Result<Profile, Status> {
    let paths = paths.iter().map(|&path| path.to_owned()).collect();
    let request =
        UpdateProfileRequest { profile: Some(profile), update_mask: Some(FieldMask { paths }) };
    let request = shop.by(tokens, request).await;
    let answer = shop.profiles.clone().update_profile(request).await?;
    Ok(answer.into_inner().profile.expect("a profile"))
}

async fn delete(shop: &Shop, tokens: &TokenPair, password: &str) -> Result<(), Status> {
    let request = shop.by(tokens, DeleteAccountRequest { password: password.into() }).await;
    shop.profiles.clone().delete_account(request).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_is_what_was_told() {
    let shop = Shop::open().await;
    let email = address();
    let tokens = shop.member(&email).await;
    let profile = get(&shop, &tokens).await.expect("a profile");
    assert_eq!(profile.user_id, shop.claims(&tokens.access_token).await.sub);
    assert!(profile.create_time.is_some());
    let want = Profile {
        email: email.clone(),
        name: "Ann".into(),
        phone: "+821012345678".into(),
        language: Language::English.into(),
        state: UserState::Active.into(),
        ..Profile::default()
    };
    let told = Profile { user_id: String::new(), create_time: None, ..profile };
    assert_eq!(told, want);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_replaced_sign_up_nothing_is_left() {
    let shop = Shop::open().await;
    let email = address();
    shop.sign_up(&email, "an0ther one").await.expect("a sign-up");
    let request = SignUpRequest {
        name: "Anna".into(),
        email: email.clone(),
        password: PASSWORD.into(),
        phone: "+15550100".into(),
    };
    let answer = shop.accounts.clone().sign_up(request).await.expect("a second sign-up");
    let token = answer.into_inner().sign_up_token;
    let code = shop.code(&email, 2).await;
    shop.verify_with(&email, &code, &token).await.expect("the newest code");
    let tokens = shop.log_in(&email, PASSWORD, "k").await.expect("a log-in").tokens;
    let profile = get(&shop, &tokens.expect("tokens")).await.expect("a profile");
    assert_eq!((profile.email, profile.name), (email, "Anna".into()));
    assert_eq!(profile.phone, "+15550100");
    let accounts = sqlx::query_scalar::<_, i64>("select count(*) from users");
    assert_eq!(accounts.fetch_one(&shop.database.pool).await.expect("a count"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_the_mask_names_is_set() {
    let shop = Shop::open().await;
    let tokens = shop.member(&address()).await;
    let before = get(&shop, &tokens).await.expect("a profile");
    let wanted = Profile {
        name: "안나".into(),
        phone: "+15550100".into(),
        greeting: "안녕하세요".into(),
        image_url: "https://example.com/ann.png".into(),
        language: Language::Korean.into(),
        email: "eve@example.com".into(),
        ..Profile::default()
    };
    let after = update(&shop, &tokens, wanted.clone(), &["greeting", "language"]).await;
    let after = after.expect("updated");
    let want =
        Profile { greeting: wanted.greeting.clone(), language: wanted.language, ..before.clone() };
    assert_eq!(after, want);
    assert_eq!(get(&shop, &tokens).await.expect("a profile"), want);

    for path in ["email", "user_id", "state", "create_time", "role", "name "] {
        let refused = update(&shop, &tokens, wanted.clone(), &["name", path]).await;
        let status = refused.as_ref().expect_err("a refusal");
        let refusal = firstcome_proto::Refusal::from_status(status);
        assert_eq!(refusal.violations[0].field, "update_mask", "{path}");
        assert_refused(refused, Reason::InvalidArgument);
    }
    assert_eq!(get(&shop, &tokens).await.expect("a profile"), want, "nothing is half-done");

    // In parallel each field is set, and none is set back.
    let fields = [["name"], ["phone"], ["image_url"]];
    for answer in
        join_all(fields.iter().map(|field| update(&shop, &tokens, wanted.clone(), field))).await
    {
        answer.expect("updated");
    }
    let silent = update(&shop, &tokens, Profile::default(), &["greeting"]).await.expect("updated");
    let want = Profile { email: want.email, greeting: String::new(), ..wanted };
    let told = Profile { user_id: String::new(), create_time: None, state: 0, ..silent };
    assert_eq!(told, want);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_account_leaves_nothing_and_frees_its_address() {
    let shop = Shop::open_with(EAGER).await;
    let email = address();
    let tokens = shop.member(&email).await;
    let other = shop.log_in(&email, PASSWORD, "other").await.expect("a log-in").tokens;
    assert_refused(delete(&shop, &tokens, "wr0ng-one!").await, Reason::BadCredentials);
    assert_refused(delete(&shop, &tokens, "").await, Reason::InvalidArgument);
    get(&shop, &tokens).await.expect("nothing is half-done");

    for answer in join_all((0..3).map(|_| delete(&shop, &tokens, PASSWORD))).await {
        answer.expect("deleted");
    }
    delete(&shop, &tokens, PASSWORD).await.expect("the answer was lost");
    let left = "select count(*) from users where state = 'DELETED' and password_hash = '!'
         and num_nonnulls(email, name, phone, email_sealed, email_index, name_sealed,
                          phone_sealed, greeting_sealed, image_url_sealed) = 0";
    let left = sqlx::query_scalar::<_, i64>(left).fetch_one(&shop.database.pool).await;
    assert_eq!(left.expect("a count"), 1);
    for tokens in [&tokens, &other.expect("tokens")] {
        assert_refused(shop.refresh(tokens).await, Reason::TokenRevoked);
        assert_refused(get(&shop, tokens).await, Reason::TokenRevoked);
        let late = update(&shop, tokens, Profile::default(), &["greeting"]).await;
        assert_refused(late, Reason::TokenRevoked);
    }
    assert_refused(shop.log_in(&email, PASSWORD, "k").await, Reason::BadCredentials);

    shop.sign_up(&email, "an0ther one").await.expect("a sign-up");
    let code = shop.code(&email, 2).await;
    shop.verify(&email, &code).await.expect("the mailed code");
    let again = shop.log_in(&email, "an0ther one", "first").await.expect("a log-in");
    assert_ne!(again.user_id, shop.claims(&tokens.access_token).await.sub);
    assert_refused(shop.refresh(&tokens).await, Reason::TokenRevoked);
}
