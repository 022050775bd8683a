# load.sh HOST PORT NAME WORKERS COUNT: WORKERS at a time, COUNT messages each. What is refused, or whose connection is lost,
# is handed over anew under another Message-ID, so that every one which was acknowledged has a name of its own.
set -u
host=$1 port=$2 name=$3 workers=$4 count=$5
here=$(dirname "$0")

work() {
    local number try
    for number in $(seq "$count"); do
        try=1
        until bash "$here/send.sh" "$host" "$port" "$name-$1-$number-try$try" 1 2> /dev/null; do
            try=$((try + 1))
            [ $try -le 500 ] || return 1
            sleep 0.1
        done
    done
}

for worker in $(seq "$workers"); do work "$worker" & done
for worker in $(seq "$workers"); do wait -n || exit 1; done
