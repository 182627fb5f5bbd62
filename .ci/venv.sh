# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Sourced by ./run and ./test: say, fail, root, usable PYTHON, make_venv DIR PYTHON EXTRAS.
# The distribution's Python goes first: labs use its bindings, and it is what an installed plugin will run on.

say() { printf '%s\n' "$*" >&2; }
fail() { say "$*"; exit 3; }
root() { [ "$(id -u)" -eq 0 ]; }

usable() {  # a Python of 3.9 or newer that can make a virtual environment with pip
    "$1" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 9))' >/dev/null 2>&1
}

find_python() {  # prints the Python to use
    for python in /usr/bin/python3 python3; do
        if usable "$python"; then printf '%s\n' "$python"; return; fi
    done
    wanted="apt-get install -y --no-install-recommends python3 python3-venv"
    if command -v apt-get >/dev/null && root; then
        say "installing python3-venv"
        export DEBIAN_FRONTEND=noninteractive
        { apt-get -q update && $wanted -o DPkg::Lock::Timeout=600; } >&2 || fail "python3-venv could not be installed"
        usable /usr/bin/python3 || fail "/usr/bin/python3 is older than 3.9, or cannot make virtual environments"
        printf '%s\n' /usr/bin/python3
    else
        fail "Python 3.9 or newer with venv is missing. This line installs it:
    sudo $wanted"
    fi
}

make_venv() {  # DIR PYTHON EXTRAS: nothing to do while setup.cfg and pyproject.toml are what they were
    stamp="$1/.installed-$3"
    [ -x "$1/bin/python" ] && "$1/bin/python" -c '' 2>/dev/null || "$2" -m venv --clear "$1" \
        || fail "no virtual environment could be made in $1"
    cat setup.cfg pyproject.toml | cmp -s - "$stamp" && return
    say "installing nephoscope[$3] into $1"
    "$1/bin/python" -m pip install -qq --disable-pip-version-check --editable ".[$3]" >&2 \
        || fail "pip could not install nephoscope[$3]: see above"
    cat setup.cfg pyproject.toml >"$stamp"
}
