# shellcheck shell=bash
# Shared by all scripts in this folder: named steps, failures with a next step, interrupts, the login, the project and
# Terraform's state. Written for bash 3.2, the version on macOS.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$here/.." && pwd)
step_name="reading the options" step_advice="" told=false interrupted=false

say() { printf '%s\n' "$*" >&2; }

# Starts a step: all commands up to the next one belong to it. The advice is shown if one of them fails.
step() { # NAME, WHAT TO DO WHEN IT FAILS
  step_name=$1 step_advice=${2:-}
  say "==> $1"
}

fail() { # WHAT HAPPENED, WHAT TO DO
  told=true
  say ""
  say "Stopped at: $step_name"
  say "  $1"
  [[ -z ${2:-} ]] || say "  $2"
  exit 1
}

on_exit() {
  local status=$?
  trap '' INT TERM HUP
  if ((status != 0)) && ! $told; then
    say ""
    if $interrupted; then
      say "Interrupted at: $step_name"
      report_interrupt
    else
      say "Stopped at: $step_name"
      say "  The error is above."
      [[ -z $step_advice ]] || say "  $step_advice"
    fi
    say "  There is nothing to undo. To continue, run the same command again."
  fi
  [[ -z ${scratch:-} ]] || rm -rf "$scratch"
  exit "$status"
}
trap on_exit EXIT

catch_interrupts() {
  trap 'on_interrupt 130' INT
  trap 'on_interrupt 143' TERM
  trap 'on_interrupt 129' HUP
}

on_interrupt() { # EXIT STATUS
  trap '' INT TERM HUP
  interrupted=true
  end_terraform
  exit "$1"
}
catch_interrupts

# Lets Ctrl-C end the script at once while it waits for input: bash 3.2 would run a trap only after the input.
default_interrupts() {
  trap - INT
}

# Overridden by terraform.sh for scripts that apply: wait for Terraform to end, and report how it ended.
end_terraform() { :; }
report_interrupt() { :; }

needs() { # COMMAND, WHERE TO GET IT
  command -v "$1" >/dev/null || fail "$1 is not installed." "$2"
}

# Prints the comment at the top of the script.
print_help() {
  awk 'NR > 1 && !/^#/ { exit } NR > 1 { sub(/^# ?/, ""); print }' "$0"
}

