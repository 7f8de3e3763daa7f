#!/usr/bin/env bash
# nvrtc.sh [DIR [VERSION]]: NVIDIA's own run-time compiler on the text of every kernel, for every architecture and element
# type, as the trainer hands it over. Needs no GPU: half a minute, of which most is the download of 90 MB, and Python with
# pip. x86-64 Linux. Prints what each kernel takes of a card; exit code 1 if one is refused, warned of, or spills registers.
# DIR (target/nvrtc) keeps what is fetched; VERSION is that of CUDA, 13 (default) or 12.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
dir=${1:-target/nvrtc}
case ${2:-13} in
13) name=nvidia-cuda-nvrtc version=13.0.88
  sha256=ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575 ;;
12) name=nvidia-cuda-nvrtc-cu12 version=12.9.86
  sha256=210cf05005a447e29214e9ce50851e83fc5f4358df8b453155d5e1918094dcb4 ;;
*) echo "nvrtc.sh: of CUDA $2 nothing is known, only of 12 and 13" >&2 && exit 2 ;;
esac
wheel="$dir/${name//-/_}-$version-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl"
libraries=$dir/$version
mkdir -p "$dir"
if [ ! -f "$wheel" ]; then
  python3 -m pip download --quiet --no-deps --only-binary=:all: --platform manylinux_2_12_x86_64 --dest "$dir" "$name==$version"
fi
echo "$sha256  $wheel" | sha256sum --check --quiet
if [ ! -d "$libraries" ]; then
  rm -rf "$libraries.new"
  python3 -m zipfile --extract "$wheel" "$libraries.new"
  mv "$libraries.new" "$libraries"
fi
exec python3 benches/gpu/nvrtc.py "$libraries"
