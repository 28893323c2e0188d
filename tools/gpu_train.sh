#!/usr/bin/env bash
# Train `stc-1` on, or another model, on a machine with a GPU on which stcodec is not installed: two
# runs side by side, one of what intra frames alone use and one of all the rest, until both end.
#
#   tools/gpu_train.sh prepare FOLDER               here: shards of at most 15 MB into .gpu/shards
#   tools/gpu_train.sh MINUTES [OPTION OF train]... there, in a copy of this source tree with them
#
# What they print, logs, options and averaged weights lie in RESULTS then, eight files; what makes a
# model of them, on any machine:
#
#   python -m stcodec.training export .gpu/shards RESULTS/rest my.safetensors --rounds 0 \
#       --intra RESULTS/intra
#
# Environment:
#   PYTHON    the interpreter (python3), which needs torch, numpy, numba, safetensors, click, OpenCV
#             and Pillow
#   RESULTS   the folder (gpu_train)
#   WORKERS   processes that draw batches, of both runs (13); 0 rehearses on a machine without a GPU
#   INTRA, REST   options of one run alone, over those below
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3} shards=.gpu/shards results=$(realpath -m "${RESULTS:-gpu_train}")

if [ "${1:-}" = prepare ]; then
    rm -rf "$shards"
    "$python" -m stcodec.training pack "$2" "$shards" --clips 2 --side 360 --photo-side 640 \
        --crf 17 --photo-quality 85 --shard-megabytes 15
    du -sh "$shards"
    exit
fi

minutes=$1 workers=${WORKERS:-13}
shift
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
export PYTHONUNBUFFERED=1

# Name, processes that draw batches, options.
run() {
    local name=$1
    mkdir -p "$results/$name"
    "$python" -m stcodec.training train "$shards" "$folder/$name" --minutes "$minutes" \
        --steps 100000 --workers "$2" "${@:3}" 2>&1 | tee "$results/$name/output.txt"
    cp "$folder/$name"/{ema*.safetensors,log.jsonl,options.json} "$results/$name/"
}

# shellcheck disable=SC2086  # options are words
run intra $((workers / 3)) --intra --batch 192 --reuse 4 --photo-share 0.5 --screen-share 0.1 \
    --learning-rate 3e-3 --log-every 50 "$@" ${INTRA:-} &
intra=$!
# shellcheck disable=SC2086
run rest $((workers - workers / 3)) --chunks 4 --leaf-share 0.12 --batch 48 --reuse 6 \
    --learning-rate 2e-3 --log-every 25 "$@" ${REST:-} &
rest=$!
failed=0
wait $intra || failed=1
wait $rest || failed=1
trap 'rm -rf "$folder"' EXIT
exit $failed
