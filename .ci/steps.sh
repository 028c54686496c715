# Names the steps of a script, and says how long each took and how much processor time it used. To be sourced.

last=""; since=0; used=0; took=""

times_file="$(mktemp)"
trap 'rm -f "$times_file"' EXIT

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

summary() {
    end_of_step
    printf '\n==> %s in %d s\n%s' "$1" "$SECONDS" "$took"
}
