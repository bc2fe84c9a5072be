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
