#!/bin/bash
# build.sh DIR: stand-ins for the CUDA libraries, with which a program built with candle's feature `cuda` runs on the CPU:
#   LD_LIBRARY_PATH=DIR program
# g++ is needed here, and again whenever a kernel is compiled at run time. x86-64 Linux.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dir=$(mkdir -p "${1:?DIR}" && cd "$1" && pwd)
mkdir -p "$dir/objects"
flags=(-std=c++17 -O3 -march=native -fPIC -fvisibility=hidden -Wall -Wextra)

for source in "$here"/*.cpp; do
  object=$dir/objects/$(basename "$source" .cpp).o
  if [ ! "$object" -nt "$source" ] || [ -n "$(find "$here" -name '*.h' -newer "$object")" ]; then echo "$source"; fi
done | xargs -r -P "$(nproc)" -I{} sh -c '"$@" -c "{}" -o "'"$dir"'/objects/$(basename "{}" .cpp).o"' sh g++ "${flags[@]}"

library() { # SONAME SOURCE..., linked against the driver where it is not the driver
  local name=$1 objects=()
  shift
  for source in "$@"; do objects+=("$dir/objects/$source.o"); done
  local links=()
  [ "$name" = libcuda.so.1 ] || links=(-L"$dir" -l:libcuda.so.1 "-Wl,-rpath,\$ORIGIN")
  g++ -shared -Wl,-soname,"$name" -Wl,-z,defs -o "$dir/$name" "${objects[@]}" "${links[@]}" -ldl -lpthread
}
library libcuda.so.1 driver memory launch fibers candle_elementwise candle_copies candle_reductions candle_indexing candle_images
library libcublas.so.13 cublas
library libcurand.so.10 curand
library libnvrtc.so.13 nvrtc
install -m644 "$here/kernel.h" "$here/abi.h" "$dir/"
