#!/usr/bin/env bash
# Is this program as fast over HTTP as another build of it?  benches/before_after.sh OTHER_SOUK [ROUNDS] [SECONDS]
#
# Question: pages, searches and paid orders a second, and the processor time of each, of target/release/souk as a ratio to
# OTHER_SOUK, the program of an earlier commit. Prediction: no figure is worse by more than the noise, some 5 %. Both shops
# are up with a demo catalogue of their own, and are measured in turns, because how fast a machine is changes by the minute;
# the generators are the same for both. The last table has the median of each figure and of the ratios round by round.
set -euo pipefail
cd "$(dirname "$0")/.."
other="${1:?the path of the other program}" rounds="${2:-5}" seconds="${3:-6}"
. benches/support.sh
need wrk curl jq

ticks() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }
milliseconds=$((1000 / $(getconf CLK_TCK)))
median() { sort -g | awk '{ a[NR] = $1 } END { print (NR % 2 ? a[(NR + 1) / 2] : (a[NR / 2] + a[NR / 2 + 1]) / 2) }'; }

build
printf 'before: %s\n' "$("$other" --version)"
declare -A urls ids
# Each of the two has a catalogue, customers who are logged in and a product that does not run out.
begin() {
    souk="$2" directory="$scratch/$1"
    shop --demo --demo-products 20000
    settle
    sell_one_product
    mv "$scratch/tokens.jsonl" "$scratch/$1.tokens"
    urls[$1]="$url" ids[$1]="$pid"
}
begin before "$other"
begin after target/release/souk

# Writes one figure, `WHO NAME VALUE`, into the results: rate, and milliseconds of the shop's processor for one.
record() { printf '%s %s %s\n' "$@" >>"$scratch/results"; }
reads() {
    local used requests
    used="$(ticks "${ids[$1]}")"
    requests="$(wrk -t1 -c8 -d "${seconds}s" "${urls[$1]}$3" | awk '/requests in/ { print $1 }')"
    used=$(($(ticks "${ids[$1]}") - used))
    record "$1" "$2/s" "$(awk -v n="$requests" -v s="$seconds" 'BEGIN { print n / s }')"
    record "$1" "$2_ms" "$(awk -v t="$used" -v m="$milliseconds" -v n="$requests" 'BEGIN { print t * m / n }')"
}
orders() {
    local used count
    used="$(ticks "${ids[$1]}")"
    target/release/souk load "${urls[$1]}" --tokens "$scratch/$1.tokens" --scenario flash-sale --product "$product" \
        --json "$scratch/report.json" "${@:3}" --seconds "$seconds" >"$scratch/load" 2>&1 || { cat "$scratch/load" >&2; exit 1; }
    used=$(($(ticks "${ids[$1]}") - used))
    count="$(jq '[.rows[] | select(.kind == "payment")][0].done' "$scratch/report.json")"
    record "$1" "$2/s" "$(jq '[.rows[] | select(.kind == "payment")][0].per_second' "$scratch/report.json")"
    record "$1" "$2_ms" "$(awk -v t="$used" -v m="$milliseconds" -v n="$count" 'BEGIN { print t * m / n }')"
    record "$1" "$2_p99_ms" "$(jq '[.rows[] | select(.done > 0) | .p99_ms] | max' "$scratch/report.json")"
}
for round in $(seq "$rounds"); do
    # Who is first changes, so that a machine that slows down favours nobody.
    turns="before after"; [ $((round % 2)) = 1 ] || turns="after before"
    for who in $turns; do reads "$who" page /products/demo-000011; done
    for who in $turns; do reads "$who" search '/products?q=wireless%20headphones'; done
    for who in $turns; do orders "$who" paid_orders --callers 16; done
    for who in $turns; do orders "$who" steady_orders --rate 500; done
    printf 'round %s of %s\n' "$round" "$rounds" >&2
done

printf '\n| figure | before | after | after / before, median of %s rounds (least to most) |\n|---|---|---|---|\n' "$rounds"
for name in $(awk '{ print $2 }' "$scratch/results" | awk '!seen[$0]++'); do
    of() { awk -v who="$1" -v name="$name" '$1 == who && $2 == name { print $3 }' "$scratch/results"; }
    ratios="$(paste <(of before) <(of after) | awk '{ printf "%.3f\n", $2 / $1 }' | sort -g)"
    printf '| %s | %.4g | %.4g | **%s** (%s to %s) |\n' "$name" "$(of before | median)" "$(of after | median)" \
        "$(median <<<"$ratios")" "$(head -1 <<<"$ratios")" "$(tail -1 <<<"$ratios")"
done
