#!/bin/sh
# From nothing to a bought pair: a cluster of kind (https://kind.sigs.k8s.io), images built and
# loaded, stores, schemas, services, and one purchase through the edge. It wants docker, kind,
# kubectl, openssl and grpcurl. A second run goes on with what is there; `kind delete cluster
# --name firstcome` ends it.
set -eu
cd "$(dirname "$0")/../.."

version=0.1.0
overlay=deploy/k8s/overlays/kind
services="user inventory order payment edge"
admin=admin@firstcome.example
# Known to everybody, as all of this overlay is.
password=Tried-on-one-machine-1

firstcome() {
    kubectl --context kind-firstcome --namespace firstcome "$@"
}

for wanted in docker kind kubectl openssl grpcurl; do
    command -v "$wanted" >/dev/null || { echo "want $wanted on PATH" >&2; exit 69; }
done

if ! kind get clusters | grep -qx firstcome; then
    kind create cluster --config "$overlay/cluster.yaml" --wait 120s
fi
images=
for service in $services; do
    docker build --file deploy/Dockerfile --target service \
        --build-arg "BIN=firstcome-$service" --tag "firstcome/$service:$version" .
    images="$images firstcome/$service:$version"
done
# shellcheck disable=SC2086 # one word for each image
kind load docker-image --name firstcome $images

echo "stores ..."
# A Job's template cannot be changed, and these may be run again.
firstcome delete job --all --ignore-not-found >/dev/null 2>&1 || true
kubectl --context kind-firstcome apply -k "$overlay/stores"
deploy/certificates.sh .dev/kind/certificates
for service in $services; do
    at=.dev/kind/certificates/$service
    firstcome create secret generic "$service-tls" --dry-run=client --output=yaml \
        --from-file="$at/tls.crt" --from-file="$at/tls.key" --from-file="$at/ca.crt" |
        firstcome apply -f -
done
firstcome rollout status statefulset/postgres --timeout=300s
firstcome rollout status statefulset/redis --timeout=300s
firstcome wait --for=condition=complete --timeout=300s job/postgres-init job/redis-init

echo "schemas ..."
kubectl --context kind-firstcome apply -k "$overlay/migrate"
firstcome wait --for=condition=complete --timeout=300s \
    --selector app.kubernetes.io/component=migration job

echo "services ..."
# Of those that run already nothing has changed but what is behind their tag.
# shellcheck disable=SC2086 # one word for each service
running=$(firstcome get deployment --ignore-not-found --output name $services)
kubectl --context kind-firstcome apply -k "$overlay"
# shellcheck disable=SC2086 # one word for each deployment
[ -z "$running" ] || firstcome rollout restart $running
for service in $services; do
    firstcome rollout status "deployment/$service" --timeout=300s
done

echo "a purchase ..."
firstcome exec deployment/user -- /firstcome create-admin --email "$admin" --password "$password"
firstcome exec deployment/user -- \
    /firstcome seed --development --count 1 --prefix kind --out /dev/null
ADMIN_EMAIL=$admin ADMIN_PASSWORD=$password \
    BUYER_EMAIL=kind-0@seed.firstcome.example BUYER_PASSWORD=Seeded-buyer-1 \
    deploy/buy.sh 127.0.0.1:8080
echo "the shop is at http://127.0.0.1:8080; its operator is $admin, password $password"
