#!/bin/sh
# One node of the Redis Cluster, in a container: its address changes with each start, its name does
# not. The first argument is that name, and all together are the names of the whole cluster.
set -eu

name=$1

# Nodes look for each other under the addresses of before. When several come back at once, each may
# have the address of another: they take each other for strangers, forget the address (`noaddr`),
# and send clients to port 0, for good. So whoever comes back introduces itself to everybody, until
# it knows all by the addresses that they have now; the last to come is the last to be introduced.
introduce() {
    # Two minutes: a node that is away for longer introduces itself when it comes.
    for _ in $(seq 120); do
        sleep 1
        table=$(redis-cli cluster nodes 2>/dev/null) || continue
        strangers=0
        for member in "$@"; do
            address=$(getent ahosts "$member" | head -n 1 | cut -d ' ' -f 1)
            if ! echo "$table" | grep -q " $address:6379@16379,$member "; then
                strangers=$((strangers + 1))
                [ -z "$address" ] || redis-cli cluster meet "$address" 6379 >/dev/null || true
            fi
        done
        [ "$strangers" -gt 0 ] || break
    done
}

# A node that knows nobody yet is form.sh's to bring in.
if [ -s /data/nodes.conf ] && [ "$(grep -c ':6379@' /data/nodes.conf)" -gt 1 ]; then
    introduce "$@" &
fi

address=$(hostname -i | cut -d ' ' -f 1)
# What is here is expendable, and AOF makes losing it rare. The loss of one shard stops no other. A
# replica is fed at once. What nobody evicts cannot start too low again. Whoever is let through to it
# needs no password: said here, since some builds of Redis let nobody in by default and others all.
exec redis-server --port 6379 --dir /data \
    --cluster-enabled yes --cluster-node-timeout 5000 --cluster-require-full-coverage no \
    --cluster-announce-ip "$address" --cluster-announce-hostname "$name" \
    --appendonly yes --appendfsync everysec --save "" \
    --maxmemory-policy noeviction --repl-diskless-sync-delay 0 --enable-debug-command no \
    --protected-mode no
