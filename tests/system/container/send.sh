# send.sh HOST PORT NAME COUNT: hands COUNT messages over, one connection each, in plain SMTP, with nothing but bash. Prints
# "acknowledged <ID>" for each 250 after the final dot; ends at the first refusal, with the reply.
set -eu
host=$1 port=$2 name=$3 count=$4

say() { printf '%s\r\n' "$1" >&3; }
# hear CODE: the last line of a reply must begin with it.
hear() {
    local line
    while IFS= read -r -t 30 line <&3; do
        case $line in
            [0-9][0-9][0-9]-*) ;;
            "$1"*) return 0 ;;
            *) echo "refused: $line" >&2; return 1 ;;
        esac
    done
    echo "the connection was lost" >&2
    return 1
}

for number in $(seq "$count"); do
    id="<$name-$number@example.org>"
    exec 3<> "/dev/tcp/$host/$port"
    hear 220
    say "HELO app.example.org"; hear 250
    say "MAIL FROM:<app@example.org>"; hear 250
    say "RCPT TO:<you@example.org>"; hear 250
    say DATA; hear 354
    say "Subject: $name $number"
    say "Message-ID: $id"
    say ""
    say "Hello."
    say .; hear 250
    echo "acknowledged $id"
    say QUIT; hear 221 || true
    exec 3>&- 3<&-
done
