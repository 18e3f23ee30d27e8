#!/bin/sh
# A model that is kept up to date: days of a synthetic log, trained further every night, calibrated, and promoted or
# refused. One day is planted with labels that belong to other rows; its candidate must not serve.
#
#     examples/daily/nightly.sh DIR
#
# Night t: train the served model further on day t - 1, fit the calibrators to the morning of day t, compare with the
# served model on its afternoon. No row is used for two of these.
#
# Settings, as variables: NCS (ncs), ROWS (60000), DAYS (10), BAD (6: the planted day, 0 for none), FIRST (2: days of the
# first training), SEED (1), SET (further --set options, such as "--set training.epochs=2").
set -eu

dir=${1:?usage: nightly.sh DIR}
ncs=${NCS:-ncs}
rows=${ROWS:-60000}
days=${DAYS:-10}
bad=${BAD:-6}
first=${FIRST:-2}
seed=${SEED:-1}
live=$dir/served/feed

# One column of the header by its name, one folder a day, a file for the morning and one for the afternoon.
separate() {
    awk -F, -v dir="$dir/days" '
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
            NR == 1 { for (i = 1; i <= NF; i++) { if ($i == "click") c = i; if ($i == "conversion") v = i }; print; next }
            { line[NR - 1] = $0; click[NR - 1] = $c; conversion[NR - 1] = $v; n = NR - 1 }
            END { for (r = 1; r <= n; r++) {
                $0 = line[r]; other = (r + int(n / 2) - 1) % n + 1
                $c = click[other]; $v = conversion[other]; print } }' "$file" > "$file.planted"
        mv "$file.planted" "$file"
    done
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

# Tells what became of a night.
say() { printf '%s\n' "$*"; }

mkdir -p "$dir/nights" "$dir/served"
dir=$(cd "$dir" && pwd)
live=$dir/served/feed
"$ncs" -q synth --rows "$rows" --unseen 0.3 --days "$days" --click-rate 0.3 --conversion-rate 0.3 --seed "$seed" \
    --format csv --out "$dir/log" > /dev/null
rm -rf "$dir/days"
separate
set -- "$dir"/days/day=*
if [ "$bad" -gt 0 ]; then
    planted=$(printf '%s\n' "$@" | sed -n "${bad}p")
    plant "$planted"
fi

# The first model is trained on the first days, and serves unless its probabilities are wrong.
night=0
begin=
previous=
for day in "$@"; do
    night=$((night + 1))
    name=${day##*day=}
    out=$dir/nights/$name
    if [ "$night" -le "$first" ]; then
        begin="$begin $day"
        previous=$day
        continue
    fi
    if [ ! -e "$live" ]; then
        # shellcheck disable=SC2086 # One word for each day.
        train "$out" $begin
        begin="$begin $day"
    else
        train "$out" "$previous" -- --from "$live"
    fi
    previous=$day
    # Labels that do not rise with the score are refused here, and too few of them.
    if ! "$ncs" -q calibrate "$out" --data "$day/morning.csv" --time time --min-labels "${MIN_LABELS:-100}" \
        --out "$out/calibrated" > "$out/calibrate.txt" 2> "$out/error.txt"; then
        say "$name: not calibrated: $(cat "$out/error.txt")"
        continue
    fi
    code=0
    "$ncs" -q promote "$out/calibrated" --live "$live" --data "$day/afternoon.csv" \
        --calibration-bound "${BOUND:-0.7..1.4}" > "$out/promote.txt" 2> "$out/error.txt" || code=$?
    case $code in
        0) say "$name: promoted: $(tail -n 1 "$out/promote.txt")" ;;
        3) say "$name: refused: $(cat "$out/error.txt")" ;;
        *) cat "$out/error.txt" >&2; exit "$code" ;;
    esac
done
"$ncs" inspect "$live" | grep -E '^(trained further|calibrated again)' || true
say "record: $live.promotions.jsonl"
