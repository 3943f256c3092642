#!/usr/bin/env bash
# Compares candado with Redis itself, by redis-benchmark.
#
# Three servers on this machine: Redis; candado with its embedded engine; candado
# on that same Redis (in another database of it). On each, three operations:
#
#   acquire    LOCK.ACQUIRE on a free lock     Redis: SET … NX PX
#   heartbeat  LOCK.HEARTBEAT on a held lock   Redis: PEXPIRE
#   release    LOCK.RELEASE of a held lock     Redis: DEL
#
# Every request of a run names another lock, and the three runs of a round name
# the same ones: so each acquire finds its lock free, each heartbeat and release
# finds it held. That is checked after each run, by counting what the server
# did: a run in which a single request ended otherwise is marked FAILED.
#
# The servers take turns within each round, because a machine's speed drifts: a
# ratio is taken within the round, and the median of these ratios is reported.
#
# Set by environment: CLIENTS (50), PIPELINE (1), REQUESTS per run (50000),
# ROUNDS (5); CANDADO, a binary to use instead of building one; CSV, a file to
# write a line for each run to: operation,server,round,rate,succeeded,failed.
set -euo pipefail
cd "$(dirname "$0")/.."

ttl=600000 # ms; no lease may expire during a run
servers=(redis embedded upstream)
operations=(acquire heartbeat release)

die() {
	echo "redis-benchmark.sh: $*" >&2
	exit 1
}

# setting NAME DEFAULT LEAST MOST sets NAME to its value, checked.
setting() {
	local value=${!1:-$2}
	if ! [[ $value =~ ^[0-9]{1,9}$ ]] || ((10#$value < $3 || 10#$value > $4)); then
		die "$1 is '$value', must be a number from $3 to $4"
	fi
	printf -v "$1" '%d' "$((10#$value))"
}
setting CLIENTS 50 1 1000
setting PIPELINE 1 1 512
setting REQUESTS 50000 1000 1000000
setting ROUNDS 5 1 50
# redis-benchmark sends whole pipelines: a remainder would be more requests.
REQUESTS=$((REQUESTS - REQUESTS % PIPELINE))

CANDADO=${CANDADO:-}
CSV=${CSV:-/dev/null}

for program in go cc redis-server redis-cli redis-benchmark curl; do
	command -v "$program" >/dev/null || die "$program is missing; make setup installs it"
done

work=$(mktemp -d)
pids=()
cleanup() {
	local pid
	for pid in "${pids[@]}"; do
		kill "$pid" 2>/dev/null || true # it may have ended
	done
	wait
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

declare -A port=() web=()
declare -A rate=()   # [operation,server,round], requests per second
declare -A failed=() # [operation,server]

# await SECONDS COMMAND… repeats the command until it succeeds.
await() {
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		((SECONDS < end)) || return 1
		sleep 0.05
	done
}

redis_is() { # redis_is PORT PID
	redis-cli -p "$1" info server | grep -q "^process_id:$2.\$"
}

start_redis() {
	local try candidate
	for try in 1 2 3 4 5; do
		candidate=$((20000 + RANDOM % 30000))
		redis-server --port "$candidate" --bind 127.0.0.1 --save '' --appendonly no \
			--dir "$work" >"$work/redis.$try.log" 2>&1 &
		pids+=($!)
		if await 5 redis_is "$candidate" $!; then
			port[redis]=$candidate
			return
		fi
	done
	die "redis-server does not start: $(tail -n 3 "$work"/redis.*.log)"
}

# logged_port FILE PROTOCOL prints the port that candado logged.
logged_port() {
	sed -n "s/.*protocol=$2 addr=127\.0\.0\.1:\([0-9]*\) .*/\1/p" "$1"
}

is_listening() { # is_listening FILE
	[ -n "$(logged_port "$1" resp)" ] && [ -n "$(logged_port "$1" http)" ]
}

start_candado() { # start_candado NAME FLAG…
	local name=$1 log=$work/$1.log
	shift
	"$candado" --listen 127.0.0.1:0 --http 127.0.0.1:0 "$@" 2>"$log" &
	pids+=($!)
	await 5 is_listening "$log" || die "candado ($name) does not start: $(cat "$log")"
	port[$name]=$(logged_port "$log" resp)
	web[$name]=$(logged_port "$log" http)
}

# check_replies NAME looks at the replies themselves, once, as a client sees them.
check_replies() {
	local got want='token null 1 1 0' token
	token=$(redis-cli -p "${port[$1]}" LOCK.ACQUIRE sample)
	got="$([[ $token =~ ^[0-9]+$ ]] && echo token) "
	got+="$([ -z "$(redis-cli -p "${port[$1]}" LOCK.ACQUIRE sample)" ] && echo null) "
	got+="$(redis-cli -p "${port[$1]}" LOCK.CHECK sample "$token") "
	got+="$(redis-cli -p "${port[$1]}" LOCK.RELEASE sample) "
	got+="$(redis-cli -p "${port[$1]}" LOCK.RELEASE sample)"
	[ "$got" = "$want" ] || die "candado ($1) replies '$got', not '$want'"
}

# words OPERATION SERVER KEY sets command to what is sent.
words() {
	case $2,$1 in
	redis,acquire) command=(SET "$3" owner NX PX "$ttl") ;;
	redis,heartbeat) command=(PEXPIRE "$3" "$((2 * ttl))") ;;
	redis,release) command=(DEL "$3") ;;
	*,acquire) command=(LOCK.ACQUIRE "$3" PX "$ttl") ;;
	*,heartbeat) command=(LOCK.HEARTBEAT "$3" PX "$((2 * ttl))") ;;
	*,release) command=(LOCK.RELEASE "$3") ;;
	esac
}

