#!/usr/bin/env bash
# Whether the codec works on a GPU, and how fast, within 5 minutes, on a machine that has no network
# and on which stcodec is not installed.
#
#   tools/gpu_check.sh prepare CLIP      here: wheels for x86-64 and a clip into .gpu/
#   tools/gpu_check.sh [RESULTS]         there, in a copy of this source tree with .gpu/
#
# Prints JSON lines as they come, which RESULTS (gpu_check.jsonl) keeps, and a table of them; the
# exit code is 1 where pictures differ or a part came to nothing. Environment:
#   DEVICE   cuda; cpu rehearses all of it
#   PYTHON   the interpreter (python3), which needs torch, numpy, numba, click, tqdm, safetensors
#   WHEELS   for `prepare`: of which Python (3.12)
#   SIZES, FRAMES   of the measurement of speed (360p,1080p,2160p; 17)
#   TIMES    what limits of time are multiplied by, to rehearse on a slow machine (1)
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3} device=${DEVICE:-cuda} folder=.gpu

if [ "${1:-}" = prepare ]; then
    mkdir -p $folder/wheels
    platforms=()
    for glibc in 2_28 2_27 2_17; do platforms+=(--platform "manylinux_${glibc}_x86_64"); done
    # What such machines usually lack; no more, since all of it has to be copied.
    "$python" -m pip download -q --no-deps --only-binary=:all: --implementation cp \
        --python-version "${WHEELS:-3.12}" "${platforms[@]}" --platform manylinux2014_x86_64 \
        -c constraints.txt -d $folder/wheels av zstandard
    cp "$2" "$folder/clip.${2##*.}"
    du -sh $folder
    exit
fi

results=$(realpath -m "${1:-gpu_check.jsonl}") failed=0
: >"$results"
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
for wheel in "$folder"/wheels/*.whl; do
    "$python" -m zipfile -e "$wheel" "$site"
done
export PYTHONPATH=$site NUMBA_CACHE_DIR=$site/numba PYTHONUNBUFFERED=1

# Seconds at most, then what is run.
part() {
    local seconds=$(($1 * ${TIMES:-1}))
    shift
    timeout "$seconds" "$python" tools/gpu_check.py "$@" --device "$device" | tee -a "$results" ||
        { failed=1; echo "{\"part\": \"$1\", \"ok\": false, \"ended\": \"early\"}" | tee -a "$results"; }
}

part 100 machine
part 40 golden
part 40 across
begin=$SECONDS
IFS=, read -ra sizes <<<"${SIZES:-360p,1080p,2160p}"
for size in "${sizes[@]}"; do
    left=$((110 - (SECONDS - begin) / ${TIMES:-1}))
    [ $left -gt 5 ] || break
    part $left speed "$(echo $folder/clip.*)" --sizes "$size" --frames "${FRAMES:-17}"
done
echo
"$python" tools/gpu_check.py table "$results" || failed=1
exit $failed
