# shellcheck shell=bash
# Shared by .ci/run and .ci/long: counted steps, tools from PyPI, the closing line.
shared=$PWD/../shared
tools=${XDG_CACHE_HOME:-$HOME/.cache}/spotify-bq-ci
export CARGO_TERM_COLOR=never CARGO_INCREMENTAL=0
passed=0 failed=0 skipped=0 broken=()

# ONLY is a pattern that selects steps.
step() { # NAME COMMAND…
  local name=$1 start=$SECONDS
  shift
  [[ $name =~ ${ONLY:-.} ]] || return 0
  echo "=== $name"
  if ( set -e; "$@" ); then
    passed=$((passed + 1))
    echo "--- $name: ok, $((SECONDS - start)) s"
  else
    failed=$((failed + 1))
    broken+=("$name")
    echo "--- $name: FAILED, $((SECONDS - start)) s"
  fi
}

skip() { # NAME WHY
  skipped=$((skipped + 1))
  echo "=== $1: skipped, $2"
}

# Runs a command of a PyPI package at a fixed version, in an environment of its own.
tool() { # PACKAGE==VERSION COMMAND ARGUMENTS…
  local package=$1 folder=$tools/${1//[^a-z0-9.]/-}
  shift
  if [[ ! -f $folder/ok ]]; then
    rm -rf "$folder"
    python3 -m venv "$folder"
    "$folder/bin/pip" -q install "$package"
    touch "$folder/ok"
  fi
  PATH=$folder/bin:$PATH "$@"
}

# Prints the folder of a Python environment, which is reinstalled when its requirements or constraints change.
environment() { # NAME REQUIREMENTS CONSTRAINTS
  local folder=$tools/$1
  if ! cat "$2" "$3" | cmp -s - "$folder/installed"; then
    rm -rf "$folder"
    python3 -m venv "$folder"
    "$folder/bin/pip" -q install -r "$2" -c "$3" >&2
    cat "$2" "$3" > "$folder/installed"
  fi
  echo "$folder"
}

close() {
  local name
  for name in "${broken[@]+"${broken[@]}"}"; do echo "failed: $name"; done
  echo "$passed passed, $failed failed, $skipped skipped"
  ((failed == 0))
}
