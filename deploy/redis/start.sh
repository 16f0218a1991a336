#!/bin/sh
# One node of the Redis Cluster, in a container: its address changes with each start, its name does
# not. The first argument is that name.
set -eu

address=$(hostname -i | cut -d ' ' -f 1)
# What is here is expendable, and AOF makes losing it rare. The loss of one shard stops no other. A
# replica is fed at once. What nobody evicts cannot start too low again.
exec redis-server --port 6379 --dir /data \
    --cluster-enabled yes --cluster-node-timeout 5000 --cluster-require-full-coverage no \
    --cluster-announce-ip "$address" --cluster-announce-hostname "$1" \
    --appendonly yes --appendfsync everysec --save "" \
    --maxmemory-policy noeviction --repl-diskless-sync-delay 0 --enable-debug-command no
