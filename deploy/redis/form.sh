#!/bin/sh
# Makes one cluster of the nodes whose names are its arguments, three primaries with a replica each,
# unless they are one already, and waits until it is whole. Run it as often as you like.
set -eu

ask() {
    host=$1
    shift
    redis-cli -h "$host" -p 6379 "$@"
}

address() {
    getent ahosts "$1" | head -n 1 | cut -d ' ' -f 1
}

# Until a condition holds, at most a minute.
wait_until() {
    left=120
    until "$@"; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || { echo "gave up: $*" >&2; exit 1; }
        sleep 0.5
    done
}

answers() {
    [ "$(ask "$1" ping 2>/dev/null)" = PONG ]
}

# Says that every slot is served by somebody known, and knows nobody under an address of before.
whole() {
    table=$(ask "$1" cluster nodes)
    for member in $members; do
        echo "$table" | grep -q " $(address "$member"):6379@16379,$member " || return 1
    done
    info=$(ask "$1" cluster info | tr -d '\r')
    for line in cluster_state:ok cluster_slots_ok:16384 "cluster_known_nodes:$nodes"; do
        echo "$info" | grep -qx "$line" || return 1
    done
}

nodes=$#
members=$*
for node in "$@"; do
    wait_until answers "$node"
done

first=$1
known=$(ask "$first" cluster info | tr -d '\r' | sed -n 's/^cluster_known_nodes://p')
# Those that know each other introduce themselves when they come back (start.sh).
if [ "$known" -eq 1 ]; then
    addresses=
    for node in "$@"; do
        addresses="$addresses $(address "$node"):6379"
    done
    # shellcheck disable=SC2086 # one word for each node
    redis-cli --cluster create $addresses --cluster-replicas 1 --cluster-yes
fi

for node in "$@"; do
    wait_until whole "$node"
done
echo "the cluster of $nodes nodes is whole"
