#!/usr/bin/env bash
# Where the processor's time goes, by component:  benches/profile.sh hot-product|paid-order|page|search [SECONDS]
#
# perf samples the program's own time (not its children's and not its callers'), and each sample counts for the function it
# was in. What the compiler has inlined counts for the function it ended up in, and the kernel's time for the kind of work
# that the thread was at. The load comes from another process, on the same machine: wrk, or souk load.
set -euo pipefail
cd "$(dirname "$0")/.."
case="${1:-}" seconds="${2:-5}"
case "$case" in hot-product | paid-order | page | search) ;; *) sed -n 's/^# Where.*:  /usage: /p' "$0" >&2; exit 2 ;; esac
. benches/support.sh
need perf wrk

# Samples process $1, $2 seconds after the load that the rest of the line makes has begun.
sample() {
    local pid="$1" after="$2"
    shift 2
    "$@" >"$scratch/load" 2>&1 &
    local load=$! && pids+=("$load")
    sleep "$after"
    perf record -q -F 997 -o "$scratch/perf" -p "$pid" -- sleep "$seconds"
    wait "$load" || { cat "$scratch/load" >&2; exit 1; }
}

cargo build --release --locked --quiet --bin souk
case "$case" in
hot-product)
    program="$(cargo bench --locked --bench reservations --no-run 2>&1 | sed -n 's/.*Executable.*(\(.*\))/\1/p')"
    SOUK_BENCH_SECONDS="$((seconds + 3))" "$program" 1024 >"$scratch/load" &
    load=$! && pids+=("$load")
    sleep 1
    perf record -q -F 997 -o "$scratch/perf" -p "$load" -- sleep "$seconds"
    wait "$load"
    ;;
paid-order)
    echo '{"id":"hot","title":"Hot","price_minor":1000,"currency":"INR","stock":1000000000}' >"$scratch/hot.jsonl"
    target/release/souk import --data-dir "$scratch/shop" "$scratch/hot.jsonl" >/dev/null 2>&1
    shop
    # The customers log in first, which takes seconds of argon2.
    sample "$pid" 6 target/release/souk load "$url" --scenario flash-sale --callers 64 --users 64 --seconds "$((seconds + 6))"
    ;;
page)
    shop --demo --demo-products 20000
    settle
    sample "$pid" 1 wrk -t1 -c64 -d "$((seconds + 2))s" "$url/products/demo-000007"
    ;;
search)
    shop --demo --demo-products 20000
    settle
    sample "$pid" 1 wrk -t1 -c64 -d "$((seconds + 2))s" "$url/products?q=wireless%20headphones"
    ;;
esac

grep -E 'Requests/sec|payment |Result:' "$scratch/load" || true
# The largest first.
perf report -i "$scratch/perf" --stdio --no-children -F overhead,comm,dso,sym -t '	' 2>/dev/null | awk -F '	' -v case="$case" '
    function component(thread, object, symbol) {
        if (object ~ /vdso/) return "clock"
        if (object ~ /kernel/) {
            if (thread ~ /^journal-writer/) return "kernel: the log (write, fdatasync)"
            if (thread ~ /^(journal-state|journal-preallo)/) return "kernel: checkpoints, segments"
            if (thread ~ /tokio|souk|reservations/) return "kernel: sockets, wake-ups, other files"
            return "kernel: other threads"
        }
        if (symbol ~ /rjem|jemalloc|malloc|tcache|arena_|extent_|edata_/) return "allocator"
        if (symbol ~ /sled::/) return "sled"
        if (symbol ~ /tantivy|tantivy_/) return "tantivy"
        if (symbol ~ /crc32c/) return "checksum of the log"
        if (symbol ~ /bincode/ || symbol ~ /souk::storage::codec|souk::actors::records/) return "codec (bincode)"
        if (symbol ~ /serde_json|ryu|itoa|format_escaped|io::Write for/) return "JSON"
        if (symbol ~ /serde/) return "codec (bincode)"
        if (symbol ~ /argon2|blake2/) return "passwords (argon2)"
        if (symbol ~ /aws_lc|sha256|sha512|jsonwebtoken|ed25519|x25519/) return "cryptography"
        if (symbol ~ /souk::storage/) return "souk: storage"
        if (symbol ~ /souk::domain/) return "souk: domain"
        if (symbol ~ /souk::search/) return "souk: search"
        if (symbol ~ /souk::http/) return "souk: http"
        if (symbol ~ /souk::actors/) return "souk: actors"
        if (symbol ~ /souk::/) return "souk: other"
        if (symbol ~ /ractor/) return "ractor"
        if (symbol ~ /hyper|httparse|h2::/) return "hyper"
        if (symbol ~ /axum|tower|matchit|http::/) return "axum, tower"
        if (symbol ~ /tokio|mio::|parking_lot|futures|core::future|PollFn/) return "tokio, locks"
        if (symbol ~ /dashmap|quick_cache|hashbrown|foldhash|SipHasher|siphash/) return "maps, caches"
        if (symbol ~ /memmove|memcpy|memset|memcmp|bcmp/ || object ~ /libc/) return "memory copies, libc"
        if (symbol ~ /hdrhistogram|reserve_until|flash_sale/) return "the bench itself"
        return "other"
    }
    $1 ~ /%/ {
        gsub(/[ %]/, "", $1); gsub(/ +$/, "", $2)
        part = component($2, $3, $4)
        sum[part] += $1; total += $1
        if (lines++ < 12) largest = largest sprintf("%6.1f %%  %-40s %.90s\n", $1, part, $4)
    }
    END {
        printf "| %s | share of its processor time |\n|---|---|\n", case
        fflush()
        sort = "sort -t\"|\" -k3 -rn"
        for (name in sum) printf "| %s | %.1f %% |\n", name, 100 * sum[name] / total | sort
        close(sort)
        printf "\nThe largest functions:\n%s", largest
    }'
