#!/usr/bin/env bash
# Packs what benches/gpu.sh needs on a machine with a GPU that has neither Rust nor a network. Runs on x86-64 Linux without a
# GPU; needs Rust, a C compiler, Python with pip, tar, xz and zstd, 3 GB of memory, and about 400 MB of downloads at first.
#
# usage: pack.sh DIR     makes DIR/kiln-gpu and DIR/kiln-gpu.tar.xz
#
# KILN_GPU_ARCH      compute capability of the GPU without the dot (default: 90, for H100 and H200)
# KILN_GPU_FEATURES  of the crate `benches` (default: cuda)
# KILN_GPU_DROP      pattern of the kernels of ONNX Runtime that are left out, see ort_prune.py (default: those of language
#                    models; with '' for none the archive is some 35 MiB larger)
# KILN_GPU_LIMIT     MiB that the archive may have (default: 64)
# CUDA_HOME, NVCC    a CUDA toolkit, if there is one; else one is made by toolkit/cuda-home.sh
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
case "${1:-}" in
"" | -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" && exit ;;
esac
dir=$(mkdir -p "$1" && cd "$1" && pwd)
arch=${KILN_GPU_ARCH:-90} features=${KILN_GPU_FEATURES:-cuda}
# What is fetched and made once is kept beside cargo's own.
cache=${CARGO_TARGET_DIR:-$root/target}/gpu-pack
folder=$dir/kiln-gpu archive=$dir/kiln-gpu.tar.xz
LIMIT=$((${KILN_GPU_LIMIT:-64} << 20))

# The last official build for CUDA 13 with all of these: the wheel is Python's 3.11, the libraries in it are any Python's.
ORT=1.31.1
ORT_SHA256=e26c475fe361b2015f45b4b824bd13f0bb20204e59b62814e6f0acd5f3d491a6
# Nine tenths of its code for a GPU are attention, mixtures of experts and quantised products: no image generator calls them.
LANGUAGE_MODELS='flash|cutlass|ttention|fmha|kernel_mha|[Mm]o[eE]|fpA_intB|3llm7kernels|MatMulNBits|MatMulFloat'

step() { printf '\n== %s\n' "$*" >&2; }

step "ONNX Runtime $ORT for CUDA"
mkdir -p "$cache/ort"
wheel=$(find "$cache" -maxdepth 1 -name "onnxruntime_gpu-$ORT-*.whl" | head -1)
if [ -z "$wheel" ]; then
  python3 -m pip download --quiet --no-deps --only-binary=:all: --implementation cp --python-version 3.11 \
    --platform manylinux_2_28_x86_64 --dest "$cache" "onnxruntime-gpu==$ORT"
  wheel=$(find "$cache" -maxdepth 1 -name "onnxruntime_gpu-$ORT-*.whl" | head -1)
fi
echo "$ORT_SHA256  $wheel" | sha256sum --check --quiet
python3 - "$wheel" "$cache/ort" <<'EOF'
import pathlib, sys, zipfile
names = {"libonnxruntime_providers_shared.so", "libonnxruntime_providers_cuda.so"}
with zipfile.ZipFile(sys.argv[1]) as wheel:
    for name in wheel.namelist():
        file = pathlib.PurePosixPath(name).name
        # libonnxruntime.so.VERSION is looked for under its plain name.
        file = "libonnxruntime.so" if file.startswith("libonnxruntime.so") else file
        if file in names | {"libonnxruntime.so"}:
            pathlib.Path(sys.argv[2], file).write_bytes(wheel.read(name))
EOF
pattern=${KILN_GPU_DROP-$LANGUAGE_MODELS} drop=()
[ -z "$pattern" ] || drop=(--drop "$pattern")
python3 "$here/ort_prune.py" "$cache/ort/libonnxruntime_providers_cuda.so" "$cache/pruned.so" "$arch" "${drop[@]}" >&2

step "the programs, with the features $features"
cd "$root"
if [ -z "${CUDA_HOME:-}" ]; then
  cargo fetch --quiet
  toolkit=$("$here/toolkit/cuda-home.sh" "$cache/cuda-home")
  eval "$toolkit"
fi
export CUDA_COMPUTE_CAP=$arch
cargo build --release -p benches -p trainer -p kiln-gan-runtime --features "$features" --bin gpu --bin generators --bin trainer --bin sample
# The trainer has each feature of this name as well.
built=$(cargo test --release --no-run -p trainer --lib --features "$features" --message-format json)
programs=${CARGO_TARGET_DIR:-$root/target}/release
trainer_tests=$(python3 -c '
import json, sys
lines = (json.loads(line) for line in sys.stdin if line.startswith("{"))
print(*(line["executable"] for line in lines if line.get("executable") and line["target"]["name"] == "trainer"))
' <<<"$built")

step "the folder"
rm -rf "$folder" && mkdir -p "$folder/bin" "$folder/models" "$folder/peers"
cp "$cache/ort/libonnxruntime.so" "$cache/ort/libonnxruntime_providers_shared.so" "$folder/bin"
cp "$cache/pruned.so" "$folder/bin/libonnxruntime_providers_cuda.so"
for program in gpu trainer sample; do
  strip -o "$folder/bin/$program" "$programs/$program"
done
strip -o "$folder/bin/trainer-tests" "$trainer_tests"
# The zoo. Larger generators are made where they are measured.
"$programs/generators" --out "$cache/generators" >&2
cp "$cache/generators"/digits-{f16,f32}.onnx "$folder/models"
cp "$here/../gpu.sh" "$folder"
for script in gpu gpu_report gpu_programs gpu_torch peer_torch torch_from_onnx samplers sampling worker common cold jitter; do
  cp "$here/../peers/$script.py" "$folder/peers"
done
cp "$here"/../{techniques,variants}.py "$folder/peers"
cp -r "$root/runtime/tests/fixtures/adopt" "$folder"
git describe --always --dirty --exclude='*' >"$folder/COMMIT"

step "the archive"
# The dictionary is larger than all of it: what two programs have in common, MNIST among it, is stored once.
tar --create --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$(git log -1 --format=%ct)" -C "$dir" kiln-gpu |
  xz --lzma2=preset=9e,dict=256MiB >"$archive"

mib() { awk -v bytes="$1" 'BEGIN { printf "%.1f MiB", bytes / 1048576 }'; }
size=$(stat --format=%s "$archive")
{
  echo
  (cd "$folder" && find . -type f -size +64k -printf '%s %P\n' | sort -rn) | while read -r bytes name; do
    # Each for itself and quickly: together they are smaller.
    printf '%12s, packed %10s  %s\n' "$(mib "$bytes")" "$(mib "$(xz -1 -T0 -c "$folder/$name" | wc -c)")" "$name"
  done
  echo "$archive: $(mib "$size") of at most $(mib "$LIMIT")"
} >&2
if [ "$size" -gt "$LIMIT" ]; then
  echo "error: the archive is larger than $(mib "$LIMIT"): leave out what the list above shows to be large" >&2
  exit 1
fi
