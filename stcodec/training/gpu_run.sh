#!/usr/bin/env bash
# Train unattended on a machine where stcodec is not installed: a copy of this source tree and a
# pack are enough. Needs a Python with torch, numpy, safetensors, click, OpenCV and Pillow.
#
#   stcodec/training/gpu_run.sh PACK RUN MINUTES [OPTION OF train]...
#
# The training runs in a session of its own and outlives this command, which shows its log until it
# ends and then returns its exit code. Called again, this shows a training that is still running, or
# goes on where it stopped: MINUTES are those of all calls together. `kill $(cat RUN/pid)` ends it
# with a checkpoint. Environment:
#   PYTHON   the interpreter (python3)
#   WAIT     seconds after which to stop showing the log (never; 0: at once)
#   COLLECT  a folder to which log, averaged weights and checkpoint are copied then; what has more
#            than 15 MiB in parts, which `cat checkpoint.pt.part-* >checkpoint.pt` joins
set -euo pipefail

if [ $# -lt 3 ]; then
    sed -n '2,16s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
pack=$(realpath "$1") run=$(realpath -m "$2") minutes=$3
collect=${COLLECT:+$(realpath -m "$COLLECT")}
shift 3
cd "$(dirname "$0")/../.."
mkdir -p "$run"
log=$run/output.log from=+1

running() { [ -f "$run/pid" ] && kill -0 "$(cat "$run/pid")" 2>/dev/null; }

if running; then
    echo "still running: process $(cat "$run/pid")"
    from=5
else
    rm -f "$run/pid" "$run/status"
    [ ! -f "$log" ] || from=+$(($(wc -l <"$log") + 1))
    PYTHONUNBUFFERED=1 PYTHONPATH=. setsid nohup bash -c \
        '"$@" & echo $! >"$0/pid.partial"; mv "$0/pid.partial" "$0/pid"; wait $!; echo $? >"$0/status"' \
        "$run" "${PYTHON:-python3}" -m stcodec.training \
        train "$pack" "$run" --minutes "$minutes" "$@" >>"$log" 2>&1 </dev/null &
    until [ -f "$run/pid" ]; do sleep 0.1; done
    echo "started: process $(cat "$run/pid"), output in $log"
fi
if [ "${WAIT:-}" != 0 ]; then
    # A limit of 0 is none.
    timeout "${WAIT:-0}" tail --pid="$(cat "$run/pid")" -n "$from" -f "$log" || true
fi
for _ in 1 2 3 4 5; do
    running || [ -f "$run/status" ] || sleep 1
done
if [ -n "$collect" ]; then
    mkdir -p "$collect"
    files=(-maxdepth 1 -type f ! -name '*.partial' ! -name pid ! -name status)
    find "$run" "${files[@]}" -size -15361k -exec cp {} "$collect/" \;
    find "$run" "${files[@]}" -size +15360k -printf '%f\n' | while read -r name; do
        rm -f "$collect/$name".part-*
        split -b 15M -d "$run/$name" "$collect/$name.part-"
    done
fi
if [ -f "$run/status" ]; then
    exit "$(cat "$run/status")"
fi
running || { echo "ended without a word: see $log" >&2; exit 1; }
echo "still running: process $(cat "$run/pid")"
