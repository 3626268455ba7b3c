#!/usr/bin/env bash
# Makes a folder that runs on any recent Linux of this architecture, without root and without installing: the program, Open
# MPI, the libraries that Debian gave them, and with --tests the tests of what a machine is, and gpu_check.sh. CUDA's and
# NCCL's own libraries stay out: they belong to the driver of the machine, and are found there (also inside Python's nvidia
# packages).
#   scripts/bundle.sh FOLDER [--tests]      then, there: FOLDER/lapidary caption …, FOLDER/mpirun -np 2 FOLDER/lapidary …
set -euo pipefail
out=${1:?usage: scripts/bundle.sh FOLDER [--tests]}
tests=${2:-}
source_dir=$(cd "$(dirname "$0")/.." && pwd)
build=${LAPIDARY_BUILD:-$source_dir/build/release}
[ ! -e "$out" ] || { echo "bundle.sh: $out is there already" >&2; exit 2; }
[ -z "$tests" ] || [ "$tests" = --tests ] || { echo "bundle.sh: '$tests' is not --tests" >&2; exit 2; }
if [ -z "${LAPIDARY_BUILD:-}" ]; then
  (cd "$source_dir" && scripts/build.sh release ${tests:+all} >/dev/null)
fi
mkdir -p "$out/bin" "$out/lib" "$out/glibc" "$out/openmpi/bin" "$out/openmpi/share"
out=$(cd "$out" && pwd)

programs=("$build/bin/lapidary")
if [ -n "$tests" ]; then
  # What differs from machine to machine: the GPU, the processor's instructions, ranks. The rest is tested where it is built.
  for program in "$build"/bin/tests_cuda "$build"/bin/tests_kernels "$build"/bin/mpi_suite; do [ ! -x "$program" ] || programs+=("$program"); done
