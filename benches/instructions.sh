#!/usr/bin/env bash
# How many instructions does a paid order take, compared with another build?  benches/instructions.sh OTHER_SOUK [SECONDS]
#
# Question: as in before_after.sh, whose rates hide 5 % on a machine with neighbours. Instructions do not depend on them.
# Prediction: at most 5 % more than OTHER_SOUK. Each shop runs under callgrind, some fifty times slower than else, and sells
# one product to 32 callers; the instructions of the whole process, background work included, are divided by the orders paid.
# What it spends them on is in target/instructions/: callgrind_annotate reads it.
set -euo pipefail
cd "$(dirname "$0")/.."
other="${1:?the path of the other program}" seconds="${2:-15}"
. benches/support.sh
need valgrind jq curl

build
kept=target/instructions
rm -rf "$kept" && mkdir -p "$kept"

# Sells for so many seconds.
sell() {
    target/release/souk load "$url" --tokens "$scratch/tokens.jsonl" --scenario flash-sale --product "$product" \
        --json "$scratch/report.json" --callers 32 --seconds "$1" >"$scratch/load" 2>&1 || { cat "$scratch/load" >&2; exit 1; }
}
# Sets $instructions to those of one paid order of program $2, called $1.
measure() {
    souk="$2" directory="$scratch/$1"
    shop --demo --demo-products 2000
    settle
    sell_one_product
    kill "$pid" && wait "$pid" || true
    rm -f "$scratch/said"
    env $(unlimited "$souk") valgrind --tool=callgrind --instr-atstart=no --callgrind-out-file="$kept/$1" \
        "$souk" serve --listen 127.0.0.1:0 --data-dir "$directory" >"$scratch/said" 2>"$scratch/log" &
    pid=$! && pids+=("$pid")
    until url="$(sed -n 's/^Souk listens on //p' "$scratch/said" 2>/dev/null)" && [ -n "$url" ]; do
        kill -0 "$pid" 2>/dev/null || { cat "$scratch/log" >&2; exit 1; }
        sleep 1
    done
    sell 5
    callgrind_control --zero "$pid" >/dev/null 2>&1
    callgrind_control --instr=on "$pid" >/dev/null 2>&1
    sell "$seconds"
    callgrind_control --instr=off "$pid" >/dev/null 2>&1
    callgrind_control --dump "$pid" >/dev/null 2>&1
    local orders total
    orders="$(jq '[.rows[] | select(.kind == "payment")][0].done' "$scratch/report.json")"
    total="$(cat "$kept/$1".* | sed -n 's/^totals: //p' | sort -n | tail -1)"
    kill "$pid" && wait "$pid" || true
    printf '%s: %s instructions, %s orders\n' "$1" "$total" "$orders" >&2
    instructions="$((total / orders))"
}
measure before "$other"
before="$instructions"
measure after target/release/souk
after="$instructions"
printf '| instructions of a paid order | %s | %s | **%s** |\n' "$before" "$after" \
    "$(awk -v a="$after" -v b="$before" 'BEGIN { printf "%.3f", a / b }')"
