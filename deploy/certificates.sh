#!/bin/sh
# Makes an authority that nobody else believes, and a certificate for each peer of the mesh, in this
# folder: authority.pem and .key, and for each peer <peer>/tls.crt, tls.key and ca.crt. What is
# there and good for another 30 days stays. For one machine: a cluster that sells has cert-manager.
#
#   deploy/certificates.sh FOLDER [UID]
#
# UID owns the files of the peers, when given.
set -eu
umask 077

folder=$1
owner=${2:-}
peers="edge user inventory order payment operator"
left_seconds=2592000

new_key() {
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null
}

mkdir -p "$folder"
if [ ! -s "$folder/authority.pem" ]; then
    new_key "$folder/authority.key"
    openssl req -x509 -new -sha256 -days 3650 -key "$folder/authority.key" \
        -subj "/CN=firstcome on this machine" \
        -addext "basicConstraints=critical,CA:TRUE,pathlen:0" \
        -addext "keyUsage=critical,keyCertSign" \
        -out "$folder/authority.pem.new"
    # Last: where there is a certificate, its key is there and fits.
    mv "$folder/authority.pem.new" "$folder/authority.pem"
fi

for peer in $peers; do
    at="$folder/$peer"
    mkdir -p "$at"
    if openssl x509 -in "$at/tls.crt" -checkend "$left_seconds" -noout >/dev/null 2>&1 &&
        openssl verify -CAfile "$folder/authority.pem" "$at/tls.crt" >/dev/null 2>&1; then
        continue
    fi
    name="$peer.firstcome.internal"
    printf '%s\n' "subjectAltName=DNS:$name" "basicConstraints=critical,CA:FALSE" \
        "keyUsage=critical,digitalSignature" "extendedKeyUsage=serverAuth,clientAuth" \
        >"$at/extensions"
    new_key "$at/tls.key"
    openssl req -new -sha256 -key "$at/tls.key" -subj "/CN=$name" -out "$at/request"
    openssl x509 -req -sha256 -days 90 -in "$at/request" -extfile "$at/extensions" \
        -CA "$folder/authority.pem" -CAkey "$folder/authority.key" \
        -set_serial "0x$(openssl rand -hex 16)" -out "$at/tls.crt" 2>/dev/null
    cp "$folder/authority.pem" "$at/ca.crt"
    rm "$at/request" "$at/extensions"
    if [ -n "$owner" ]; then
        chown -R "$owner" "$at"
    fi
    echo "certified $name"
done
