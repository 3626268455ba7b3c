#!/usr/bin/env bash
# Installs what building, running and testing need, from Debian's packages. Safe to run again: what is there stays.
#   scripts/install_deps.sh [--bench] [--fuzz] [--browser] [--proxies]
#     --bench  also oneDNN, which `lapidary bench kernels` compares with
#     --fuzz   also clang 14, which builds the fuzz targets
#     --browser  also Chromium and its driver, which the test of the page installs by itself
#     --proxies  also nginx and HAProxy, as the test behind them does
set -euo pipefail

packages=(
  g++ cmake ninja-build pkg-config git ca-certificates curl
  libopenmpi-dev openmpi-bin openssh-client
  libboost1.81-dev libboost-context1.81-dev libprotobuf-dev protobuf-compiler
  libjpeg62-turbo-dev libpng-dev libwebp-dev
  libcli11-dev libspdlog-dev libyaml-cpp-dev libarchive-dev libxxhash-dev libssl-dev
  libgtest-dev libgmock-dev
  clang-format-14 xz-utils zstd iproute2 procps
)
for argument in "$@"; do
  case "$argument" in
    --bench) packages+=(libdnnl-dev) ;;
    --fuzz) packages+=(clang-14 libclang-rt-14-dev) ;;
    --browser) packages+=(chromium chromium-driver python3-selenium) ;;
    --proxies) packages+=(nginx-light haproxy openssl) ;;
    *) echo "install_deps.sh: unknown argument '$argument' (--bench, --fuzz, --browser, --proxies)" >&2; exit 2 ;;
  esac
done

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  echo "install_deps: everything is installed"
  exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "install_deps.sh: needs root or sudo to install: ${missing[*]}" >&2; exit 1; }
  as_root=(sudo)
fi
echo "install_deps: installing ${missing[*]}"
"${as_root[@]}" apt-get update -q
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
