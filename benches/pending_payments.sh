#!/usr/bin/env bash
# What payments that wait for a slow provider cost everybody else.  benches/pending_payments.sh [RATE] [SECONDS]
#
# Question: does the provider's latency lower how many orders are under way, grow the memory, or slow other customers down? Prediction: no;
# a payment that waits is two connections (its customer's, and one to the provider) and a task, and holds no place among the requests at work. The same two loads (orders at a
# fixed rate, pages beside them) with a provider that answers at once, in 200 ms, in 4 s, and at once again: what the memory has grown by
# then is due to the orders. The first run fills the caches and is not shown. Every paid order is looked at again afterwards.
set -euo pipefail
cd "$(dirname "$0")/.."
rate="${1:-300}" seconds="${2:-20}"
. benches/support.sh
need curl jq

build
gateway
shop --demo --demo-products 200
settle
# A customer buys one thing at a time.
sell_one_product 4096

gauge() { curl -s "$url/metrics" | sed -n "s/^$1 //p"; }
load() {
    local report="$1"
    shift
    target/release/souk load "$url" --json "$scratch/$report.json" "$@" >"$scratch/$report" 2>&1 ||
        { cat "$scratch/$report" >&2; exit 1; }
}
p99() { jq -r --arg kind "$2" '[.rows[] | select(.kind == $kind and .done > 0)][0].p99_ms * 10 | round / 10' "$scratch/$1.json"; }

printf '\n| the provider takes | paid orders | most payments waiting | cart p99 | checkout p99 | page p99 (ms) | memory before, most (MB) |\n|---|---|---|---|---|---|---|\n'
is_warm=
for latency in 0 0 200 4000 0; do
    curl -sf -o /dev/null -X PUT "$provider/script" -H 'content-type: application/json' -d "[{\"latency_ms\":$latency}]"
    before=$(gauge process_resident_memory_bytes) most=0 memory=0
    load orders --tokens "$scratch/tokens.jsonl" --scenario flash-sale --product "$product" --rate "$rate" --seconds "$seconds" &
    orders=$!
    load pages --scenario browse --rate 500 --seconds "$seconds" --users 1 &
    pages=$!
    while kill -0 "$orders" 2>/dev/null; do
        waiting=$(gauge souk_provider_requests_in_flight) bytes=$(gauge process_resident_memory_bytes)
        [ "${waiting:-0}" -gt "$most" ] && most=$waiting
        [ "${bytes:-0}" -gt "$memory" ] && memory=$bytes
        sleep 0.25
    done
    wait "$orders" "$pages"
    paid="$(jq -r '[.rows[] | select(.kind == "payment")][0].done' "$scratch/orders.json")"
    [ -n "$is_warm" ] || { is_warm=1; continue; }
    echo "| $latency ms | $paid | $most | $(p99 orders add-to-cart) | $(p99 orders checkout) | $(p99 pages page) | $((before / 1000000)), $((memory / 1000000)) |"
done
curl -s "$provider/ledger" | jq -r '[.[] | select(.declined == null)] | (map(.key) | unique | length) as $keys | "ledger: \(length) charges under \($keys) keys"'
