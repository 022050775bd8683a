#!/usr/bin/env bash
# The container, as it is shipped: the image is built from the Dockerfile and everything docs/containers.md promises of it
# is tried with the engine of this machine. Part of `make test-system`.
#
#   tests/system/container.sh            builds the image
#   IMAGE=name tests/system/container.sh uses one that is there
#
# The upstream is the look-alike, out of the same image. All containers are on a network that leads nowhere.
set -euo pipefail
cd "$(dirname "$0")/../.."

image=${IMAGE:-}
p=ctr-$$                                # begins the name of everything that is made here
scripts=$PWD/tests/system/container     # what runs inside
octet=$(($$ % 250 + 1))
net=172.30.$octet
size_max=$((20 * 1000 * 1000))
memory_max=$((32 * 1024 * 1024))
stop_max=15

fail() {
    echo "container: FAILED: $*" >&2
    for name in $(docker ps -a --filter "name=^$p-" --format '{{.Names}}'); do
        echo "--- $name" >&2
        docker logs --tail 15 "$name" >&2 || true
    done
    exit 1
}
passed() { echo "container: ok: $*"; }

clean_up() {
    docker ps -aq --filter "name=^$p-" | xargs -r docker rm -f > /dev/null
    docker volume ls -q --filter "name=^$p-" | xargs -r docker volume rm > /dev/null
    docker network ls -q --filter "name=^$p-" | xargs -r docker network rm > /dev/null
    docker images -q "$p-*" | xargs -r docker rmi -f > /dev/null
    rm -rf "${work:-}"
}

# within SECONDS COMMAND...: looks until it succeeds.
within() {
    local end=$((SECONDS + $1))
    shift
    until "$@" > /dev/null 2>&1; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.3
    done
}

command -v docker > /dev/null && docker info > /dev/null 2>&1 || {
    echo "container: NOT RUN: no container engine answers on this machine (docker info fails)" >&2
    exit 77
}
trap clean_up EXIT
work=$(mktemp -d)

if [ -z "$image" ]; then
    image=pillarbox
    docker build ${DOCKER_BUILD_OPTIONS:-} -t "$image" . || fail "the image cannot be built"
fi
app_image=${APP_IMAGE:-debian:bookworm-slim}

# --- Size and content
size=$(docker image inspect --format '{{.Size}}' "$image")
echo "container: image size $((size / 1000)) kB (at most $((size_max / 1000)))"
[ "$size" -le $size_max ] || fail "the image has $size octets"
files=$(docker create --name "$p-look" "$image") && docker export "$files" | tar -t | grep -v '/$' > "$work/files"
for file in usr/bin/pillarbox sendmail usr/sbin/sendmail etc/ssl/certs/ca-certificates.crt \
    usr/share/doc/pillarbox/LICENSE-MIT usr/share/doc/pillarbox/LICENSE-APACHE; do
    grep -qx "$file" "$work/files" || fail "the image has no $file"
done
! grep -E '(^|/)(sh|bash|busybox|passwd)$' "$work/files" || fail "the image has a shell or users"
passed "size, licences, trust roots, no shell"

# --- The upstream, in a network of its own that leads nowhere
user=(--user 54321:0 --read-only --cap-drop ALL --security-opt no-new-privileges)
docker network create --internal --subnet "$net.0/24" --ip-range "$net.128/25" --gateway "$net.1" "$p-net" > /dev/null
docker volume create "$p-shared" > /dev/null
docker run -d --name "$p-upstream" --network "$p-net" --ip "$net.2" --no-healthcheck "${user[@]}" \
    -v "$p-shared:/tmp" "$image" sandbox --upstream-only --unlimited --latency-ms 3 --starttls-port 10587 \
    --ca-file /tmp/ca.pem --journal /tmp/journal > /dev/null
within 20 docker cp "$p-upstream:/tmp/ca.pem" "$work/ca.pem" || fail "the look-alike does not start"
echo abcdefghijklmnop > "$work/password"
chmod 0644 "$work/password"

# start NAME VOLUME ARGUMENTS...: a relay in the upstream's network, as docs/containers.md says.
start() {
    local name=$1 volume=$2
    shift 2
    docker run -d --name "$name" --network "container:$p-upstream" "${user[@]}" \
        -v "$volume:/var/lib/pillarbox" -v "$p-shared:/upstream:ro" \
        -v "$work/password:/run/secrets/pillarbox-password:ro" \
        -e PILLARBOX__UPSTREAM__USERNAME=you@gmail.com \
        -e PILLARBOX__UPSTREAM__HOST=localhost -e PILLARBOX__UPSTREAM__PORT=10587 \
        -e PILLARBOX__UPSTREAM__CA_FILE=/upstream/ca.pem -e PILLARBOX__UPSTREAM__EHLO_NAME=relay.example.org \
        -e PILLARBOX__BUDGET__RECIPIENTS_PER_DAY=10000 -e PILLARBOX__BUDGET__PACE_PER_MINUTE=0 \
        -e PILLARBOX__UPSTREAM__LOGINS_PER_HOUR=1000 \
        --health-interval 1s --health-timeout 10s "$@" "$image" > /dev/null
}
health() { docker inspect --format '{{.State.Health.Status}}' "$1"; }
is() { [ "$("${@:2}")" = "$1" ]; }
journal() { docker cp "$p-upstream:/tmp/journal" - | tar -xO; }
delivered() { journal | grep -c "<$1-" || true; }
ask() { docker exec "$1" pillarbox "${@:2}"; }
empty() { ask "$1" queue list --json | tr -d ' \n' | grep -q '"messages":\[\]'; }

