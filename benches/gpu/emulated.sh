#!/usr/bin/env bash
# emulated.sh [DIR]: the trainer's CUDA code without a GPU. Builds it with the feature `cuda`, runs the operators' and the
# training's tests on the emulated GPU of benches/gpu/emulator, and trains and exports a small generator there.
# DIR (target/emulated) keeps what is built; needs g++, downloads nothing but crates. About ten minutes on two cores.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
dir=${1:-target/emulated}
mkdir -p "$dir" && dir=$(cd "$dir" && pwd)

cargo fetch
toolkit=$(benches/gpu/toolkit/cuda-home.sh "$dir/home" --check)
eval "$toolkit"
benches/gpu/emulator/build.sh "$dir/emulator"
export CARGO_TARGET_DIR=$dir/cargo
cargo build -p trainer --features cuda
emulated() { LD_LIBRARY_PATH="$dir/emulator" "$@"; }

# Every kernel's memory has guarded ends. The second order of threads finds barriers that are missing.
KILN_TEST_DEVICE=cuda KILN_EMULATED_CHECK=1 LD_LIBRARY_PATH="$dir/emulator" \
  cargo test -p trainer --features cuda --lib -- ops:: optim:: graph:: net:: state:: checkpoint:: data:: device:: game:: objective::
KILN_TEST_DEVICE=cuda KILN_EMULATED_SHUFFLE=1 LD_LIBRARY_PATH="$dir/emulator" \
  cargo test -p trainer --features cuda --lib -- ops::batch_norm ops::normalise ops::channel ops::conv ops::loss optim:: graph:: state::

# A whole run, with the penalty that needs second derivatives; longer ones must not wait for the device more often: nothing
# but ticks may.
waits() { # STEPS PRECISION
  rm -rf "$dir/run"
  KILN_EMULATED_STATS=1 emulated "$dir/cargo/debug/trainer" --device cuda --run "$dir/run" --steps "$1" --batch 16 \
    --set generator.width=8 --set discriminator.width=8 --set training.tick_kimg=1000 \
    --set training.precision="$2" --set 'objective.penalties=[{kind="r1",weight=1.0}]' --export "$dir/gen.onnx" 2>&1 | tee "$dir/run.log" >&2
  sed -n 's/.* launches, \([0-9]*\) synchronisations.*/\1/p' "$dir/run.log"
}
for precision in f32 tf32 bf16 f16; do
  short=$(waits 10 $precision) long=$(waits 30 $precision)
  if [ -z "$short" ] || [ "$short" != "$long" ]; then
    echo "$precision: 10 steps wait for the device $short times, 30 steps $long times: a step waits" >&2
    exit 1
  fi
done
echo "the CUDA code passes on the emulated GPU"
