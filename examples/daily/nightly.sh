#!/bin/sh
# A model that is kept up to date: days of a synthetic log with drift, new items and conversions that come late, trained
# further every night, calibrated, and promoted or refused; served all the while, and at the end one user is erased. One day
# is planted with labels that belong to other rows; its candidate must not serve.
#
#     examples/daily/nightly.sh DIR
#
# Night t: train the served model further on day t - 1, of whose conversions those are known that came until the end of day
# t - 1 (and on conversions of days before that came since); fit the calibrators to the morning of day t, compare with the
# served model on its afternoon, both once their labels are final. No row is used for two of these. A backtest of the whole
# log stands beside the nights.
#
# Killed at any point and called again, it goes on where it was, and ends with the same model.
#
# Settings, as variables: NCS (ncs), ROWS (140000), DAYS (14), BAD (7: the planted day, 0 for none), FIRST (4: days of the
# first training, more than WINDOW), DELAY (0.5: scale of the delays in days, 0 for none), WINDOW (2: days within which
# conversions come), SEED (1), SERVE (1: serve with --watch, if curl is there), BACKTEST (1), ERASE (1), SET (further --set options, such as "--set
# training.epochs=2").
set -eu

dir=${1:?usage: nightly.sh DIR}
ncs=${NCS:-ncs}
rows=${ROWS:-140000}
days=${DAYS:-14}
bad=${BAD:-7}
first=${FIRST:-4}
delay=${DELAY:-0.5}
window=${WINDOW:-2}
seed=${SEED:-1}

say() { printf '%s\n' "$*"; }

# Writes standard input to a file that is there as a whole or not at all.
whole() { cat > "$1.part" && mv "$1.part" "$1"; }

# One column of the header by its name, one folder a day, a file for the morning and one for the afternoon.
separate() {
    awk -F, -v dir="$1" '
        FNR == 1 { for (i = 1; i <= NF; i++) if ($i == "time") time = i; header = $0; next }
        {
            day = substr($time, 1, 10)
            half = substr($time, 12, 2) + 0 < 12 ? "morning" : "afternoon"
            folder = dir "/day=" day
            if (!(folder in made)) { system("mkdir -p \"" folder "\""); made[folder] = 1 }
            file = folder "/" half ".csv"
            if (!(file in begun)) { print header > file; begun[file] = 1 }
            print > file
        }' "$dir/log/train.csv" "$dir/log/valid.csv" "$dir/log/test.csv"
}

# Gives every row the labels of the row half a file away.
plant() {
    for file in "$1"/*.csv; do
        awk -F, -v OFS=, '
            NR == 1 {
                for (i = 1; i <= NF; i++) {
                    if ($i == "click") c = i
                    if ($i == "conversion") v = i
                    if ($i == "conversion_time") t = i
                    if ($i == "time") at = i
                }
                print; next
            }
            { line[NR - 1] = $0; click[NR - 1] = $c; conversion[NR - 1] = $v; n = NR - 1 }
            END { for (r = 1; r <= n; r++) {
                $0 = line[r]; other = (r + int(n / 2) - 1) % n + 1
                $c = click[other]; $v = conversion[other]
                # A conversion has a time, which is not before its click.
                if (t) $t = $v + 0 ? $at : ""
                print } }' "$file" > "$file.planted"
        mv "$file.planted" "$file"
    done
}

# Makes the days, once.
make_days() {
    [ ! -e "$dir/days" ] || return 0
    rm -rf "$dir/log" "$dir/days.part"
    late=
    [ "$delay" = 0 ] || late="--delays $delay --delay-window $window"
    # shellcheck disable=SC2086 # Several options.
    "$ncs" -q synth --rows "$rows" --unseen 0.3 --days "$days" --click-rate 0.3 --conversion-rate 0.3 --seed "$seed" \
        $late --format csv --out "$dir/log" > /dev/null
    separate "$dir/days.part"
    if [ "$bad" -gt 0 ]; then
        set -- "$dir"/days.part/day=*
        plant "$(printf '%s\n' "$@" | sed -n "${bad}p")"
    fi
    mv "$dir/days.part" "$dir/days"
}

# Trains on the files of some days: train OUT DAY... [-- OPTIONS]
train() {
    out=$1; shift
    files=
    while [ $# -gt 0 ] && [ "$1" != -- ]; do
        files="$files${files:+, }\"$1/morning.csv\", \"$1/afternoon.csv\""; shift
    done
    [ $# -eq 0 ] || shift
    # shellcheck disable=SC2086 # SET holds several options.
    "$ncs" -q train "$dir/log/run.toml" --out "$out" --set "data.train=[$files]" --set 'data.valid=[]' \
        --set 'data.test=[]' --set 'data.split={ by = "row", valid = 0.1 }' --set evaluation.bootstrap=0 \
        ${SET:-} "$@" > "$out.txt"
}

# The options of late labels: known until the beginning of a day, and what came since another.
late() {
    [ "$delay" != 0 ] || return 0
    printf '%s\n' "--set tasks.cvr.late.method=delay_distribution --set tasks.cvr.late.as_of=\"$1T00:00:00Z\""
    [ $# -lt 2 ] || printf '%s\n' "--set tasks.cvr.late.since=\"$2T00:00:00Z\""
}

# Starts the server, or another one after a restart of the machine.
serve() {
    [ "${SERVE:-1}" = 1 ] && [ -z "${server:-}" ] && command -v curl > /dev/null || return 0
    # A server reads nothing and outlives no script.
    NCS_ADMIN_TOKEN=nightly-token "$ncs" serve "$live" --watch 1 --http-port 0 --grpc-port 0 --admin-port 0 \
        > "$dir/ready.txt" 2>> "$dir/server.txt" &
    server=$!
    trap 'kill "$server" 2> /dev/null || true' EXIT
    tries=0
    until grep -q '^ready ' "$dir/ready.txt"; do
        tries=$((tries + 1))
        [ "$tries" -le 300 ] && kill -0 "$server" 2> /dev/null || { cat "$dir/server.txt" >&2; exit 1; }
        sleep 0.1
    done
    admin=$(sed -n 's/.* admin=\([^ ]*\).*/\1/p' "$dir/ready.txt")
}

