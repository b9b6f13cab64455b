# Sourced by ./neurocards, ./demo and ./test with `root` set to the checkout: makes sure that a virtual
# environment holds exactly requirements.lock, then sets `python` and puts src on PYTHONPATH.
# What install.sh puts on a server has requirements-run.lock alone: the packages it runs with, and no tools.
# A finished environment carries a stamp, so every later run only compares it. POSIX sh, no bashisms.

venv=${NEUROCARDS_VENV:-$root/.venv}
case $venv in /*) ;; *) venv=$PWD/$venv ;; esac
python=$venv/bin/python
uv_version=0.13.9
lock=$root/requirements.lock
[ -e "$lock" ] || lock=$root/requirements-run.lock

give_up() {
    echo "$1" >&2
    exit 1
}

# What the stamp must say: this lock, installed for the interpreter that the environment's python leads to.
# An upgraded or removed interpreter changes the second half.
wanted_stamp() {
    echo "$(cksum <"$lock") $(readlink -f -- "$python")"
}

ready() {
    [ -x "$python" ] && [ -r "$venv/.neurocards" ] || return 1
    IFS= read -r stamp <"$venv/.neurocards" || return 1
    [ "$stamp" = "$(wanted_stamp)" ]
}

# A name on PATH proves nothing: version managers put shims there that fail when run, and Debian's python3
# lacks ensurepip until python3-venv is installed. So every candidate is run.
find_python() {
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -I -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

# One set-up at a time. The lock is a link to its owner's process id: it is made in one step, so it never
# lacks an owner. It is stale when the owner is gone, or when nothing can take that long (in a container
# a new process may bear a dead owner's id). Only the holder of the .break folder may remove a stale lock;
# otherwise the slower of two would remove the lock that the faster has just taken.
take_lock() {
    refusals=0
    until ln -s "$$" "$venv.lock" 2>/dev/null; do
        if ! owner=$(readlink -- "$venv.lock"); then
            # Released this moment; or no link can be made here at all, and waiting is no use.
            refusals=$((refusals + 1))
            [ "$refusals" -lt 20 ] || not_ours
            pause
        elif stale_lock "$owner" && mkdir "$venv.lock.break" 2>/dev/null; then
            [ "$(readlink -- "$venv.lock")" != "$owner" ] || rm -f -- "$venv.lock"
            rmdir -- "$venv.lock.break"
        else
            pause
            find "$venv.lock.break" -prune -mmin +1 -exec rmdir {} \; 2>/dev/null || true
        fi
    done
    trap 'rm -f -- "$venv.lock"' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

pause() {
    sleep 0.2 2>/dev/null || sleep 1
}

stale_lock() {
    if [ "$1" != "$$" ] && { kill -0 "$1" 2>/dev/null || [ -e "/proc/$1" ]; }; then
        [ -n "$(find "$venv.lock" -prune -mmin +15 2>/dev/null)" ]
    fi
}

release_lock() {
    rm -f -- "$venv.lock"
    trap - EXIT HUP INT TERM
}

# Runs a step of the installation silently; what it said is shown when it fails.
quietly() {
    said=$("$@" 2>&1) && return
    printf '%s\n' "$said" >&2
    give_up "neurocards could not be set up: the lines above say why; run the same command again when that is solved."
}

install() {
    unset PIP_USER
    [ -w "${HOME:-/nonexistent}" ] || export UV_NO_CACHE=1

    # An environment that somebody made by hand is completed; one that a set-up left half-made, or whose
    # interpreter is gone, is made anew. It is moved away first: a folder half removed must never look whole.
    needed=sys
    [ "$uv" ] || needed='sys, pip'
    if ! "$python" -I -c "import $needed; sys.exit(sys.version_info < (3, 11))" >/dev/null 2>&1 ||
        [ "$(cat "$venv/.neurocards" 2>/dev/null)" = unfinished ]; then
        if [ -e "$venv" ]; then
            rm -rf -- "$venv".old.*
            mv -- "$venv" "$venv.old.$$"
            rm -rf -- "$venv.old.$$"
        fi
        mkdir -p -- "$venv"
        echo unfinished >"$venv/.neurocards"
        if [ "$uv" ]; then
            quietly "$uv" venv --quiet --allow-existing --python '>=3.11' "$venv"
        else
            quietly "$base_python" -I -m venv "$venv"
        fi
    fi
    echo unfinished >"$venv/.neurocards"
    if [ -z "$uv" ]; then
        quietly "$python" -I -m pip install --quiet --disable-pip-version-check "uv==$uv_version"
        uv=$venv/bin/uv
    fi
    quietly "$uv" pip install --quiet --python "$python" --only-binary :all: --require-hashes -r "$lock"
    wanted_stamp >"$venv/.neurocards"
}

not_ours() {
    give_up "neurocards may not write to $venv: set NEUROCARDS_VENV to a folder of your own, or use a copy that is yours."
}

set_up() {
    uv=
    if uv --version >/dev/null 2>&1; then
        uv=uv
    else
        base_python=$(find_python) ||
            give_up "neurocards needs Python 3.11 or newer with venv: sudo apt-get install python3 python3-venv, or install uv."
    fi
    parent=$(dirname -- "$venv")
    mkdir -p -- "$parent" 2>/dev/null && [ -w "$parent" ] || not_ours
    take_lock
    [ ! -e "$venv" ] || [ -w "$venv" ] || not_ours
    [ ! -e "$venv" ] || [ -e "$venv/pyvenv.cfg" ] || [ -e "$venv/.neurocards" ] || rmdir -- "$venv" 2>/dev/null ||
        give_up "$venv is not a virtual environment: set NEUROCARDS_VENV to a folder that does not exist yet."
    if ! ready; then
        echo "Setting up (once, about half a minute)..." >&2
        install
    fi
    release_lock
}

ready || set_up
# Compiled modules are kept: without them every start costs seconds.
unset PYTHONDONTWRITEBYTECODE
export PYTHONPATH="$root/src${PYTHONPATH:+:$PYTHONPATH}"
