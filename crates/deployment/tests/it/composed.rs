//! The compose file.

use std::fs;

use firstcome_deployment::{
    CLUSTER_SCRAPE_FILE, RULES_FILE, SCRAPE_FILE,
    compose::{self, Compose},
    scrape,
};
use firstcome_local::{Checkout, Service};
use serde_json::{Value as Json, json};

use super::copies::{assert_found, composed, programs};

fn faults(compose: &Compose) -> Vec<String> {
    compose::faults(compose, programs())
}

#[test]
fn what_is_committed_is_in_order() {
    assert_eq!(faults(&composed()), Vec::<String>::new());
}

/// How user's part is spoiled, and what its fault says.
type Break = (fn(&mut Json), &'static [&'static str]);

#[test]
fn what_is_wrong_is_found() {
    let breaks: [Break; 11] = [
        (|user| user["comand"] = json!(["serve"]), &["user", "comand"]),
        (|user| user["restart"] = json!(1), &["user", "restart"]),
        (
            |user| user["environment"]["FIRSTCOME_CODE_TTLS"] = json!("3m"),
            &["user: ", "reads no FIRSTCOME_CODE_TTLS"],
        ),
        (
            |user| {
                user["environment"].as_object_mut().unwrap().remove("FIRSTCOME_INDEX_KEY");
            },
            &["user: ", "--index-key"],
        ),
        (
            |user| user["environment"]["FIRSTCOME_LISTEN"] = json!("0.0.0.0:9109"),
            &["edge: http://user:9101 does not lead to firstcome-user"],
        ),
        (|user| user["build"]["args"]["BIN"] = json!("firstcome-edge"), &["user: ", "BIN="]),
        (|user| user["image"] = json!("firstcome/user"), &["user: ", "names no version"]),
        (|user| user["volumes"] = json!(["user-tsl:/tls:ro"]), &["user: ", "volume user-tsl"]),
        (|user| user["volumes"] = json!([]), &["user: ", "FIRSTCOME_TLS_KEY", "no volume"]),
        (
            |user| user["healthcheck"]["test"] = json!(["CMD", "true"]),
            &["user: its health is not asked"],
        ),
        (
            |user| user["environment"]["FIRSTCOME_DATABASE_CONNECTIONS"] = json!("80"),
            &["pools want", "of 100"],
        ),
    ];
    for (spoil, parts) in breaks {
        let mut copy = composed();
        spoil(&mut copy.0["services"]["user"]);
        assert_found(&faults(&copy), parts);
    }
}

#[test]
fn whoever_is_waited_for_must_be_there() {
    let mut copy = composed();
    copy.0["services"].as_object_mut().unwrap().remove("mail");
    assert_found(&faults(&copy), &["user: it waits for mail"]);
}

#[test]
fn every_node_of_redis_is_told_of_all() {
    let mut copy = composed();
    copy.0["services"]["redis-3"]["command"].as_array_mut().unwrap().pop();
    assert_found(&faults(&copy), &["redis-3: told of", "want", "redis-6"]);
}

#[test]
fn an_image_of_no_program_is_not_built() {
    let dockerfile = Checkout::here().root().join("deploy/Dockerfile");
    let dockerfile = fs::read_to_string(dockerfile).unwrap();
    assert!(dockerfile.contains("${BIN:?"), "BIN without a value ends the build");
    assert!(!dockerfile.contains("${BIN}"), "BIN is looked at once");
}

fn read(file: &str) -> String {
    fs::read_to_string(Checkout::here().root().join(file)).unwrap()
}

#[test]
fn prometheus_asks_often_enough_for_every_rule() {
    let rules = read(RULES_FILE);
    let asked =
        |text: &str, rules: &str| scrape::faults_of_intervals(&scrape::read(text).unwrap(), rules);
    let interval = "scrape_interval: 5s";
    for file in [SCRAPE_FILE, CLUSTER_SCRAPE_FILE] {
        let text = read(file);
        assert_eq!(asked(&text, &rules), Vec::<String>::new(), "{file}");
        // Nobody says, and Prometheus asks once a minute.
        let silent = text.replace(interval, "sample_limit: 0");
        assert_found(&asked(&silent, &rules), &["asks every 60s", "looks at 60s"]);
        let seldom = text.replace(interval, "scrape_interval: 16s");
        assert_found(&asked(&seldom, &rules), &["asks every 16s"]);
        assert_found(&asked(&text, &rules.replace("[1m]", "[15s]")), &["looks at 15s"]);
    }
    assert_found(&asked(&read(SCRAPE_FILE), "groups: []"), &["no rule"]);
}

#[test]
fn what_prometheus_asks_is_answered() {
    let text = read(SCRAPE_FILE);
    let asked = |text: &str| scrape::faults(&scrape::read(text).unwrap(), &composed(), programs());
    assert_eq!(asked(&text), Vec::<String>::new());
    for (from, to, parts) in [
        ("user:9100", "user:9101", ["job user", "nobody answers at user:9101"]),
        ("user:9100", "order:9100", ["job user", "order:9100 is firstcome-order"]),
        ("job_name: user", "job_name: users", ["job users", "is firstcome-user"]),
        ("[\"user:9100\"]", "[]", ["no job asks", "firstcome-user"]),
    ] {
        assert_found(&asked(&text.replace(from, to)), &parts);
    }
}

#[test]
fn every_program_is_built_into_an_image() {
    let dockerfile = Checkout::here().root().join("deploy/Dockerfile");
    let dockerfile = fs::read_to_string(dockerfile).unwrap();
    for service in Service::ALL {
        for wanted in [format!("--package {service}"), format!("target/release/{service}")] {
            assert!(dockerfile.contains(&wanted), "{wanted}");
        }
    }
}
