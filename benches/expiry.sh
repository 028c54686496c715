#!/usr/bin/env bash
# How late unpaid orders expire and their stock is for sale again.  benches/expiry.sh [RATE] [SECONDS]
#
# Question: how many seconds after its deadline is an order expired, when many are due at once? Prediction: below half a second, as the checkout
# looks at the deadlines four times a second. Every payment is declined, nobody pays again; then each order's history is read.
set -euo pipefail
cd "$(dirname "$0")/.."
rate="${1:-400}" seconds="${2:-10}"
. benches/support.sh
need curl jq

build
gateway
curl -sf -o /dev/null -X PUT "$provider/script" -H 'content-type: application/json' -d '[{"fault":"declined"}]'
export SOUK_PAYMENT_DEADLINE_MS=15000
shop --demo --demo-products 200
settle
sell_one_product 4096
target/release/souk load "$url" --tokens "$scratch/tokens.jsonl" --scenario flash-sale --product "$product" --rate "$rate" \
    --seconds "$seconds" >"$scratch/load" 2>&1 || true
sleep 20
admin="$(curl -s "$url/auth/login" -H 'content-type: application/json' \
    -d '{"email":"admin@demo.example","password":"souk-demo-password"}' | jq -r .access_token)"
after="" more=1
while [ -n "$more" ]; do
    curl -sf "$url/orders?stage=ended&limit=100$after" -H "authorization: Bearer $admin" >"$scratch/page"
    jq -c '.items[]' "$scratch/page" >>"$scratch/orders"
    more="$(jq -r '.next_cursor // empty' "$scratch/page")"
    after="&after=$more"
done
jq -s -r '
    def ms: capture("^(?<s>[^.Z]+)(\\.(?<f>[0-9]+))?Z$") | (.s + "Z" | fromdateiso8601) * 1000 + (((.f // "0") + "000")[0:3] | tonumber);
    (map(select(.status == "expired"))) as $expired
    | [$expired[] | (.history[] | select(.status == "expired").at | ms) - (.payment_deadline | ms)] | sort
    | "\(length) expired; late p50 \(.[length / 2 | floor]) ms, p99 \(.[length * 0.99 | floor]) ms, max \(.[-1]) ms"
' "$scratch/orders"
jq -r .status "$scratch/orders" | sort | uniq -c
curl -s "$url/products/$product/inventory" -H "authorization: Bearer $admin" | jq -r "\"still reserved: \(.reserved_quantity)\""
