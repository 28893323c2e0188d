#!/usr/bin/env bash
# Train unattended on a machine where stcodec is not installed: a copy of this source tree and a pack are enough. Needs a Python with
# torch, numpy, safetensors, click, OpenCV and Pillow.
#
#   stcodec/training/gpu_run.sh PACK RUN MINUTES [OPTION OF train]...
#
# The training runs in a session of its own, so that it outlives this command and the connection; calling again goes on where the run
# stopped, and only waits if it is still running. Environment:
#   PYTHON   the interpreter (python3)
#   WAIT     seconds to wait for the end before this command returns (0)
#   COLLECT  a folder to which log, averaged weights and checkpoint are copied then; what has more than 15 MiB in parts, which
#            `cat checkpoint.pt.part-* >checkpoint.pt` joins
set -euo pipefail

if [ $# -lt 3 ]; then
    sed -n '2,13s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
pack=$(realpath "$1") run=$(realpath -m "$2") minutes=$3 collect=${COLLECT:+$(realpath -m "$COLLECT")}
shift 3
cd "$(dirname "$0")/../.."
mkdir -p "$run"

running() { [ -f "$run/pid" ] && kill -0 "$(cat "$run/pid")" 2>/dev/null; }

if running; then
    echo "still running: process $(cat "$run/pid")"
else
    PYTHONUNBUFFERED=1 PYTHONPATH=. setsid nohup "${PYTHON:-python3}" -m stcodec.training \
        train "$pack" "$run" --minutes "$minutes" "$@" >>"$run/output.log" 2>&1 </dev/null &
    echo $! >"$run/pid"
    echo "started: process $(cat "$run/pid"), output in $run/output.log"
fi
for ((i = 0; i < ${WAIT:-0}; i++)); do
    running || break
    sleep 1
done
tail -n 5 "$run/output.log" 2>/dev/null || true
if [ -n "$collect" ]; then
    mkdir -p "$collect"
    find "$run" -maxdepth 1 -type f ! -name '*.partial' ! -name pid -size -15361k -exec cp {} "$collect/" \;
    find "$run" -maxdepth 1 -type f ! -name '*.partial' -size +15360k -printf '%f\n' | while read -r name; do
        rm -f "$collect/$name".part-*
        split -b 15M -d "$run/$name" "$collect/$name.part-"
    done
fi
