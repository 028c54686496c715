# What the scripts beside it share: a scratch directory, a shop, and the end of both. To be sourced in the repository's root.

# The program that is served, and where its data is.
souk=target/release/souk
scratch="$(mktemp -d -p "${SOUK_BENCH_DIR:-target}")"
directory="$scratch/shop"
pids=()
clean() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true; done
    rm -rf "$scratch"
}
trap clean EXIT
unset "${!SOUK_@}"
# All load comes from one address. Earlier builds have no limits of a client, and refuse a setting that they do not know.
unlimited() { "$1" config 2>/dev/null | grep -q '^rates = ' && echo SOUK_LIMITS__RATES=off || true; }

need() { for tool in "$@"; do command -v "$tool" >/dev/null || { echo "$0: $tool is not installed" >&2; exit 1; }; done; }

# Serves a shop and sets $url and $pid.
shop() {
    rm -f "$scratch/said"
    env $(unlimited "$souk") "$souk" serve --listen 127.0.0.1:0 --data-dir "$directory" "$@" \
        >"$scratch/said" 2>"$scratch/log" &
    pid=$! && pids+=("$pid")
    until url="$(sed -n 's/^Souk listens on //p' "$scratch/said" 2>/dev/null)" && [ -n "$url" ]; do
        kill -0 "$pid" 2>/dev/null || { cat "$scratch/log" >&2; exit 1; }
        sleep 0.2
    done
}

build() {
    cargo build --release --locked --quiet --bin souk
    target/release/souk --version
}

# Serves a provider for the shops that follow, and sets $provider.
gateway() {
    target/release/souk gateway-sim --listen 127.0.0.1:0 --ledger "$scratch/ledger.jsonl" >"$scratch/provider" 2>&1 &
    pids+=("$!")
    until provider="$(sed -n 's/^The simulated provider listens on //p' "$scratch/provider")" && [ -n "$provider" ]; do sleep 0.2; done
    export SOUK_PAYMENTS__PROVIDER=simulator SOUK_PAYMENTS__URL="$provider"
}

# The demo catalogue has just been made: its checkpoint and the last commits of its lists are no part of what is measured.
settle() { sleep 12; }

# Serves the same shop again with a hundred million of one product ($product) and 512 or so many customers who are logged in
# ($scratch/tokens.jsonl), which takes a stopped shop.
sell_one_product() {
    product=demo-000007
    kill "$pid" && wait "$pid" || true
    "$souk" --data-dir "$directory" tokens "$scratch/tokens.jsonl" --customers "${1:-512}" >/dev/null 2>&1
    shop
    local login
    login="$(curl -s "$url/auth/login" -H 'content-type: application/json' \
        -d '{"email":"seller@demo.example","password":"souk-demo-password"}' | sed -n 's/.*"access_token":"\([^"]*\)".*/\1/p')"
    curl -sf -o /dev/null -X PUT "$url/products/$product/inventory" -H "authorization: Bearer $login" \
        -H 'content-type: application/json' -d '{"on_hand":100000000}'
    settle
}
