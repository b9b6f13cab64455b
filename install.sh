#!/bin/sh
# Installs neurocards on a Debian or Ubuntu host with systemd, or brings an installed one up to this version.
#
#   sudo ./install.sh                install or upgrade
#   sudo ./install.sh --roll-back    back to the version before the last upgrade
#   --root DIR                       do all of it below DIR, touch nothing else, start nothing: a rehearsal
#
# It may be run at any time and as often as you like. Settings and data are never overwritten, and a running shop goes
# on with the version it was started with until the new one is complete. With NEUROCARDS_VENV the packages are in that
# folder instead of the version's own. POSIX sh.
set -eu
umask 022

self=$(readlink -f -- "$0")
checkout=$(dirname -- "$self")
shipped="src scripts/bootstrap.sh neurocards install.sh requirements-run.lock systemd deploy .env.example
    DEPLOYMENT_GUIDE.md DEPLOYMENT_GUIDE.ru.md LICENSE"

main() {
    root= roll_back=
    while [ $# -gt 0 ]; do
        case $1 in
            --root) [ $# -gt 1 ] || refuse "--root needs a folder"; root=$2; shift 2 ;;
            --root=*) root=${1#--root=}; [ -n "$root" ] || refuse "--root needs a folder"; shift ;;
            --roll-back) roll_back=yes; shift ;;
            -h | --help) sed -n '2,10s/^# \{0,1\}//p' "$self"; exit ;;
            *) refuse "there is no option '$1'; ./install.sh --help lists them" ;;
        esac
    done
    check
    home=$root/opt/neurocards
    settings=$root/etc/neurocards/neurocards.env
    [ "$roll_back" ] || [ -d "$home" ] || mkdir -p -- "$home"
    [ -d "$home/releases" ] || [ -z "$roll_back" ] || refuse "nothing is installed in $home"
    exec 9>"$home/.lock"
    flock -n 9 || refuse "another install.sh is at work in $home"
    if [ "$roll_back" ]; then
        go_back
    else
        put_release
        put_user
        put_folders
        activate "$release"
        forget_old
        say_next
    fi
}

say() { echo "install.sh: $*"; }

refuse() {
    echo "install.sh: $*" >&2
    exit 1
}

# --- what must be so before anything is touched

check() {
    if [ -n "$root" ]; then
        [ -d "$root" ] || refuse "$root is not a folder"
        root=$(readlink -f -- "$root")
        [ "$root" != / ] || refuse "--root is for a rehearsal, and / is the real thing: leave it out"
    elif [ "$(id -u)" -ne 0 ]; then
        refuse "it needs root: sudo ./install.sh (or --root DIR for a rehearsal)"
    fi
    for tool in systemd-sysusers systemd-run flock sha256sum; do
        command -v "$tool" >/dev/null || refuse "this host has no $tool: it must be a Debian or Ubuntu with systemd"
    done
    # A link in a rehearsal's folder could lead out of it.
    [ -z "$root" ] || for place in opt/neurocards/releases opt/neurocards/.lock etc/neurocards/neurocards.env \
        etc/systemd/system var/lib/neurocards usr/local/bin; do
        case $(readlink -m -- "$root/$place") in
            "$root/$place") ;;
            *) refuse "$root/$place leads out of $root" ;;
        esac
    done
    [ ! -e "$root/opt/neurocards/current" ] || [ -L "$root/opt/neurocards/current" ] ||
        refuse "$root/opt/neurocards/current is not a link: something else lives there"
    [ "$roll_back" ] || for part in $shipped; do
        [ -e "$checkout/$part" ] || refuse "$checkout/$part is missing: run it from a whole checkout"
    done
}

# --- a version: its code and its packages in a folder of their own

put_release() {
    name=$(release_name)
    release=$home/releases/$name
    if [ -e "$release/.complete" ]; then
        say "version $name is there already"
        # After an upgrade of the system its packages may be for a Python that is gone.
        packages=$(cat -- "$release/.venv/.neurocards" 2>/dev/null || true)
        put_packages
        [ "$packages" = "$(cat -- "$release/.venv/.neurocards")" ] || touch -- "$home/.restart"
        return
    fi
    say "putting version $name into $release"
    rm -rf -- "$release"
    mkdir -p -- "$release/scripts"
    for part in $shipped; do
        cp -R -- "$checkout/$part" "$release/$part"
    done
    find "$release" -name __pycache__ -prune -exec rm -rf -- {} +
    # However closed the checkout is: the shop's user must be able to read its code, and only root to change it.
    chmod -R u=rwX,go=rX -- "$release"
    [ "$(id -u)" -ne 0 ] || chown -R 0:0 -- "$release"
    put_packages
    touch -- "$release/.complete"
}

# The version in words, and what it is made of in a few letters: the same code has the same name.
release_name() {
    version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$checkout/src/neurocards/__init__.py")
    content=$(cd -- "$checkout" &&
        find $shipped -type f ! -path '*/__pycache__/*' | LC_ALL=C sort | tr '\n' '\0' | xargs -0 sha256sum | sha256sum)
    echo "$version-$(echo "$content" | cut -c1-10)"
}

