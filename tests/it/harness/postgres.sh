# Keeps one PostgreSQL cluster for the tests: sh postgres.sh BIN TEMP PORT NAME=VALUE...
#
# BIN holds initdb and postgres. The cluster lives in a new directory in TEMP, which is removed with it, and it listens
# there and on 127.0.0.1:PORT. Each NAME=VALUE is a setting of postgresql.conf.
# Commands come on standard input, one in a line: start, stop. Each is answered with "ok", after the first line with the
# directory. The cluster is stopped when standard input ends: the kernel closes it however the tests end.
bin=$1 temp=$2 port=$3
shift 3
dir=$(mktemp -d "$temp/hookmill-postgres-XXXXXX") || exit 1
exec 2> "$dir/log"

server=
# Waits until it accepts connections. It ends early if a setting is wrong, or while children of a killed one still run.
# A killed one leaves its file.
ready() {
  until grep -qx "$server" "$dir/data/postmaster.pid" && grep -q ready "$dir/data/postmaster.pid"; do
    grep -q 'State:.*[RSD] ' "/proc/$server/status" || return
    sleep 0.02
  done
}
start() {
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    "$bin/postgres" -D "$dir/data" < /dev/null >> "$dir/log" 2>&1 &
    server=$!
    ready && return
    wait $server
    sleep 0.5
  done
  false
}
stop() {
  [ -n "$server" ] || return
  kill -QUIT "$server"
  wait "$server"
  server=
}
create() {
  set -- --pgdata="$dir/data" --no-sync --username=postgres --encoding=UTF8 --locale=C.UTF-8 \
    --auth-local=trust --auth-host=scram-sha-256 "$@"
  # Sorts text as most databases do, not by its bytes.
  "$bin/initdb" "$@" --locale-provider=icu --icu-locale=en-US || { rm -rf "$dir/data" && "$bin/initdb" "$@"; }
}

create > "$dir/log" 2>&1 &&
  printf '%s\n' "$@" "port=$port" "unix_socket_directories='$dir'" >> "$dir/data/postgresql.conf" &&
  start && echo "$dir" || { cat "$dir/log"; echo failed; }
while read -r command; do
  case $command in
    start) start && echo ok || { cat "$dir/log"; echo failed; } ;;
    stop) stop; echo ok ;;
  esac
done
stop
rm -rf "$dir"
