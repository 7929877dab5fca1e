#!/usr/bin/env bash
# All set-up: uv into .uv/, everything that uv.lock names into .venv/. Does nothing when both are current.
set -uo pipefail
cd "$(dirname "$0")/.."

UV_VERSION=0.13.9
NEEDED_GB=8                                     # PyTorch brings its CUDA libraries, used or not
export UV_PYTHON_DOWNLOADS=never                # the machine's own Python, never one from elsewhere
done_mark=.venv/.set-up
log=$(mktemp) && trap 'rm -f "$log"' EXIT

fail() { printf 'error: %s\n' "$@" >&2; exit 1; }

explain() {   # what the installer said, in plain words
  tail -n 15 "$log" >&2
  if grep -qiE 'no space left' "$log"; then
    fail "the disk is full: set-up needs about ${NEEDED_GB} GB below this folder and the cache of uv"
  elif grep -qiE 'dns error|name resolution|failed to resolve|connection (refused|reset|timed out)|error sending request|no route|network is unreachable|max retries|timed out|no matching distribution found for uv' "$log"; then
    fail "no network: the Python package index can't be reached. Set-up needs it once; behind a proxy set HTTPS_PROXY, for a mirror UV_DEFAULT_INDEX (uv) and PIP_INDEX_URL (pip)"
  elif grep -qiE "command '?(gcc|cc|clang|x86_64[^ ]*)'? failed|unable to execute|gcc: (command )?not found|no such file or directory: '(gcc|cc)'|Python\.h" "$log"; then
    fail "a package had to be compiled and there is no C compiler: install gcc and Python's headers (Debian: apt install gcc python3-dev)"
  fi
  fail "set-up failed; the installer's last words are above"
}

if [ -e "$done_mark" ] && [ "$done_mark" -nt uv.lock ] && [ "$done_mark" -nt pyproject.toml ]; then
  exit 0
fi

python=${PYTHON:-python3}
command -v "$python" >/dev/null || fail "$python is not there: install Python 3.11 or newer, or set PYTHON=/path/to/python"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
  || fail "$("$python" --version) is too old: Python 3.11 or newer is needed (PYTHON=/path/to/python make ...)"
"$python" -c 'import venv, ensurepip' 2>/dev/null \
  || fail "this Python has no venv module (Debian: apt install python3-venv)"
free_gb=$(df -Pk . | awk 'NR == 2 {print int($4 / 1048576)}')
[ -d .venv ] || [ "$free_gb" -ge "$NEEDED_GB" ] \
  || fail "only ${free_gb} GB are free here: set-up needs about ${NEEDED_GB} GB"

if [ "$(.uv/bin/uv --version 2>/dev/null | cut -d' ' -f2)" != "$UV_VERSION" ]; then
  echo "Set-up: uv ${UV_VERSION} into .uv/"
  { "$python" -m venv .uv && .uv/bin/python -m pip install --quiet --disable-pip-version-check "uv==${UV_VERSION}"; } \
    >"$log" 2>&1 || explain
fi
echo "Set-up: the packages of uv.lock into .venv/ (about 6 GB the first time, half a minute to some minutes)"
.uv/bin/uv sync --frozen --all-extras --compile-bytecode --python "$python" >"$log" 2>&1 || explain
touch "$done_mark"
