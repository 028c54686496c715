#!/usr/bin/env bash
# How fast whole paid orders of one product are over HTTP, the generator beside the shop.  benches/paid_orders.sh [RUNS]
#
# Question: are there 2,168 paid orders a second flat out, and is every request's p99 within 10 ms at 1,000 a second? Prediction: some runs on
# two cores are, as neighbours allow. In turns, because how fast a machine is changes by the hour; each run prints a line. Every paid
# order is looked at again afterwards.
set -euo pipefail
cd "$(dirname "$0")/.."
runs="${1:-5}"
. benches/support.sh
need curl jq

cargo build --release --locked --quiet --bin souk
target/release/souk --version
shop --demo --demo-products 200
settle
sell_one_product

load() {
    target/release/souk load "$url" --tokens "$scratch/tokens.jsonl" --scenario flash-sale --product "$product" \
        --json "$scratch/report.json" "$@" >"$scratch/load" 2>&1 || { cat "$scratch/load" >&2; exit 1; }
}
# One line: the rate of paid orders, and of each request p99 and p99.9.
show() {
    jq -r --arg run "$1" --arg how "$2" '
        (.rows | map(select(.done > 0))) as $rows
        | "| \($run) | \($how) | \([$rows[] | select(.kind == "payment")][0].per_second | round) | "
        + ([$rows[] | "\(.kind) \(.p99_ms * 10 | round / 10) / \(.p999_ms | round)"] | join(", ")) + " |"
    ' "$scratch/report.json"
}

printf '\n| run | how | paid orders/s | p99 / p99.9 in ms |\n|---|---|---|---|\n'
for run in $(seq "$runs"); do
    load --callers 16 --seconds 8
    show "$run" 'flat out, 16 callers'
    load --rate 1000 --seconds 10
    show "$run" '1,000/s'
done