# granted OPERATION SERVER prints how many of candado's requests of that kind
# have ended well since it started.
granted() {
	curl -sf "http://127.0.0.1:${web[$2]}/metrics" | awk -v op="$1" '
		index($0, "candado_engine_operations_total{operation=\"" op "\",result=\"ok\"}") == 1 { n = $2 }
		END { printf "%d\n", n }'
}

keys() { redis-cli -p "${port[redis]}" DBSIZE; }

# renewed prints how many PEXPIREs Redis has done since CONFIG RESETSTAT, if
# none was refused and the keys now live longer than they did.
renewed() {
	local left
	left=$(redis-cli -p "${port[redis]}" PTTL "$(redis-cli -p "${port[redis]}" RANDOMKEY)")
	((left > ttl)) || return 0
	redis-cli -p "${port[redis]}" info commandstats |
		sed -n 's/^cmdstat_pexpire:calls=\([0-9]*\),.*rejected_calls=0,failed_calls=0.*/\1/p'
}

# measure OPERATION SERVER ROUND runs redis-benchmark once, leaving what it
# prints in out.
measure() {
	local command
	words "$1" "$2" "bench:$3:__rand_int__"
	out=$(LD_PRELOAD=$work/counter.so redis-benchmark -p "${port[$2]}" -c "$CLIENTS" -P "$PIPELINE" \
		-n "$REQUESTS" -r 1000000000 --csv "${command[@]}" 2>&1) || true # its output tells
}

