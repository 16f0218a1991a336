//! Overlays of Kubernetes.

use firstcome_deployment::{DEPLOYMENTS, manifests::Manifests};
use serde_json::{Value as Json, json};

use super::copies::{assert_found, container, env, faults, object, rendered};

#[test]
fn what_is_committed_is_in_order() {
    for (name, _) in DEPLOYMENTS {
        let Some(manifests) = rendered(name) else { return };
        assert_eq!(faults(&manifests), Vec::<String>::new(), "{name}");
    }
}

/// What is wrong, how it is made, and what its fault says.
type Break = (&'static str, fn(&mut Manifests), &'static [&'static str]);

#[track_caller]
fn check(deployment: &str, breaks: &[Break]) {
    let Some(whole) = rendered(deployment) else { return };
    for (what, spoil, parts) in breaks {
        let mut copy = whole.clone();
        spoil(&mut copy);
        assert_ne!(copy, whole, "{what} changes nothing");
        println!("{what}");
        assert_found(&faults(&copy), parts);
    }
}

fn order(copy: &mut Manifests) -> &mut Json {
    object(copy, "Deployment", "order")
}

fn remove_variable(container: &mut Json, name: &str) {
    env(container).retain(|variable| variable["name"] != name);
}

fn set_variable(container: &mut Json, name: &str, value: &str) {
    remove_variable(container, name);
    env(container).push(json!({ "name": name, "value": value }));
}

#[test]
fn a_cluster_would_refuse_or_drop_it() {
    check(
        "kind",
        &[
            (
                "a misspelt field",
                |copy| order(copy)["spec"]["minReadySecond"] = json!(3),
                &["Deployment order", "minReadySecond"],
            ),
            (
                "a field a level too high",
                |copy| container(order(copy))["httpGet"] = json!({ "port": 1 }),
                &["Deployment order", "httpGet"],
            ),
            (
                "a number that is a word",
                |copy| container(order(copy))["ports"][0]["containerPort"] = json!("9103"),
                &["Deployment order", "containerPort"],
            ),
            (
                "a required field that is missing",
                |copy| drop(order(copy)["spec"].as_object_mut().unwrap().remove("selector")),
                &["Deployment order", "selector"],
            ),
            (
                "a kind that nobody knows",
                |copy| object(copy, "NetworkPolicy", "names")["kind"] = json!("NetworkPolicies"),
                &["NetworkPolicies", "no schema"],
            ),
            (
                "an old version of a kind",
                |copy| order(copy)["apiVersion"] = json!("apps/v1beta1"),
                &["apps/v1beta1 Deployment", "no schema"],
            ),
            (
                "a variable that is set twice",
                |copy| {
                    let container = container(order(copy));
                    let first = env(container)[0].clone();
                    env(container).push(first);
                },
                &["Deployment order", "twice"],
            ),
        ],
    );
    check(
        "production",
        &[(
            "a misspelt field of a custom kind",
            |copy| object(copy, "Certificate", "order")["spec"]["renewbefore"] = json!("720h"),
            &["Certificate order", "renewbefore"],
        )],
    );
}

#[test]
fn a_program_would_not_start_or_not_know_it() {
    check(
        "kind",
        &[
            (
                "a variable that does not exist",
                |copy| set_variable(container(order(copy)), "FIRSTCOME_STEP_LEESE", "10s"),
                &["Deployment order", "reads no FIRSTCOME_STEP_LEESE"],
            ),
            (
                "a variable of another service",
                |copy| set_variable(container(order(copy)), "FIRSTCOME_INDEX_KEY", "ab"),
                &["Deployment order", "reads no FIRSTCOME_INDEX_KEY"],
            ),
            (
                "a required one that is missing",
                |copy| remove_variable(container(order(copy)), "FIRSTCOME_USER_ENDPOINT"),
                &["Deployment order", "--user-endpoint"],
            ),
            (
                "a required one that a migration misses",
                |copy| {
                    let job = object(copy, "Job", "migrate-user");
                    remove_variable(container(job), "FIRSTCOME_INDEX_KEY");
                },
                &["Job migrate-user", "--index-key"],
            ),
            (
                "a value that is refused",
                |copy| set_variable(container(order(copy)), "FIRSTCOME_DAY", "90d"),
                &["Deployment order", "--day must be"],
            ),
            (
                "a provider without what it needs",
                |copy| {
                    let payment = container(object(copy, "Deployment", "payment"));
                    remove_variable(payment, "FIRSTCOME_SANDBOX_DATABASE_URL");
                },
                &["Deployment payment", "--sandbox-database-url"],
            ),
            (
                "a command that does not exist",
                |copy| container(order(copy))["args"] = json!(["server"]),
                &["firstcome-order has no command"],
            ),
            (
                "a key that its secret has not",
                |copy| {
                    let secret = &mut object(copy, "Secret", "order")["data"];
                    secret.as_object_mut().unwrap().remove("data-keys");
                },
                &["Deployment order", "Secret order has no data-keys"],
            ),
            (
                "a key of the wrong form",
                |copy| object(copy, "Secret", "order")["data"]["data-keys"] = json!("MTphYg=="),
                &["Deployment order", "--data-keys"],
            ),
        ],
    );
}

#[test]
fn nobody_would_find_it_there() {
    check(
        "kind",
        &[
            (
                "a program that listens on another port",
                |copy| set_variable(container(order(copy)), "FIRSTCOME_LISTEN", "0.0.0.0:9203"),
                &["Deployment order", "9203", "no containerPort"],
            ),
            (
                "figures that are asked for at another port",
                |copy| {
                    let template = &mut order(copy)["spec"]["template"]["metadata"];
                    template["annotations"]["prometheus.io/port"] = json!("9103");
                },
                &["Deployment order", "prometheus.io/port", "want 9100"],
            ),
            (
                "nobody who asks is let in",
                |copy| {
                    let policy = object(copy, "NetworkPolicy", "monitoring");
                    policy["spec"]["ingress"][0]["ports"][0]["port"] = json!(9101);
                },
                &["no NetworkPolicy monitoring lets whoever asks firstcome-order in"],
            ),
            (
                "a caller that is told another port",
                |copy| {
                    let edge = container(object(copy, "Deployment", "edge"));
                    set_variable(edge, "FIRSTCOME_ORDER_ENDPOINT", "http://order:9104");
                },
                &["Deployment edge", "Service order has no port 9104"],
            ),
            (
                "a caller that is told another service",
                |copy| {
                    let edge = container(object(copy, "Deployment", "edge"));
                    set_variable(edge, "FIRSTCOME_ORDER_ENDPOINT", "http://payment:9104");
                },
                &["Deployment edge", "Service payment does not select firstcome-order"],
            ),
            (
                "a service that leads nowhere",
                |copy| {
                    object(copy, "Service", "order")["spec"]["ports"][0]["targetPort"] =
                        json!("gprc");
                },
                &["Service order", "gprc"],
            ),
            (
                "a policy for another port",
                |copy| {
                    let policy = object(copy, "NetworkPolicy", "order");
                    policy["spec"]["ingress"][0]["ports"][0]["port"] = json!(9104);
                },
                &["Deployment edge", "firstcome-order in"],
            ),
            (
                "a caller that no policy lets out",
                |copy| object(copy, "NetworkPolicy", "edge")["spec"]["egress"] = json!([]),
                &["Deployment edge", "leave"],
            ),
            (
                "a policy that denies nothing",
                |copy| {
                    let policy = object(copy, "NetworkPolicy", "deny-all");
                    policy["spec"]["policyTypes"] = json!(["Ingress"]);
                },
                &["deny-all"],
            ),
        ],
    );
}

/// Lets the lookup of names come with another stage.
fn bring_names_with(copy: &mut Manifests, stage: usize) {
    let place = copy.objects.iter().position(|object| object["metadata"]["name"] == "names");
    copy.stages[place.unwrap()] = stage;
}

fn forget_label(copy: &mut Manifests, job: &str, label: &str) {
    let template = &mut object(copy, "Job", job)["spec"]["template"];
    template["metadata"]["labels"].as_object_mut().unwrap().remove(label);
}

#[test]
fn what_runs_before_the_services_would_reach_nobody() {
    check(
        "kind",
        &[
            (
                "names that come with the services",
                |copy| bring_names_with(copy, 2),
                &["Job postgres-init", "look names up by UDP 53"],
            ),
            (
                "the same, for the nodes of a cluster that introduce themselves",
                |copy| bring_names_with(copy, 2),
                &["StatefulSet redis", "look names up by UDP 53"],
            ),
            (
                "names that fit into a datagram only",
                |copy| {
                    let policy = object(copy, "NetworkPolicy", "names");
                    policy["spec"]["egress"][0]["ports"].as_array_mut().unwrap().pop();
                },
                &["Job migrate-order", "look names up by TCP 53"],
            ),
            (
                "names that are looked up in another namespace",
                |copy| {
                    let peer = &mut object(copy, "NetworkPolicy", "names")["spec"]["egress"][0];
                    let namespace = &mut peer["to"][0]["namespaceSelector"]["matchLabels"];
                    namespace["kubernetes.io/metadata.name"] = json!("default");
                },
                &["Job redis-init", "look names up by UDP 53"],
            ),
            (
                "a migration that does not say that it uses Postgres",
                |copy| forget_label(copy, "migrate-user", "uses-postgres"),
                &["Job migrate-user", "reach postgres"],
            ),
            (
                "a Job that does not say that it uses Redis",
                |copy| forget_label(copy, "redis-init", "uses-redis"),
                &["Job redis-init", "reach redis"],
            ),
            (
                "a store that lets nobody in",
                |copy| {
                    let policy = object(copy, "NetworkPolicy", "postgres");
                    policy["spec"]["ingress"] = json!([]);
                },
                &["Job postgres-init", "reach postgres"],
            ),
        ],
    );
    check(
        "production",
        &[
            (
                "names that come with the services",
                |copy| bring_names_with(copy, 1),
                &["Job migrate-user", "look names up by UDP 53"],
            ),
            (
                "a store that listens elsewhere",
                |copy| {
                    let policy = object(copy, "NetworkPolicy", "uses-postgres");
                    policy["spec"]["egress"][0]["ports"][0]["port"] = json!(6432);
                },
                &["Job migrate-user", "reach postgres"],
            ),
        ],
    );
}

#[test]
fn it_would_be_killed_or_cut_or_take_too_much() {
    check(
        "kind",
        &[
            (
                "a probe of the wrong port",
                |copy| {
                    container(order(copy))["livenessProbe"]["grpc"]["port"] = json!(9103);
                },
                &["Deployment order", "livenessProbe asks port 9103"],
            ),
            (
                "a probe of another service",
                |copy| {
                    container(order(copy))["readinessProbe"]["grpc"]["service"] =
                        json!("firstcome-payment");
                },
                &["Deployment order", "readinessProbe asks for \"firstcome-payment\""],
            ),
            (
                "a liveness that a store decides",
                |copy| {
                    container(order(copy))["livenessProbe"]["grpc"]["service"] =
                        json!("firstcome-order");
                },
                &["Deployment order", "livenessProbe asks for"],
            ),
            (
                "a drain that is longer than the grace",
                |copy| set_variable(container(order(copy)), "FIRSTCOME_DRAIN_TIMEOUT", "40s"),
                &["Deployment order", "grace is 30s", "48s"],
            ),
            (
                "an end that callers have not heard of",
                |copy| set_variable(container(order(copy)), "FIRSTCOME_DRAIN_WAIT", "1s"),
                &["Deployment order", "FIRSTCOME_DRAIN_WAIT is 1s"],
            ),
            (
                "another's certificate",
                |copy| {
                    let volumes = &mut order(copy)["spec"]["template"]["spec"]["volumes"];
                    volumes[0]["secret"]["secretName"] = json!("edge-tls");
                },
                &["Deployment order", "want secret order-tls"],
            ),
            (
                "an image that is another one tomorrow",
                |copy| container(order(copy))["image"] = json!("firstcome/order:latest"),
                &["Deployment order", "names no version"],
            ),
            (
                "a spread that ends where nodes have no zones",
                |copy| {
                    let pod = &mut order(copy)["spec"]["template"]["spec"];
                    let spread = pod["topologySpreadConstraints"].as_array_mut().unwrap();
                    let mut zones = spread[0].clone();
                    zones["topologyKey"] = json!("topology.kubernetes.io/zone");
                    spread.push(zones);
                },
                &["Deployment order", "topology.kubernetes.io/zone", "end its spread"],
            ),
            (
                "a node of Redis that nobody would be introduced to",
                |copy| {
                    let redis = container(object(copy, "StatefulSet", "redis"));
                    redis["command"].as_array_mut().unwrap().pop();
                },
                &["StatefulSet redis", "told of", "redis-5.redis"],
            ),
            (
                "more replicas than Postgres has connections for",
                |copy| {
                    let scaler = object(copy, "HorizontalPodAutoscaler", "order");
                    scaler["spec"]["maxReplicas"] = json!(9);
                },
                &["pools want", "of 300", "firstcome-order 12 x 10"],
            ),
            (
                "a larger pool",
                |copy| {
                    let container = container(object(copy, "Deployment", "user"));
                    set_variable(container, "FIRSTCOME_DATABASE_CONNECTIONS", "32");
                },
                &["pools want", "firstcome-user 32 x 7"],
            ),
        ],
    );
}
