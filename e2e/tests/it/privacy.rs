//! What a shop must not let out: the whole of what its processes print, and everything that its
//! stores hold, are searched for one customer.

use std::time::Duration;

use firstcome_e2e::{
    Shop,
    member::{self, Member, code_in, code_of_mail, join_in, verify},
    shop::Terms,
};
use firstcome_local::{Role, Service};
use firstcome_proto::{
    address_v1::Address,
    order_v1::{OrderState, PayOrderRequest, pay_order_request::Destination},
    user_v1::{
        CreateAddressRequest, GetProfileRequest, Profile, RequestPasswordResetRequest,
        ResetPasswordRequest, SignUpRequest, UpdateProfileRequest,
        account_service_client::AccountServiceClient,
    },
};
use firstcome_testkit::eventually;
use fred::{
    clients::Client,
    interfaces::ClientLike as _,
    types::{ClusterHash, CustomCommand, Value, config::Config},
};
use sqlx::{AssertSqlSafe, PgPool, Row as _};

const PATIENCE: Duration = Duration::from_secs(60);
/// Words that nobody else uses, each in another field.
const NAME: &str = "Quillfeather Zzyzx";
const PHONE: &str = "+821098700099";
const GREETING: &str = "Hullaballoo";
const RECIPIENT: &str = "Drosselbart";
const LINE: &str = "77 Nachtigallenweg";
const CITY: &str = "Xanadupolis";
const NEW_PASSWORD: &str = "Other-secret-88";
const DEVICE: &str = "Quollphone";
const DAY: (Service, &str, &str) = (Service::Order, "FIRSTCOME_DAY", "500ms");