# Waits until the server has what the link names.
served() {
    [ -n "${server:-}" ] || return 0
    hash=$(sed -n 's/.*"candidate_hash":"\([0-9a-f]*\)".*/\1/p' "$live.promotions.jsonl.last")
    tries=0
    until curl -s "http://$admin/metrics" | grep -q "^ncs_model_info.*hash=\"$hash\""; do
        tries=$((tries + 1))
        [ "$tries" -le 300 ] || { say "$1: not served: $hash" >&2; exit 1; }
        sleep 0.1
    done
}

mkdir -p "$dir/nights" "$dir/served"
dir=$(cd "$dir" && pwd)
live=$dir/served/feed
make_days

# The first model is trained on the first days, and serves unless its probabilities are wrong.
night=0
begin=
previous=
for day in "$dir"/days/day=*; do
    night=$((night + 1))
    name=${day##*day=}
    out=$dir/nights/$name
    if [ "$night" -le "$first" ]; then
        begin="$begin $day"
        previous=$day
        continue
    fi
    if [ -e "$out.done" ]; then
        cat "$out.done"
        begin="$begin $day"
        previous=$day
        [ ! -e "$live" ] || serve
        continue
    fi
    # What the night goes on from stays the same, however often it is begun.
    [ -e "$out.from" ] || { [ ! -e "$live" ] || (cd "$live" && pwd -P); } | whole "$out.from"
    from=$(cat "$out.from")
    if [ -z "$from" ]; then
        # shellcheck disable=SC2046,SC2086 # One word for each day and option.
        train "$out" $begin -- $(late "$name")
    else
        # The last day; and of the days before it the conversions that came since, and the rows whose label is now final.
        reach=1
        [ "$delay" = 0 ] || reach=$((window + 1))
        # shellcheck disable=SC2046,SC2086
        train "$out" $(printf '%s\n' $begin | tail -n "$reach") -- --from "$from" $(late "$name" "${previous##*day=}")
    fi
    begin="$begin $day"
    previous=$day
    # Labels that do not rise with the score are refused here, and too few of them.
    if ! "$ncs" -q calibrate "$out" --data "$day/morning.csv" --time time --min-labels "${MIN_LABELS:-100}" \
        --out "$out/calibrated" > "$out/calibrate.txt" 2> "$out/error.txt"; then
        say "$name: not calibrated: $(cat "$out/error.txt")" | whole "$out.done"
        cat "$out.done"
        continue
    fi
    code=0
    "$ncs" -q promote "$out/calibrated" --live "$live" --data "$day/afternoon.csv" \
        --calibration-bound "${BOUND:-0.7..1.4}" > "$out/promote.txt" 2> "$out/error.txt" || code=$?
    case $code in
        0)
            grep '"action":"promoted"' "$live.promotions.jsonl" | tail -n 1 | whole "$live.promotions.jsonl.last"
            serve
            served "$name"
            say "$name: promoted: $(tail -n 1 "$out/promote.txt")" | whole "$out.done" ;;
        3) say "$name: refused: $(cat "$out/error.txt")" | whole "$out.done" ;;
        *) cat "$out/error.txt" >&2; exit "$code" ;;
    esac
    cat "$out.done"
done
"$ncs" inspect "$live" | grep -E '^(trained further|calibrated again)' || true
if [ -n "${server:-}" ]; then
    curl -s "http://$admin/metrics" | sed -n 's/^ncs_model_loads_total{[^}]*outcome="\([a-z_]*\)"} \(.*\)/served: \2 \1/p'
fi

if [ "${BACKTEST:-1}" = 1 ]; then
    # shellcheck disable=SC2086
    "$ncs" -q backtest "$dir/log/run.toml" --out "$dir/backtest" --by time --initial "$first" --window "${SPAN:-7}" --frozen \
        --set evaluation.bootstrap=0 ${SET:-} > "$dir/backtest.txt"
    cat "$dir/backtest.txt"
fi

# One user of the first day asks to be forgotten: everywhere but in the log.
if [ "${ERASE:-1}" = 1 ]; then
    if [ ! -e "$dir/erased.txt" ]; then
        # shellcheck disable=SC2086
        awk -F, 'FNR == 1 { for (i = 1; i <= NF; i++) if ($i == "user") u = i; next } { print $u; exit }' \
            "$(printf '%s\n' $begin | head -n 1)/morning.csv" | whole "$dir/user.txt"
        "$ncs" -q forget "$live" --column user --values "$dir/user.txt" --also "$dir/nights" > "$dir/erased.part"
        mv "$dir/erased.part" "$dir/erased.txt"
    fi
    say "erased: $(wc -l < "$dir/erased.txt" | tr -d ' ') lines in $dir/erased.txt"
fi
say "record: $live.promotions.jsonl"
