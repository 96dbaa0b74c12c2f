# Sourced by deploy/quickstart, tests/run and .ci/run: finds a Python, and sets up .venv with the project's packages.
#
# Needs bash and the repository's root as the working directory, but not root. A working .venv is used as it is, and an
# unchanged pyproject.toml is not installed again, so a repeated run does not use the network.

venv=.venv

say() { printf '%s\n' "$*" >&2; }

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 12))' >/dev/null 2>&1; }

# Candidates, one per line: first those in PATH, then those that pyenv and uv have installed elsewhere.
list_pythons() {
    local name
    for name in python3.12 python3.13 python3.14 python3 python; do
        command -v "$name" || true
    done
    if command -v pyenv >/dev/null; then
        ls -1d "$(pyenv root)"/versions/3.*/bin/python3 2>/dev/null || true
    fi
    ls -1d "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.*/bin/python3 2>/dev/null || true
    if command -v uv >/dev/null; then
        uv python find --no-python-downloads '>=3.12' 2>/dev/null || true
    fi
}

# Prints the interpreter itself, not a shim: shims depend on the working directory at each call.
find_python() {
    local candidate
    while read -r candidate; do
        if is_new_enough "$candidate"; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return 0
        fi
    done < <(list_pythons)
    return 1
}

say_what_to_install() {
    say "Python 3.12 or newer was not found in PATH, pyenv or uv."
    say "Install it in one of these ways, then run the same command again:"
    say "  Debian 13, Ubuntu 24.04 or newer:  apt install python3 python3-venv"
    say "  Fedora, RHEL 9 or newer:           dnf install python3.12"
    say "  any Linux, without root:           uv python install 3.12    (https://docs.astral.sh/uv/)"
    say "                                     pyenv install 3.12        (https://github.com/pyenv/pyenv)"
}

make_venv() {
    local python
    if [ -x "$venv/bin/python" ] && is_new_enough "$venv/bin/python"; then
        return 0
    fi
    python=$(find_python) || { say_what_to_install; return 1; }
    say "Creating $venv with $python ($("$python" -V))"
    "$python" -m venv --clear "$venv" >/dev/null 2>&1 && return 0
    # On Debian, the module that fills a venv is in a separate package.
    if command -v uv >/dev/null && uv venv --quiet --clear --seed --python "$python" "$venv"; then
        return 0
    fi
    rm -rf "$venv"
    say "$python could not create a virtual environment in $PWD/$venv. Is the folder writable, and is the venv module installed?"
    say "On Debian and Ubuntu, install the module with: apt install python3-venv"
    return 1
}

pip_install() {
    if "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
    elif command -v uv >/dev/null; then
        uv pip install --quiet --python "$venv/bin/python" "$@"
    else
        "$venv/bin/python" -m ensurepip >/dev/null && "$venv/bin/python" -m pip install --quiet "$@"
    fi
}

# prepare_venv [EXTRA]: sets up .venv with this project and with the packages of EXTRA.
prepare_venv() {
    local extra=${1:-} wanted
    local marks=("$venv"/.installed*) # without an extra, any earlier installation is enough
    if [ -n "$extra" ]; then marks=("$venv/.installed-$extra"); fi
    make_venv || return 1
    # The path counts too: an editable install points to the folder in which it was made.
    wanted="$PWD $(cksum <pyproject.toml)"
    if [ -x "$venv/bin/certedge" ] && grep -qsxF "$wanted" "${marks[@]}"; then
        return 0
    fi
    say "Installing packages into $venv${extra:+, with those for the tests} (takes some minutes the first time)"
    if ! pip_install --editable ".${extra:+[$extra]}"; then
        say "The packages could not be installed (see pip's message above). Can this machine reach the package index?"
        return 1
    fi
    printf '%s\n' "$wanted" >"$venv/.installed${extra:+-$extra}"
}

can_apt() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

# apt_install PACKAGE…: asks nothing, removes nothing (another mail server stays) and starts nothing.
apt_install() {
    local policy=/usr/sbin/policy-rc.d made_policy='' status=0
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && made_policy=yes
    fi
    {
        apt-get update -qq &&
            DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends --no-remove "$@"
    } >/dev/null || status=$?
    [ -z "$made_policy" ] || rm -f "$policy"
    return "$status"
}

# For the commands that may install packages: installs the system's Python if there is no other. It does not report
# failures, because prepare_venv comes next and does.
offer_system_python() {
    if can_apt && ! { [ -x "$venv/bin/python" ] || find_python >/dev/null; }; then
        say "Python 3.12 or newer is not installed: trying the system's packages"
        apt_install python3 python3-venv || true
    fi
}