fn somewhere() -> Address {
    Address {
        recipient: RECIPIENT.into(),
        phone: PHONE.into(),
        line1: LINE.into(),
        line2: String::new(),
        city: CITY.into(),
        postal_code: "04784".into(),
        country_code: "KR".into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_customer_is_found_in_no_log_no_table_and_no_stream() {
    let log = "debug,h2=info,hyper=info,tower=info";
    let talkative = Service::ALL.map(|service| (service, "FIRSTCOME_LOG", log));
    let shop = Shop::own(&[&talkative[..], &[DAY]].concat()).await.unwrap();
    let sale = shop.sell(Terms::of(3)).await.unwrap();
    let email = format!("quillfeather{}", member::new_email());

    // A life with everything in it, mistakes included.
    let sign_up =
        SignUpRequest { name: NAME.into(), phone: PHONE.into(), ..member::sign_up(&email) };
    let mut accounts = AccountServiceClient::new(shop.channel.clone());
    let token = join_in(&shop, sign_up).await.unwrap();
    let code = code_of_mail(&shop, &email, 1).await;
    verify(&shop, &email, "000000", &token).await.ok();
    verify(&shop, &email, &code, &token).await.unwrap();
    let wrong = "Wrong-secret-77";
    Member::on_device(&shop, &email, wrong, DEVICE).await.map(drop).unwrap_err();
    let customer = Member::on_device(&shop, &email, member::PASSWORD, DEVICE).await.unwrap();
    let profile = Profile { greeting: GREETING.into(), ..Profile::default() };
    let update = UpdateProfileRequest {
        profile: Some(profile),
        update_mask: Some(prost_types::FieldMask { paths: vec!["greeting".into()] }),
    };
    customer.profiles().update_profile(customer.call(update)).await.unwrap();
    let home = CreateAddressRequest { idempotency_key: "home".into(), address: Some(somewhere()) };
    let home = customer.profiles().create_address(customer.call(home)).await.unwrap();
    let address_id = home.into_inner().address.unwrap().address_id;
    let faulty = Address { country_code: "nowhere".into(), ..somewhere() };
    let faulty = CreateAddressRequest { idempotency_key: "f".into(), address: Some(faulty) };
    customer.profiles().create_address(customer.call(faulty)).await.unwrap_err();

    let buyer = customer.buyer();
    let by_id = Destination::AddressId(address_id);
    let written = Destination::Address(somewhere());
    let cards = [(by_id, "pm_card_approve"), (written, "pm_card_decline")];
    let mut orders = Vec::new();
    for (destination, card) in cards {
        let order = buyer.buy(&sale, card).await.unwrap();
        let pay = PayOrderRequest {
            order_id: order.order_id.clone(),
            destination: Some(destination),
            payment_method: card.into(),
        };
        buyer.orders().pay_order(buyer.call(pay)).await.ok();
        orders.push(order.order_id);
    }
    buyer.order_in(&orders[0], OrderState::Confirmed).await.unwrap();
    let reset = RequestPasswordResetRequest { email: email.clone() };
    let asked = || async {
        let reset = member::from_anywhere(reset.clone());
        accounts.clone().request_password_reset(reset).await.is_ok()
    };
    eventually(Duration::from_secs(90), asked).await;
    let for_password = || customer.mails().iter().filter_map(|mail| code_in(mail)).nth(1);
    eventually(PATIENCE, || async { for_password().is_some() }).await;
    let for_password = for_password().unwrap();
    let reset = |code: &str| ResetPasswordRequest {
        email: email.clone(),
        code: code.to_owned(),
        new_password: NEW_PASSWORD.into(),
    };
    let guess = accounts.reset_password(member::from_anywhere(reset("CDFGHJKM"))).await;
    guess.map(drop).unwrap_err();
    accounts.reset_password(member::from_anywhere(reset(&for_password))).await.unwrap();
    let customer = Member::on_device(&shop, &email, NEW_PASSWORD, DEVICE).await.unwrap();
    let shipped = || async { customer.mails().len() >= 5 };
    eventually(PATIENCE, shipped).await;
    customer.profiles().get_profile(customer.call(GetProfileRequest {})).await.unwrap();

    let local_part = email.split('@').next().unwrap();
    let personal = [
        NAME,
        "Quillfeather",
        local_part,
        PHONE,
        &PHONE[1..],
        GREETING,
        RECIPIENT,
        LINE,
        CITY,
        DEVICE,
        &customer.address,
        wrong,
        member::PASSWORD,
        NEW_PASSWORD,
        &token,
        &for_password,
        &customer.tokens.access_token,
        &customer.tokens.refresh_token,
    ];
    let found = |place: &str, text: &str| {
        for word in personal {
            assert!(!text.contains(word), "{word:?} stands in {place}");
        }
    };
    // Six digits may stand in any number; by themselves they would be the code.
    let no_code = |place: &str, text: &str| {
        let mut words = text.split(|letter: char| !letter.is_ascii_alphanumeric());
        assert!(!words.any(|word| word == code), "the code of the sign-up stands in {place}");
    };
    for (name, text) in logs(&shop) {
        found(&name, &text);
        no_code(&name, &text);
    }
    let (mut seen, id) = (0, customer.user.to_string());
    for role in [Role::User, Role::Inventory, Role::Order, Role::Payment, Role::Sandbox] {
        for (table, row) in rows(&shop, role).await {
            found(&table, &row);
            seen += usize::from(row.contains(&id));
        }
    }
    assert!(seen > 5, "the customer's rows were among them");
    for (key, value) in redis(&shop).await {
        found(&key, &format!("{key} {value}"));
        no_code(&key, &value);
    }
}

/// Everything that the processes printed.
fn logs(shop: &Shop) -> Vec<(String, String)> {
    let files = std::fs::read_dir(&shop.mesh.address().logs).unwrap();
    let files = files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    let logs: Vec<_> = files
        .map(|path| {
            let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            (path.display().to_string(), text)
        })
        .collect();
    assert!(logs.len() >= Service::ALL.len(), "every service has a log");
    assert!(logs.iter().map(|(_, text)| text.len()).sum::<usize>() > 10_000, "they say much");
    logs
}

/// Every row of a schema, as text, and its bytes as text too.
pub async fn rows(shop: &Shop, role: Role) -> Vec<(String, String)> {
    let pool = PgPool::connect(shop.mesh.address().database_url(role)).await.unwrap();
    let tables = "select quote_ident(table_name) from information_schema.tables
        where table_schema = current_schema()";
    let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&pool).await.unwrap();
    assert!(tables.len() > 1, "{role:?} has tables");
    let mut all = Vec::new();
    for table in tables {
        let select = AssertSqlSafe(format!("select row_to_json(it)::text from {table} as it"));
        for row in sqlx::query(select).fetch_all(&pool).await.unwrap() {
            let text: String = row.get(0);
            let bytes = readable(&text);
            all.push((format!("{role:?}.{table}"), format!("{text} {bytes}")));
        }
    }
    all
}

#[test]
fn bytes_of_a_row_are_read_as_text() {
    assert!(readable(r#"{"name":"\\x5175696c6c66656174686572"}"#).contains("Quillfeather"));
}

/// What the hexadecimal parts of a row say when they are read as text.
fn readable(row: &str) -> String {
    let runs = row.split(|letter: char| !letter.is_ascii_hexdigit());
    let bytes = runs.filter(|run| run.len() >= 8 && run.len() % 2 == 0).map(|run| {
        let pairs = run.as_bytes().chunks_exact(2);
        let byte =
            |pair| std::str::from_utf8(pair).ok().and_then(|it| u8::from_str_radix(it, 16).ok());
        let bytes: Vec<u8> = pairs.filter_map(byte).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    });
    bytes.collect::<Vec<_>>().join(" ")
}

/// Every key of every node, with its value in words.
async fn redis(shop: &Shop) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for port in shop.mesh.stores().redis().unwrap().ports() {
        let config = Config::from_url(&format!("redis://127.0.0.1:{port}")).unwrap();
        let client = Client::new(config, None, None, None);
        client.init().await.unwrap();
        let ask = async |command: &'static str, args: Vec<&str>| -> Value {
            let command = CustomCommand::new_static(command, ClusterHash::FirstKey, false);
            let args: Vec<String> = args.into_iter().map(str::to_owned).collect();
            client.custom(command, args).await.unwrap_or(Value::Null)
        };
        for key in ask("KEYS", vec!["*"]).await.into_array() {
            let key = key.as_string().unwrap();
            // A replica has its primary's keys and shows none of them.
            let Some(kind) = ask("TYPE", vec![&key]).await.as_string() else { continue };
            let value = match kind.as_str() {
                "hash" => ask("HGETALL", vec![&key]).await,
                "stream" => ask("XRANGE", vec![&key, "-", "+"]).await,
                "zset" => ask("ZRANGE", vec![&key, "0", "-1"]).await,
                "set" => ask("SMEMBERS", vec![&key]).await,
                _ => ask("GET", vec![&key]).await,
            };
            all.push((key, format!("{value:?}")));
        }
        client.quit().await.ok();
    }
    assert!(all.len() > 3, "the cluster holds something");
    all
}