require_value() { # THE REST OF THE COMMAND LINE
  [[ $# -ge 2 && -n $2 ]] || fail "$1 needs a value." "See $0 --help."
}

# Copies standard input, line by line, to standard error and to a file. It reads to the end whatever happens to the
# terminal: a program whose pipe breaks dies before it has cleaned up. (Not awk: mawk reads blocks, not lines.)
show_and_keep() { # FILE, WHERE TO STOP SHOWING
  local line quiet=false
  trap '' INT TERM HUP PIPE
  while IFS= read -r line || [[ -n $line ]]; do
    [[ -z ${2:-} || $line != "$2"* ]] || quiet=true
    printf '%s\n' "$line" >&4 || true
    $quiet || printf '%s\n' "$line" >&2 || true
  done 4>"$1"
}

# Returns whether a refusal is temporary: an API was just enabled, or Google has just created the account.
is_passing_refusal() { # FILE
  grep -qiE 'has not been used in project|before or it is disabled|enabled this API recently|SERVICE_DISABLED|accessNotConfigured|API \[?[a-z.]+\]? (is )?not enabled|service account [^ ]*gcp-sa-[^ ]* does not exist' "$1"
}

# Google documents that enabling an API takes effect within five minutes: 15 times 20 seconds.
API_ATTEMPTS=15

wait_for_api() { # ATTEMPT
  if (($1 == 1)); then
    say "An API that was just enabled is not in effect yet. Retrying for up to five minutes."
  else
    say "Still waiting for the API (attempt $1 of $API_ATTEMPTS)."
  fi
  sleep "${RETRY_SECONDS:-20}"
}

# Runs a command, and repeats it while it is refused because an API was just enabled. Takes single commands only: within
# a function, `set -e` would have no effect.
patiently() { # COMMAND…
  local attempt=1 status
  while true; do
    status=0
    { "$@" 2>&1 >&3 3>&- | show_and_keep "$scratch/refusal"; } 3>&1 || status=$?
    ((status != 0)) || return 0
    ((attempt < API_ATTEMPTS)) && is_passing_refusal "$scratch/refusal" || return "$status"
    wait_for_api "$attempt"
    attempt=$((attempt + 1))
  done
}

# Finds the project and the account. From here on, gcloud uses that project and does not prompt.
log_in() {
  needs gcloud "Get it from https://cloud.google.com/sdk/docs/install, or use Cloud Shell, which has it."
  if [[ -z ${project:-} ]]; then
    project=$(gcloud config get-value project 2>/dev/null) || project=""
    [[ -n $project ]] || fail "Which project?" "Name it: --project ID, or PROJECT_ID=ID in the environment."
  fi
  scratch=$(mktemp -d)
  export CLOUDSDK_CORE_PROJECT=$project CLOUDSDK_CORE_DISABLE_PROMPTS=1
  take_token || fail "gcloud has no valid login." "Run: gcloud auth login"
  account=$(gcloud config get-value account 2>/dev/null) || account=""
  say "Project $project, as ${account:-an account that gcloud does not name}"
}

# Lets Terraform use gcloud's account, so that one login is enough.
take_token() {
  GOOGLE_OAUTH_ACCESS_TOKEN=$(gcloud auth print-access-token) || return
  export GOOGLE_OAUTH_ACCESS_TOKEN
  token_taken=$SECONDS
}

tf() {
  # A token is valid for an hour, and a build may take half of that.
  ((SECONDS - token_taken < 1200)) || take_token || return
  terraform -chdir="$repository/terraform" "$@"
}

# Sets variables, name, region, state_bucket and tf_hint. Comes after find_var_file and log_in.
prepare_terraform() {
  needs terraform "Get 1.11 or newer from https://developer.hashicorp.com/terraform/install"
  tf_hint="${0%/*}/tf --project $project"
  variables=("-var=project_id=$project")
  # Comes first, because later options override it.
  if [[ -n $var_file ]]; then
    variables=("-var-file=$var_file" "${variables[@]}")
    tf_hint+=" --var-file $(printf '%q' "$var_file")"
  fi
  if [[ -n $region ]]; then
    variables+=("-var=region=$region")
    tf_hint+=" --region $region"
  else
    region=$(from_var_file region)
    region=${region:-southamerica-east1} # the module's own default; a test compares
  fi
  name=$(from_var_file name)
  name=${name:-spotify-bq}
  choose_state_bucket
  variables+=("-var=state_bucket=$state_bucket")
  export TF_IN_AUTOMATION=1 TF_INPUT=0
  # A user's login needs a quota project; a service account has its own.
  if [[ $account != *gserviceaccount.com ]]; then
    export USER_PROJECT_OVERRIDE=true GOOGLE_BILLING_PROJECT=$project
  fi
}

choose_state_bucket() {
  local said
  said=$(from_var_file state_bucket)
  [[ -z $state_bucket || -z $said || $state_bucket == "$said" ]] ||
    fail "$(where_set state_bucket), and you named $state_bucket." "One stack has one state: change that line, or leave out --state-bucket (STATE_BUCKET)."
  if [[ -n $state_bucket && -z $said ]]; then tf_hint+=" --state-bucket $state_bucket"; fi
  state_bucket=${state_bucket:-${said:-${project//[:.]/-}-spotify-bq-state}}
}

init_terraform() {
  patiently tf init -reconfigure -backend-config="bucket=$state_bucket" -backend-config="prefix=$name" -no-color >"$scratch/init" ||
    { cat "$scratch/init" >&2; return 1; }
}

# shellcheck source-path=SCRIPTDIR source=settings.sh
. "$here/settings.sh"
