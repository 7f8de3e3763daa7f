#!/bin/sh
# Builds the C library and installs it: shared and static, header, and kiln.pc for pkg-config.
#
# usage: install.sh PREFIX [OPTIONS OF CARGO...]        for example: install.sh /usr/local --features cuda
#
# DESTDIR goes before PREFIX for packages. Tested on Linux; macOS differs in what is set below.
set -eu
[ $# -ge 1 ] || { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2; }
case $1 in
  /*) prefix=$1 ;;
  *) echo "install.sh: PREFIX is $1, allowed is an absolute path" >&2; exit 2 ;;
esac
shift
cd "$(dirname "$0")"
version=$(sed -n 's/^#define KILN_VERSION "\(.*\)"$/\1/p' include/kiln.h)
# Versions that differ in what is before the last point are not compatible, as long as they begin with 0.
abi=${version%.*}

case $(uname -s) in
  Darwin)
    file=libkiln.$version.dylib name=libkiln.$abi.dylib link=libkiln.dylib
    set_name="-Wl,-install_name,$prefix/lib/$name" system="-liconv -lm" ;;
  *)
    file=libkiln.so.$version name=libkiln.so.$abi link=libkiln.so
    set_name="-Wl,-soname,$name" system="-lpthread -ldl -lm -lrt -lutil" ;;
esac

# The profile last, so that another one may be asked for.
case " $* " in
  *" --profile "* | *" --profile="* | *" --release "*) ;;
  *) set -- "$@" --release ;;
esac
# Of a pipe the shell would know the last command's end alone.
built=$(cargo rustc --lib --no-default-features --features capi,bundled --crate-type cdylib,staticlib \
  --message-format json-render-diagnostics "$@" -- -C "link-arg=$set_name")
of() { printf '%s\n' "$built" | tr '"' '\n' | grep -E "^/.*/libruntime\.($1)\$" | tail -n 1; }

lib=${DESTDIR:-}$prefix/lib include=${DESTDIR:-}$prefix/include
mkdir -p "$lib/pkgconfig" "$include"
install -m 755 "$(of 'so|dylib')" "$lib/$file"
install -m 644 "$(of a)" "$lib/libkiln.a"
install -m 644 include/kiln.h "$include/kiln.h"
ln -sf "$file" "$lib/$name"
ln -sf "$name" "$lib/$link"
cat >"$lib/pkgconfig/kiln.pc" <<END
prefix=$prefix
includedir=\${prefix}/include
libdir=\${prefix}/lib

Name: kiln
Description: Draws samples from a generator file, through ONNX Runtime
Version: $version
Cflags: -I"\${includedir}"
Libs: -L"\${libdir}" -lkiln
Libs.private: $system
END
echo "installed kiln $version into ${DESTDIR:-}$prefix"
