# Steps with a name and a time, and an honest account of what was left out. Sourced by `scripts/test`
# and `.ci/run`; needs `set -euo pipefail` there.

left_out=()

# step NAME COMMAND…: runs the command, prints how long it took, fails with its exit code.
step() {
  local name=$1 start=$SECONDS code=0
  shift
  printf '\n==> %s: %s\n' "$name" "$*"
  "$@" || code=$?
  if ((code != 0)); then
    printf '<== %s: FAILED with exit code %d after %d s\n' "$name" "$code" "$((SECONDS - start))" >&2
    return "$code"
  fi
  printf '<== %s: %d s\n' "$name" "$((SECONDS - start))"
}

# leave_out WHAT WHY: a laptop may lack a tool, and then everything else still runs. CI may not.
leave_out() {
  if [[ ${CI:-} == true ]]; then
    printf 'FAILED: %s: %s; in CI nothing is left out\n' "$1" "$2" >&2
    exit 1
  fi
  printf '!!! LEFT OUT: %s: %s\n' "$1" "$2" >&2
  left_out+=("$1: $2")
}

# Says at the end what `leave_out` said on the way.
account() {
  printf '\n%s in %d s\n' "$1" "$SECONDS"
  local what
  for what in ${left_out[@]+"${left_out[@]}"}; do
    printf '!!! LEFT OUT: %s\n' "$what"
  done
}
