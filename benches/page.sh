# The page as a browser asks for it, with a long queue. Sourced by benches/run.
#
# Rule: curl is the browser; a document is asked for again and again with a pause, so that most are served as they are to
# somebody who works with the page, and the first one is a row of its own.

# Documents of a kind that are asked for, and seconds for which open pages are watched.
PAGE_ASKED=20 PAGE_WATCHED=20

page_url() { echo "http://127.0.0.1:$PAGE_PORT"; }

# Opens the page by a link; the session is in page.jar.
page_enter() {
    local link
    link=$("$PILLARBOX" page --json --config "$PILLARBOX_CONFIG" | sed -n 's/.*[?]link=\([^"]*\)".*/\1/p')
    curl --silent --noproxy '*' --fail --cookie-jar "$RESULTS/page.jar" --header "Origin: $(page_url)" --data "link=$link" \
        --output /dev/null "$(page_url)/enter"
}

# page_asked PATH: milliseconds to the first octet, and octets.
page_asked() {
    curl --silent --noproxy '*' --fail --cookie "$RESULTS/page.jar" --output /dev/null \
        --write-out '%{time_starttransfer} %{size_download}\n' "$(page_url)$1" | awk '{ printf "%.1f %d\n", $1 * 1000, $2 }'
}

# page_row MEASURE PATH: the first one, then the median and the largest.
page_row() {
    local measure=$1 path=$2 first others=() number
    first=$(page_asked "$path") || { skip pillarbox "$measure" "$path was refused"; return; }
    for ((number = 0; number < PAGE_ASKED; number++)); do
        sleep 0.2
        others+=("$(page_asked "$path")")
    done
    record pillarbox "$measure" "$(printf '%s\n' "${others[@]}" | sort -n | awk -v first="${first% *}" '
        { times[NR] = $1; if ($2 > octets) octets = $2 }
        END { printf "{\"first_ms\":%s,\"median_ms\":%s,\"kib\":%.1f}", first, times[int((NR + 1) / 2)], octets / 1024 }')"
}

# Hundredths of a second of a processor that the daemon has used.
page_ticks() { awk '{ print $14 + $15 }' "/proc/$(pillarbox_pid)/stat"; }

# What a daemon that nobody asks has of memory.
page_idle_mib() {
    fresh pillarbox hold --unvisited >/dev/null || return 1
    field memory_mib "$("$LOAD" tree --pid "$(pillarbox_pid)")"
}

measure_page() {
    [ "${SERVERS/pillarbox/}" != "$SERVERS" ] || return 0
    local without with before share open=() number
    without=$(page_idle_mib) || { skip pillarbox page "it did not start"; return; }
    PAGE_PORT=$("$LOAD" free-port)
    with=$(page_idle_mib) || { skip pillarbox page "it did not start with its page"; return; }
    record pillarbox page-memory "{\"more_mib\":$(awk -v with="$with" -v without="$without" 'BEGIN { printf "%.2f", with - without }')}"
    measured pillarbox page-fill accept --messages 10000 --seconds 120 --connections 10 --size 600
    page_enter || { skip pillarbox page "the link did not open it"; return; }
    page_row page-start /
    page_row page-queue /queue
    page_row page-search '/queue?search=from:nobody'
    measured pillarbox page-accept-alone accept --connections 10 --seconds "$SECONDS_EACH"
    for ((number = 0; number < 10; number++)); do
        # A session has a few streams, and a page that was closed is opened again.
        ((number % 4)) || page_enter
        (while :; do curl --silent --noproxy '*' --no-buffer --cookie "$RESULTS/page.jar" "$(page_url)/live"; sleep 1; done) \
            >/dev/null 2>&1 &
        open+=($!)
        sleep 0.2
    done
    before=$(page_ticks)
    sleep "$PAGE_WATCHED"
    share=$(awk -v before="$before" -v after="$(page_ticks)" -v seconds="$PAGE_WATCHED" 'BEGIN { printf "%.2f", (after - before) / seconds }')
    record pillarbox page-open "{\"percent_of_a_core\":$share}"
    measured pillarbox page-accept-open accept --connections 10 --seconds "$SECONDS_EACH"
    for number in "${open[@]}"; do
        pkill -P "$number"
        kill "$number"
    done 2>/dev/null
    PAGE_PORT=
    pillarbox_stop
}
