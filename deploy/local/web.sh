#!/usr/bin/env bash
# The web app: built before the programs that embed it, checked, and driven in a real browser.
#   web.sh build         dist/, which the next build of the programs embeds; without Node it says so
#   web.sh check         types, lints, unit tests, the budget of the first load
#   web.sh e2e [WORD]    a browser against a server of its own, or against CLOUDSTORE_E2E_URL
#   web.sh screenshots   pictures of the pages in web/shots
#   web.sh throughput    a large upload from a page, next to the command line client
set -euo pipefail
cd "$(dirname "$0")/../../web"

say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }

# Vite needs it; Debian 12 has 18.
recent_node() {
    command -v npm >/dev/null &&
        node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)'
}

packages() {
    [ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --silent
}

if ! recent_node; then
    say "no Node.js 20.19 or later: the web app is left out, and servers say so to browsers"
    [ "${1:-build}" = build ] && exit 0
    exit 1
fi
packages
case "${1:-build}" in
build)
    # Nothing to do when no source is newer than what was built.
    newer=$(find . -path ./node_modules -prune -o -path ./dist -prune -o -path ./shots -prune -o -type f -newer dist/index.html -print -quit 2>/dev/null || echo all)
    if [ -n "$newer" ]; then npm run --silent build; fi
    ;;
check)
    npm run --silent check
    npm test --silent
    npm run --silent build
    ;;
e2e | screenshots | throughput)
    command -v "${CHROMIUM:-chromium}" >/dev/null || {
        say "please install chromium, or name a browser in CHROMIUM"
        exit 1
    }
    [ -e dist/index.html ] || npm run --silent build
    npm run --silent "$1" -- "${@:2}"
    ;;
*)
    say "web.sh build|check|e2e|screenshots|throughput"
    exit 2
    ;;
esac