put_packages() {
    if [ -n "${NEUROCARDS_VENV:-}" ] && [ ! -e "$release/.venv" ] && [ ! -L "$release/.venv" ]; then
        ln -s -- "$(readlink -m -- "$NEUROCARDS_VENV")" "$release/.venv"
    fi
    # bootstrap.sh counts everything from $root; a subshell keeps ours.
    (
        root=$release
        unset NEUROCARDS_VENV
        # A Python below root's home is out of the reach of the shop's user, and caches there are not ours to fill.
        PATH=/usr/local/bin:/usr/bin:/bin:$PATH
        export UV_PYTHON_PREFERENCE=only-system UV_NO_CACHE=1 PIP_NO_CACHE_DIR=1
        . "$release/scripts/bootstrap.sh"
        # The shop's user may not write here, and without compiled modules every start would cost seconds.
        "$python" -m compileall -q "$release/src" || give_up "the modules in $release/src could not be compiled"
        [ -L "$venv" ] || "$python" -m compileall -q -j 0 "$venv/lib" >/dev/null || true
    )
}

# --- around it: user, folders, settings, command

put_user() {
    mkdir -p -- "$root/etc"
    echo 'u neurocards - "neurocards" /var/lib/neurocards' | systemd-sysusers --root="${root:-/}" - ||
        refuse "the user neurocards could not be made"
    user=$(id_of passwd 3) group=$(id_of group 3)
    [ -n "$user" ] && [ -n "$group" ] || refuse "the user neurocards is not in $root/etc/passwd"
}

id_of() { grep '^neurocards:' "$root/etc/$1" | cut -d: -f"$2"; }

put_folders() {
    mkdir -p -- "$root/etc/neurocards" "$root/etc/systemd/system" "$root/usr/local/bin" "$root/var/lib"
    [ -d "$root/var/lib/neurocards" ] || mkdir -m 0750 -- "$root/var/lib/neurocards"
    [ "$(id -u)" -ne 0 ] || chown "$user:$group" -- "$root/var/lib/neurocards"
    if [ ! -e "$settings" ]; then
        (umask 077 && cp -- "$release/.env.example" "$settings")
        new_settings=yes
    fi
    # systemd reads it as root and hands it over: the shop itself can neither read nor change the file.
    chmod 0600 -- "$settings"
}

# --- the change from one version to another

activate() {
    version=releases/${1##*/}
    before=$(readlink -- "$home/current" || true)
    older=$(readlink -- "$home/previous" || true)
    put_units "$1"
    if [ "$before" != "$version" ]; then
        # Whoever is cut off between here and the last restart finds it at the next run and goes on.
        touch -- "$home/.restart"
        # The way back first: without a link to it, the version that runs would count as forgotten.
        [ -z "$before" ] || point previous "$before"
        point current "$version"
    fi
    if is_live; then
        systemctl daemon-reload
        [ ! -e "$home/.restart" ] || restart
    fi
    rm -f -- "$home/.restart"
}

put_units() {
    install -m 0644 -- "$1"/systemd/neurocards* "$root/etc/systemd/system/"
    install -m 0755 -- "$1/deploy/neurocards" "$root/usr/local/bin/neurocards"
}

# In one step: there is no moment without a version.
point() {
    ln -sfn -- "$2" "$home/$1.new"
    mv -T -- "$home/$1.new" "$home/$1"
}

is_live() { [ -z "$root" ] && [ -d /run/systemd/system ]; }

running() { systemctl list-units --plain --no-legend --state=active "$@" | cut -d' ' -f1; }

# First the schema, which the old version can work with, then one process after the other: sales go on meanwhile.
restart() {
    units="$(running neurocards-bot.service) $(running 'neurocards-worker@*.service')"
    [ "$(echo $units)" ] || return 0
    [ "$roll_back" ] || systemctl start neurocards-migrate.service || undo
    for unit in $units; do
        say "restarting $unit"
        systemctl restart "$unit"
    done
}

undo() {
    [ "$before" != "$version" ] ||
        refuse "the schema could not be brought up to date: journalctl -u neurocards-migrate; then run this again"
    point current "$before"
    if [ "$older" ]; then point previous "$older"; else rm -f -- "$home/previous"; fi
    put_units "$home/current"
    systemctl daemon-reload
    rm -f -- "$home/.restart"
    refuse "the schema could not be brought up to date, so the version before goes on: journalctl -u neurocards-migrate"
}

go_back() {
    [ -L "$home/previous" ] && [ ! "$home/previous" -ef "$home/current" ] || refuse "there is no version to go back to"
    release=$(readlink -f -- "$home/previous")
    [ -e "$release/.complete" ] || refuse "the version before is not there any more: $release"
    activate "$release"
    say "back to version ${release##*/}; the same command again undoes this"
}

# The current version and the one before stay.
forget_old() {
    for old in "$home"/releases/*; do
        [ "$old" -ef "$home/current" ] || [ "$old" -ef "$home/previous" ] || {
            # Half removed it must not look whole.
            rm -f -- "$old/.complete"
            rm -rf -- "$old"
        }
    done
}

say_next() {
    say "version $name is installed${root:+ below $root}"
    [ -z "${new_settings:-}" ] || cat <<END

Next:
  1. sudo editor /etc/neurocards/neurocards.env        # the settings; DEPLOYMENT_GUIDE.md says which
  2. sudo systemctl enable --now neurocards-bot neurocards-worker@1 neurocards-worker@2 \
         neurocards-backup.timer neurocards-restore-check.timer
  3. sudo neurocards doctor                            # what is still missing, line by line
END
}

main "$@"