# --- The sandbox, as "Try it in a minute" has it: what comes through a published port has a private address
docker run -d --name "$p-sandbox" --network "$p-net" --ip "$net.3" --health-interval 1s --health-start-period 1s \
    "$image" sandbox --listen 0.0.0.0:2525 --directory /tmp/sandbox > /dev/null
within 60 is healthy health "$p-sandbox" || fail "the sandbox is $(health "$p-sandbox")"
docker exec "$p-sandbox" pillarbox status > /dev/null || fail "pillarbox status does not find the sandbox"
docker run --rm --name "$p-app" --network "$p-net" -v "$scripts:/scripts:ro" "$app_image" \
    bash /scripts/send.sh "$net.3" 2525 tryout 1 > "$work/tryout" 2>&1 ||
    fail "the sandbox takes no mail from its network: $(cat "$work/tryout")"
docker rm -f "$p-sandbox" > /dev/null
passed "the sandbox is healthy, is found by pillarbox status, and takes mail from its network"

# --- A sidecar: read-only, any user, no capability, a secret by its name, and a healthcheck
begin=$SECONDS
start "$p-relay" "$p-queue"
within 60 is healthy health "$p-relay" || fail "the healthcheck says $(health "$p-relay")"
passed "healthy after $((SECONDS - begin)) s: read-only root, user 54321, no capabilities, port 25, secret by name"
ask "$p-relay" health --strict > /dev/null || fail "something needs a person right after the start"
sleep 3
# Resident, with the pages of the binary: not every engine's `docker stats` counts.
bytes=$(($(docker top "$p-relay" -o pid,rss | awk 'NR == 2 { print $2 }') * 1024))
echo "container: idle memory $((bytes >> 10)) KiB resident (at most $((memory_max >> 20)) MiB)"
[ "$bytes" -gt 0 ] || fail "the engine does not tell the memory"
[ "$bytes" -le $memory_max ] || fail "the idle relay needs $bytes octets"

docker run --rm --name "$p-app" --network "container:$p-upstream" -v "$scripts:/scripts:ro" "$app_image" \
    bash /scripts/send.sh 127.0.0.1 25 sidecar 5 > "$work/sidecar" || fail "localhost:25 takes no mail: $(cat "$work/sidecar")"
sidecar_arrived() { [ "$(delivered sidecar)" -ge 5 ]; }
within 30 sidecar_arrived || fail "mail that was handed to localhost did not arrive: $(delivered sidecar) of 5"
passed "a second container that shares the network sends through localhost:25"
refused=$(docker run --rm --name "$p-app" --network "$p-net" -v "$scripts:/scripts:ro" "$app_image" \
    bash /scripts/send.sh "$net.2" 25 outside 1 2>&1) && fail "the sidecar listens to others: $refused"
grep -q "Connection refused" <<< "$refused" || fail "the sidecar was not tried from outside: $refused"
passed "nobody outside of the shared network reaches the sidecar"

# --- Killed under load
docker run -d --name "$p-load" --network "container:$p-upstream" -v "$scripts:/scripts:ro" "$app_image" \
    bash /scripts/load.sh 127.0.0.1 25 load 4 60 > /dev/null
kills=3
for kill in $(seq $kills); do
    reached() { [ "$(docker logs "$p-load" 2> /dev/null | grep -c '^acknowledged')" -ge $((kill * 40)) ]; }
    within 120 reached || fail "the load does not get on"
    docker kill -s KILL "$p-relay" > /dev/null
    docker wait "$p-relay" > /dev/null
    docker start "$p-relay" > /dev/null
