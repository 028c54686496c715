# Names the steps of a script, and says how long each took and how much processor time it used. To be sourced.

last=""; since=0; used=0; took=""

times_file="$(mktemp)"; beside_log="$(mktemp)"
# A failed step ends the script; what runs beside it cleans up after itself, so it is waited for.
trap 'wait; rm -f "$times_file" "$beside_log"' EXIT

# Puts the processor time of everything that has ended so far into `processor`, in seconds. (`times` in a pipe would tell the
# pipe's own.)
read_processor() {
    times >"$times_file"
    processor="$(awk 'NR == 2 { for (i = 1; i <= 2; i++) { split($i, part, /[ms]/); sum += part[1] * 60 + part[2] } printf "%d", sum }' "$times_file")"
}

end_of_step() {
    [ -n "$last" ] || return 0
    local line
    read_processor
    line="$(printf '%5d s, processor %5d s  %s' "$((SECONDS - since))" "$((processor - used))" "$last")"
    took="$took$line"$'\n'
    printf -- '--- %s\n' "$line"
}

step() {
    end_of_step
    read_processor
    last="$*"; since=$SECONDS; used=$processor
    printf '\n==> %s\n' "$*"
}

# Begins a command that runs beside the steps which follow, until `await_beside` shows what it wrote, as a step of its own.
beside() {
    beside_name="$1"; beside_since=$SECONDS; shift
    "$@" >"$beside_log" 2>&1 &
    beside_process=$!
    printf '\n==> %s: begins beside the next steps\n' "$beside_name"
}

await_beside() {
    local failed=0
    step "$beside_name, beside the steps above"
    wait "$beside_process" || failed=$?
    since=$beside_since
    cat "$beside_log"
    return "$failed"
}

summary() {
    end_of_step
    printf '\n==> %s in %d s\n%s' "$1" "$SECONDS" "$took"
}