# run OPERATION SERVER ROUND measures once, and sets succeeded to the number of
# requests that did what they are for. Redis keeps no such count: there the keys
# before and after tell.
run() {
	local out before succeeded=0
	case $2,$1 in
	redis,acquire)
		before=$(keys)
		measure "$@"
		succeeded=$(($(keys) - before))
		;;
	redis,release)
		before=$(keys)
		measure "$@"
		succeeded=$((before - $(keys)))
		;;
	redis,heartbeat)
		redis-cli -p "${port[redis]}" CONFIG RESETSTAT >/dev/null
		before=$(keys)
		measure "$@"
		[ "$before,$(keys)" = "$REQUESTS,$REQUESTS" ] && succeeded=$(renewed)
		;;
	*)
		before=$(granted "$1" "$2")
		measure "$@"
		succeeded=$(($(granted "$1" "$2") - before))
		;;
	esac
	rate[$1,$2,$3]=$(tail -n 1 <<<"$out" | awk -F'","' 'NF > 3 { printf "%.0f", $2 }')
	if [ -z "${rate[$1,$2,$3]}" ] || [ "${succeeded:-0}" -ne "$REQUESTS" ] || grep -qi 'error' <<<"$out"; then
		failed[$1,$2]=1
		echo "FAILED: $1, $2, round $3: ${succeeded:-0} of $REQUESTS succeeded: $(tail -n 1 <<<"$out")" >&2
	fi
	echo "$1,$2,$3,${rate[$1,$2,$3]:-0},${succeeded:-0},${failed[$1,$2]:-0}" >>"$CSV"
}

# median prints the median of the numbers on stdin; with an argument, also
# (least–most).
median() {
	sort -g | awk -v all="${1:-}" '{ v[NR] = $1 } END {
		printf "%.2f", NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2
		if (all) printf " (%.1f–%.1f)", v[1], v[NR] }'
}

# rates OPERATION SERVER prints its rate in each round, in thousands per second;
# ratios the same as shares of Redis in that round.
rates() {
	local round
	for ((round = 1; round <= ROUNDS; round++)); do
		awk "BEGIN { print ${rate[$1,$2,$round]} / 1000 }"
	done
}
ratios() {
	paste <(rates "$1" "$2") <(rates "$1" redis) | awk '{ print $1 / $2 }'
}

cell() { # cell OPERATION SERVER
	if [ -n "${failed[$1,$2]:-}" ]; then
		echo FAILED
	elif [ "$2" = redis ] || [ -n "${failed[$1,redis]:-}" ]; then
		rates "$1" "$2" | median all
	else
		echo "$(rates "$1" "$2" | median all) ×$(ratios "$1" "$2" | median)"
	fi
}

table() {
	local operation server text
	printf '%-10s | %-28s | %-28s | %-28s\n' operation 'Redis itself' 'candado, embedded' 'candado on this Redis'
	printf -- '%.0s-' {1..103}
	echo
	for operation in "${operations[@]}"; do
		printf '%-10s' "$operation"
		for server in "${servers[@]}"; do
			text=$(cell "$operation" "$server")
			printf ' | %s%*s' "$text" "$((28 - ${#text}))" '' # %-28s would count bytes
		done
		echo
	done
	echo "thousand requests per second: median (least–most) ×ratio to Redis, median of the ratios within a round"
}

candado=$CANDADO
if [ -z "$candado" ]; then
	candado=$work/candado
	version=$(git describe --tags --always --dirty 2>/dev/null || echo devel)
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$version" -o "$candado" ./cmd/candado
fi
# redis-benchmark makes keys from random(). Here random() counts: 0, 1, 2, …
echo 'long random(void) { static long n; return n++; }' | cc -O2 -shared -fPIC -x c - -o "$work/counter.so"

start_redis
start_candado embedded
start_candado upstream --upstream "redis://127.0.0.1:${port[redis]}/1"
check_replies embedded
check_replies upstream

cat <<EOF
$("$candado" version)
$(redis-server --version | cut -d' ' -f1-3), $(redis-benchmark --version), $(nproc) processors
$CLIENTS clients, pipeline $PIPELINE, $REQUESTS requests per run, $ROUNDS rounds

EOF

for ((round = 1; round <= ROUNDS; round++)); do
	for operation in "${operations[@]}"; do
		for server in "${servers[@]}"; do
			run "$operation" "$server" "$round"
		done
	done
	# What candado remembers of the locks that were, so that no round is slower
	# than the one before.
	redis-cli -p "${port[redis]}" -n 1 FLUSHDB >/dev/null
done
table
[ ${#failed[@]} -eq 0 ]