done
[ "$(docker wait "$p-load")" = 0 ] || fail "the load failed"
within 60 is healthy health "$p-relay" || fail "not healthy after the kills"
docker logs "$p-load" 2> /dev/null | sed -n 's/^acknowledged //p' | sort > "$work/acknowledged"
within 120 empty "$p-relay" || fail "mail still waits: $(ask "$p-relay" status)"
journal | grep -o '<load-[^>]*>' | sort > "$work/arrived"
uniq "$work/arrived" > "$work/arrived-once"
lost=$(comm -23 "$work/acknowledged" "$work/arrived-once" | wc -l)
twice=$(uniq -d "$work/arrived" | wc -l)
number=$(wc -l < "$work/acknowledged")
[ "$number" -eq 240 ] || fail "$number of 240 messages were acknowledged"
[ "$lost" = 0 ] || fail "$lost of $number acknowledged messages are lost"
# Only what was between its final dot and its reply when the process died may come twice: one for each connection.
[ "$twice" -le $((kills * 2)) ] || fail "$twice messages came twice"
passed "$number messages acknowledged across $kills kills: none lost, $twice twice (at most $((kills * 2)) were on the wire)"

# --- SIGTERM
begin=$SECONDS
docker stop -t 60 "$p-relay" > /dev/null
took=$((SECONDS - begin))
code=$(docker inspect --format '{{.State.ExitCode}}' "$p-relay")
[ "$code" = 0 ] || fail "docker stop ended it with exit code $code"
[ $took -le $stop_max ] || fail "docker stop took $took s"
passed "SIGTERM ends process 1 in $took s with exit code 0"
code=0
docker run --rm --name "$p-down" --entrypoint /usr/bin/pillarbox "$image" health 2> /dev/null || code=$?
[ $code = 69 ] || fail "health without a relay ends with $code"

# --- A shared relay that listens to the network: containers may send, the gateway may not
start "$p-shared" "$p-queue2" \
    -e PILLARBOX__LISTENER__ADDRESSES="127.0.0.1:25,$net.2:25" -e PILLARBOX__ADMIN__HTTP="$net.2:9025" \
    -e PILLARBOX__LISTENER__TRUSTED_NETWORKS="127.0.0.0/8,$net.128/25"
within 60 is healthy health "$p-shared" || fail "the shared relay is $(health "$p-shared")"
docker run --rm --name "$p-app" --network "$p-net" -v "$scripts:/scripts:ro" "$app_image" \
    bash /scripts/send.sh "$net.2" 25 shared 2 > "$work/shared" || fail "the shared relay takes no mail: $(cat "$work/shared")"
shared_arrived() { [ "$(delivered shared)" -ge 2 ]; }
within 30 shared_arrived || fail "mail through the shared relay did not arrive"
# From this host, that is from the gateway's address.
if words=$(bash "$scripts/send.sh" "$net.2" 25 gateway 1 2>&1); then fail "the gateway may send: $words"; fi
grep -q '550 5.7.1' <<< "$words" || fail "the gateway was not refused with 550 5.7.1: $words"
passed "a shared relay takes mail from its network and refuses the gateway (550 5.7.1)"
docker run --rm --name "$p-app" --network "$p-net" "$app_image" bash -c \
    "exec 3<> /dev/tcp/$net.2/9025; printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3; cat <&3" > "$work/metrics"
grep -q '^pillarbox_accepted_messages_total 2$' "$work/metrics" || fail "no metrics: $(cat "$work/metrics")"
passed "metrics over the private network"

# --- The static sendmail in an image with nothing else
docker build -q -t "$p-copied" --build-arg "image=$image" "$scripts" > /dev/null 2> "$work/build" \
    || fail "sendmail cannot be copied: $(cat "$work/build")"
printf 'Subject: copied\nMessage-ID: <copied-1@example.org>\n\nHello.\n' \
    | docker run -i --rm --name "$p-copied" --network "$p-net" -e PILLARBOX_SUBMIT="$net.2:25" "$p-copied" \
        -f me@example.org you@example.org > "$work/copied" 2>&1 || fail "the copied sendmail: $(cat "$work/copied")"
copied_arrived() { [ "$(delivered copied)" -ge 1 ]; }
within 30 copied_arrived || fail "mail of the copied sendmail did not arrive"
passed "sendmail, copied into an image with nothing else, hands mail over"

# --- Names are found: no C library of the image is needed for that
start "$p-names" "$p-queue3" -e PILLARBOX__UPSTREAM__HOST="$p-upstream" -e PILLARBOX__UPSTREAM__PORT=10588 \
    -e PILLARBOX__UPSTREAM__OTHER_PORT=false -e PILLARBOX__LISTENER__ADDRESSES=127.0.0.1:26
within 60 is healthy health "$p-names" || fail "the relay with a name is $(health "$p-names")"
docker run --rm --name "$p-app" --network "container:$p-upstream" -v "$scripts:/scripts:ro" "$app_image" \
    bash /scripts/send.sh 127.0.0.1 26 names 1 > /dev/null || fail "the relay with a name takes no mail"
tried() { ask "$p-names" status | grep -qi 'refused'; }
within 30 tried || fail "the upstream's name was not found: $(ask "$p-names" status)"
passed "the upstream is found by name"
echo "container: all passed"
