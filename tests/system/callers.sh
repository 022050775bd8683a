#!/usr/bin/env bash
# The real programs that send mail, in a container: what each passed to sendmail and what arrived at the upstream is
# compared with the files in callers/golden. Part of `make test-system`.
#
#   tests/system/callers.sh                 takes the static program out of the image that container.sh built
#   BINARY=path tests/system/callers.sh     tries that one
#   BLESS=1 tests/system/callers.sh         writes the golden files anew
set -euo pipefail
[ -z "${BINARY:-}" ] || BINARY=$(realpath "$BINARY")
cd "$(dirname "$0")/callers"

fail() {
    echo "callers: FAILED: $*" >&2
    exit 1
}

command -v docker >/dev/null && docker info >/dev/null 2>&1 || {
    echo "callers: NOT RUN: no container engine answers on this machine (docker info fails)" >&2
    exit 77
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/output"
if [ -n "${BINARY:-}" ]; then
    cp "$BINARY" "$work/pillarbox"
else
    container=$(docker create "${IMAGE:-pillarbox}") || fail "there is no image to take the program from"
    docker cp -q "$container:/usr/bin/pillarbox" "$work/pillarbox"
    docker rm "$container" >/dev/null
fi

docker build ${DOCKER_BUILD_OPTIONS:-} --quiet --tag pillarbox-test-callers . >/dev/null || fail "the image cannot be built"
docker run --rm --network none --hostname web01 --add-host web01:127.0.1.1 \
    --volume "$work/pillarbox:/pillarbox:ro" --volume "$PWD/inside.py:/inside.py:ro" --volume "$work/output:/output" \
    pillarbox-test-callers python3 -B /inside.py /pillarbox /output || fail "see above"

if [ "${BLESS:-}" = 1 ]; then
    rm -rf golden && mkdir golden && cp "$work/output"/*.txt golden/
    echo "callers: golden files written; read them before you commit"
    exit
fi
diff -ru golden "$work/output" || fail "what was passed or arrived differs from the golden files; BLESS=1 writes them anew"
echo "callers: $(ls golden | wc -l) programs, each as expected"
