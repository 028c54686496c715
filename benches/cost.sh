#!/usr/bin/env bash
# What one operation costs the shop: processor time, bytes of the log, of the state and of the answer.  benches/cost.sh [SECONDS]
#
# The processor time is what the kernel counted for the shop's process, checkpoints and read models included, divided by the
# operations that wrk and souk load counted. Rates are far below what the shop can do, so that nothing queues. docs/CAPACITY.md
# is calculated from it.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds="${1:-20}"
. benches/support.sh
need wrk curl

ticks() { awk '{ print $14 + $15 }' "/proc/$pid/stat"; }
log_bytes() { curl -s "$url/metrics" | awk '/^souk_journal_bytes_total/ { print $2 }'; }
syncs() { curl -s "$url/metrics" | awk '/^souk_journal_batches_total/ { print $2 }'; }
state_bytes() { du -sb "$scratch/shop/journal/state" | cut -f1; }
# Runs a load, and says how many ticks of the processor the shop took meanwhile.
spent() {
    local before; before="$(ticks)"
    "$@" >"$scratch/load" 2>&1 || { cat "$scratch/load" >&2; exit 1; }
    echo $(($(ticks) - before))
}
per() { awk -v all="$1" -v count="$2" -v scale="$3" 'BEGIN { printf "%.3f", all * scale / count }'; }
# A tick of the processor's clock.
milliseconds=$((1000 / $(getconf CLK_TCK)))

cargo build --release --locked --quiet --bin souk
target/release/souk --version
shop --demo --demo-products 20000
settle
printf '\n| read | processor, ms | answer, bytes | measured over |\n|---|---|---|---|\n'
read_cost() {
    local ticks requests bytes
    ticks="$(spent wrk -t1 -c8 -d "${seconds}s" "$url$2")"
    requests="$(awk '/requests in/ { print $1 }' "$scratch/load")"
    bytes="$(curl -s -i "$url$2" | wc -c)"
    printf '| %s | %s | %s | %s requests |\n' "$1" "$(per "$ticks" "$requests" "$milliseconds")" "$bytes" "$requests"
}
read_cost 'product page' /products/demo-000007
read_cost 'search, 20 hits with facets' '/products?q=wireless%20headphones'

sell_one_product
rate=200
log="$(log_bytes)" syncs="$(syncs)" state="$(state_bytes)"
ticks="$(spent target/release/souk load "$url" --tokens "$scratch/tokens.jsonl" --scenario flash-sale \
    --product "$product" --rate "$rate" --seconds "$seconds")"
orders=$((rate * seconds))
log=$(($(log_bytes) - log)) syncs=$(($(syncs) - syncs))
# Until the checkpoint after the load, the state has not all of it.
settle
printf '\n| a paid order: cart, checkout, payment | |\n|---|---|\n'
printf '| processor | %s ms |\n' "$(per "$ticks" "$orders" "$milliseconds")"
printf '| log, bytes (a batch is padded to 4 KiB) | %s |\n' "$(per "$log" "$orders" 1)"
printf '| syncs at %s orders/s | %s |\n' "$rate" "$(per "$syncs" "$orders" 1)"
printf '| state, bytes | %s |\n' "$(per "$(($(state_bytes) - state))" "$orders" 1)"
printf '| measured over | %s orders |\n' "$orders"
