# Sourced by the scripts that install what tests need.

has() { command -v "$1" >/dev/null 2>&1; }

# Runs a command as root, or with a sudo that asks for nothing. With PACKAGES=no it runs none.
as_root() {
    [[ ${PACKAGES:-yes} != no ]] || return 1
    has apt-get || return 1
    if [[ $(id -u) == 0 ]]; then
        "$@"
    else
        has sudo && sudo -n true 2>/dev/null && sudo -n "$@"
    fi
}

renew_lists() { as_root apt-get update -qq >/dev/null; }

# Installs packages of Debian or one of its kind.
install_packages() {
    as_root true || return 1
    echo "installing with apt-get: $*"
    export DEBIAN_FRONTEND=noninteractive
    # The lists may be too old to name what the mirror still has, so the second try renews them.
    as_root apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1 || {
        renew_lists && as_root apt-get install -y -qq --no-install-recommends "$@" >/dev/null
    }
}

# Pebble and wrk have no option that only shows their version.
runs() {
    "$1" -v >/dev/null 2>&1 || "$1" --version >/dev/null 2>&1 ||
        [[ $("$1" -h 2>&1) == @(*-dnsserver*|*"Usage: wrk"*) ]]
}

# Unpacks a package and those that it needs and that are not installed below the folder `into`, and leaves
# a script for each of the programs named after it, which starts the program with their libraries.
unpack() (
    local name=$1 root=$into/$1.root missing libraries program
    shift
    missing=$(apt-get install --simulate --no-install-recommends "$name" 2>/dev/null |
        awk '/^Inst / { print $2 }')
    [[ -n $missing ]] || return 1
    rm -rf "$root" && mkdir -p "$root/packages" && cd "$root/packages"
    # shellcheck disable=SC2086
    apt-get download -qq $missing >/dev/null 2>&1 || return 1
    for package in *.deb; do
        dpkg-deb --extract "$package" "$root" || return 1
    done
    rm -rf "$root/packages"
    libraries=$(find "$root/usr/lib" "$root/lib" -name '*.so*' -printf '%h\n' 2>/dev/null |
        sort -u | paste -sd:)
    for program; do
        printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' \
            "'$libraries'" "'$root/usr/$program'" >"$into/${program##*/}"
        chmod +x "$into/${program##*/}"
        runs "$into/${program##*/}" || return 1
    done
)
