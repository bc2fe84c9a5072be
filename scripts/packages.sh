# Sourced by the scripts that install what tests need.

has() { command -v "$1" >/dev/null 2>&1; }

# Installs packages of Debian or one of its kind, as root or with a sudo that asks for nothing. With PACKAGES=no it installs none.
install_packages() {
    local as_root=()
    [[ ${PACKAGES:-yes} != no ]] || return 1
    has apt-get || return 1
    if [[ $(id -u) != 0 ]]; then
        has sudo && sudo -n true 2>/dev/null || return 1
        as_root=(sudo -n)
    fi
    echo "installing with apt-get: $*"
    export DEBIAN_FRONTEND=noninteractive
    # The lists may be too old to name what the mirror still has, so the second try renews them.
    "${as_root[@]}" apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1 || {
        "${as_root[@]}" apt-get update -qq >/dev/null &&
            "${as_root[@]}" apt-get install -y -qq --no-install-recommends "$@" >/dev/null
    }
}
