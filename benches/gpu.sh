#!/usr/bin/env bash
# Kiln on a GPU: parity with the CPU, sampling latency and training throughput beside PyTorch, in less than ten minutes.
# The machine needs an NVIDIA driver and a Python with PyTorch; neither Rust nor a network.
#
# usage: gpu.sh [FOLDER | ARCHIVE]     measure with what benches/gpu/pack.sh has made (default: the folder where this script
#                                      lies, or kiln-gpu.tar.xz in the checkout's root)
#        gpu.sh --record FILE          put the results of such a run, brought back, into benches/RESULTS.md
#
# The tables go to the standard output and to gpu-results.md, in $OUT if that is set, else in the current folder; gpu-log.txt
# beside it has what was said meanwhile. Run in a checkout, with an ARCHIVE or FOLDER, it puts them into benches/RESULTS.md as
# well. The exit code is 1 if a section failed; the others are run all the same.
#
# KILN_GPU_PYTHON    the Python that has PyTorch (default: python3)
# KILN_GPU_SECTIONS  of "parity steps whole tests sample train" (default: all, in this order)
# KILN_GPU_TOTAL     seconds for all of them (default: 560); with less there are fewer rounds of sampling and training, and a
#                    section that has too little is left out: the first four take 230, the last two 100 at least
# KILN_GPU_DEVICE    cpu: try this script where there is no GPU, in tiny sizes; nothing is recorded
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${KILN_GPU_PYTHON:-python3}
sections=${KILN_GPU_SECTIONS:-parity steps whole tests sample train}
device=${KILN_GPU_DEVICE:-cuda}
TOTAL=${KILN_GPU_TOTAL:-560}
# How sections share the time that is left; what one leaves over, the next ones have.
declare -A SHARE=([parity]=35 [steps]=40 [whole]=160 [tests]=45 [sample]=75 [train]=105)
# Seconds, at the end of its time, in which a section may finish what it has begun and print.
MARGIN=10

case "${1:-}" in
-h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" && exit ;;
--record) exec "$python" "$here/peers/gpu.py" record "${2:?--record needs the FILE of results}" ;;
esac

# What to run: a folder as pack.sh assembles it.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
source=${1:-$here}
[ -n "${1:-}" ] || [ -x "$here/bin/gpu" ] || source=$here/../kiln-gpu.tar.xz
if [ -f "$source" ]; then
  echo "unpacking $source" >&2
  # Python's own reader is there where xz is not.
  "$python" -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2], filter="data")' "$source" "$scratch"
  folder=$scratch/kiln-gpu
else
  folder=$(cd "$source" && pwd)
fi
[ -x "$folder/bin/gpu" ] || { echo "$folder holds no bin/gpu; make it with benches/gpu/pack.sh" >&2 && exit 2; }

# CUDA's libraries: those of Python's wheels, which PyTorch brings along, before the system's.
wheels=$("$python" - <<'EOF'
import glob, sys
print(":".join(sorted({lib for path in sys.path if path for lib in glob.glob(path + "/nvidia/*/lib")})))
EOF
)
for system in /usr/local/cuda/lib64 /usr/local/nvidia/lib64; do
  [ ! -d "$system" ] || wheels=$wheels:$system
done
export LD_LIBRARY_PATH=$wheels${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
# The engine's search would find it next to the program, too; so it can be no other.
export ORT_DYLIB_PATH=$folder/bin/libonnxruntime.so

results=${OUT:-$PWD}/gpu-results.md
log=${OUT:-$PWD}/gpu-log.txt
failed=()
: >"$results" && : >"$log"

options=(--program "$folder/bin/gpu" --models "$scratch/models" --device "$device")
[ "$device" != cpu ] || options+=(--quick)

tests() {
  # The tests of operators, training and resuming, on the device; not the one that reads the checkout's files.
  echo "#### Tests"
  echo
  local code=0 said=$scratch/tests.txt
  KILN_TEST_DEVICE=$device timeout --kill-after=10 "$1" "$folder/bin/trainer-tests" \
    --skip reads_alike_from_a_folder ops:: optim:: graph:: net:: state:: checkpoint:: data:: device:: game:: objective:: \
    >"$said" 2>&1 || code=$?
  cat "$said" >&2
  grep -E '^test .* FAILED$|^test result:' "$said" | sed 's/^/- /' || true
  [ "$code" -eq 0 ] || echo "- exit code $code"
  echo
  return "$code"
}

models() {
  # Larger ones are made here: random weights do not compress. Not on the GPU, on which nothing has been checked yet.
  mkdir -p "$scratch/models"
  cp "$folder"/models/*.onnx "$scratch/models"
  CUDA_VISIBLE_DEVICES='' "$folder/bin/gpu" generators dcgan-64 --out "$scratch/models" >&2
}

section() { # NAME LIMIT
  # It ends by itself in time to print what it has; the signal is for when it cannot, and lets it end its processes.
  case $1 in
  tests) tests "$2" ;;
  *) timeout --kill-after=10 "$2" "$python" "$folder/peers/gpu.py" "$1" "${options[@]}" --limit $(($2 - MARGIN)) ;;
  esac
}

card=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -1 || true)
{
  printf '### %s, %s\n\n' "${card:-no GPU}" "$(date +%F)"
  "$python" "$folder/peers/gpu.py" machine 2>>"$log"
} | tee -a "$results"

models 2>>"$log" || { echo "the models cannot be made: $(tail -1 "$log")" | tee -a "$results"; failed+=(models); }
shares=0
for name in $sections; do
  shares=$((shares + ${SHARE[$name]:?"no section $name"}))
done
for name in $sections; do
  limit=$(((TOTAL - SECONDS) * SHARE[$name] / shares))
  shares=$((shares - SHARE[$name]))
  if [ "$limit" -lt $((2 * MARGIN)) ]; then
    echo "#### $name: left out for lack of time" | tee -a "$results"
    failed+=("$name")
    continue
  fi
  echo "$name: $limit s at most" >&2
  # Tables to the results, progress to the log and to whoever looks on.
  if ! section "$name" "$limit" 2> >(tee -a "$log" >&2) | tee -a "$results"; then
    echo "- the section $name failed; its last words: $(tail -1 "$log")" | tee -a "$results"
    failed+=("$name")
  fi
done
echo "- all sections: $SECONDS s${failed[*]:+; failed: ${failed[*]}}" | tee -a "$results"

if [ -n "$card" ] && [ "$device" != cpu ] && [ -f "$here/RESULTS.md" ]; then
  "$python" "$here/peers/gpu.py" record "$results"
fi
[ ${#failed[@]} -eq 0 ]