fi
cp "${programs[@]}" "$out/bin/"
strip "$out"/bin/*
mkdir -p "$out/configs"
cp -r "$source_dir/configs/models" "$source_dir/configs/demo" "$out/configs/"
git -C "$source_dir" rev-parse --short HEAD >"$out/commit" 2>/dev/null || echo unknown >"$out/commit"
if [ -n "$tests" ]; then # and what tests_cuda reads: LAPIDARY_TEST_DATA=FOLDER FOLDER/tests_cuda
  mkdir -p "$out/tests/golden"
  cp -r "$source_dir/tests/golden/models" "$out/tests/golden/"
  cp "$source_dir"/scripts/gpu_check.sh "$source_dir"/scripts/gpu_check_steps.bash "$source_dir"/scripts/compare_transformers.py "$out/"
fi

# Open MPI: its starters, and the plugins that it looks for in a folder of its own.
orterun=$(readlink -f "$(command -v mpirun)")
library_dir=$(dirname "$(ldd "$orterun" | awk '/libopen-rte/ {print $3}')")
plugins=$(find "$library_dir" /usr/lib -type d -name openmpi3 2>/dev/null | head -1)
cp "$orterun" "$out/openmpi/bin/orterun"
cp "$(command -v orted)" "$out/openmpi/bin/orted"
cp -r "$plugins" "$out/openmpi/plugins"
rm -f "$out"/openmpi/plugins/mca_{spml,scoll,sshmem,memheap,atomic}_*.so # OpenSHMEM's
rm -f "$out"/openmpi/plugins/mca_{mtl,btl}_ofi.so # ranks hang over it; Debian turns it off in /etc/openmpi
cp -rL /usr/share/openmpi "$out/openmpi/share/openmpi"

# Every library that any of them needs; glibc apart: it is used only where the machine's own is older.
mapfile -t objects < <(find "$out/bin" "$out/openmpi/bin" "$out/openmpi/plugins" -type f \( -name '*.so' -o -perm -u+x \))
ldd "${objects[@]}" 2>/dev/null | awk '$2 == "=>" && $3 ~ /^\// {print $3} $1 ~ /^\/.*ld-linux/ {print $1}' | sort -u |
  while read -r library; do
    case "$(basename "$library")" in
      libcuda.so* | libcudart* | libcublas* | libnccl* | libnvrtc*) ;;
      ld-linux* | libc.so* | libm.so* | libpthread.so* | libdl.so* | librt.so* | libresolv.so* | libutil.so*) cp -L "$library" "$out/glibc/" ;;
      *) cp -L "$library" "$out/lib/" ;;
    esac
  done
# libarchive reads one kind of archive by a library of XML, which brings ICU's tables of 31 MB. No tar needs them: a library
# whose functions do nothing stands in, unless another of these wants the real one.
needs() { readelf -d "$1" | sed -nE "s/.*NEEDED.*\[($2[^]]*)\].*/\1/p" | head -1; }
archive=$(find "$out/lib" -name 'libarchive.so.*' | head -1) others=''
for library in "$out"/lib/*.so* "$out"/openmpi/plugins/*.so; do
  case "$(basename "$library")" in libarchive.* | libxml2.* | libicu*) continue ;; esac
  [ -z "$(needs "$library" 'lib(xml2|icu)')" ] || others=$library
done
if [ -z "$others" ] && [ -n "$archive" ] && [ -n "$(needs "$archive" libxml2)" ]; then
  xml=$(needs "$archive" libxml2)
  rm -f "$out"/lib/libxml2.so* "$out"/lib/libicu*.so*
  nm -D --undefined-only "$archive" | sed -nE 's/^ +U ([A-Za-z0-9_]+)@(LIBXML2_.+)$/\1 \2/p' >"$out/xml"
  awk '{of[$2] = of[$2] $1 ";"} END {for (version in of) print version " {" of[version] "};"}' "$out/xml" >"$out/xml.map"
  awk '{print "void* " $1 "(void) { return 0; }"}' "$out/xml" |
    cc -x c -shared -fPIC -Wl,-soname,"$xml" -Wl,--version-script="$out/xml.map" -o "$out/lib/$xml" -
  rm "$out/xml" "$out/xml.map"
fi
strip --strip-unneeded "$out"/lib/*.so* 2>/dev/null || true
ldd --version | awk 'NR == 1 {print $NF}' >"$out/glibc/version"

# One starter for all: NAME runs bin/NAME (or Open MPI's) with the bundle's libraries.
cat >"$out/start" <<'EOF'
#!/bin/sh
# Runs the program of this name beside it, with the libraries of this folder.
here=$(cd "$(dirname "$0")" && pwd)
name=$(basename "$0")
case "$name" in
  mpirun)
    program=$here/openmpi/bin/orterun
    # It insists on a way to other hosts, unless it is told that there is none.
    command -v ssh >/dev/null || command -v rsh >/dev/null || export OMPI_MCA_plm="${OMPI_MCA_plm:-isolated}"
    ;;
  orted) program=$here/openmpi/bin/orted ;;
  *) program=$here/bin/$name ;;
esac
export OPAL_PREFIX="$here/openmpi" OPAL_PKGDATADIR="$here/openmpi/share/openmpi" OPAL_BINDIR="$here/openmpi/bin"
export OMPI_MCA_mca_base_component_path="$here/openmpi/plugins" OMPI_MCA_orte_launch_agent="$here/orted"
export PMIX_MCA_pcompress_base_silence_warning=1 # its messages between ranks of a job are small
# What it starts itself (mpirun, and by that the program) is this folder's, too.
export LAPIDARY_STARTER="$here/lapidary" PATH="$here${PATH:+:$PATH}"
cuda=$(python3 -c 'import glob, nvidia; print(":".join(d for p in nvidia.__path__ for d in glob.glob(p + "/*/lib")))' 2>/dev/null || true)
export LD_LIBRARY_PATH="$here/lib${cuda:+:$cuda}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
mine=$(cat "$here/glibc/version")
theirs=$(ldd --version 2>/dev/null | awk 'NR == 1 {print $NF}')
if [ "$(printf '%s\n' "$mine" "${theirs:-0}" | sort -V | head -1)" = "$mine" ]; then exec "$program" "$@"; fi
exec "$here"/glibc/ld-linux*.so.* --library-path "$here/glibc:$LD_LIBRARY_PATH" "$program" "$@"
EOF
chmod +x "$out/start"
for name in mpirun orted $(ls "$out/bin"); do ln -s start "$out/$name"; done
echo "$out: $(du -sh "$out" | cut -f1), to be started as $out/lapidary"
