# shellcheck shell=bash
# What the scripts of this folder share: steps that have names, failures that say what to do, who acts on which project,
# and terraform with its state in a bucket. Written for bash 3.2, which is what macOS has.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$here/.." && pwd)
step_name="reading the options" step_advice="" told=false

say() { printf '%s\n' "$*" >&2; }

# Every command from here to the next step belongs to this one; the advice is shown if one of them fails.
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
  if ((status != 0)) && ! $told; then
    say ""
    say "Stopped at: $step_name"
    say "  What went wrong stands above."
    [[ -z $step_advice ]] || say "  $step_advice"
    say "  Nothing has to be undone: the same command again goes on from here."
  fi
  [[ -z ${scratch:-} ]] || rm -rf "$scratch"
  exit "$status"
}
trap on_exit EXIT

needs() { # COMMAND, WHERE TO GET IT
  command -v "$1" >/dev/null || fail "$1 is not installed." "$2"
}

# The comment at the head of a script is its help.
print_help() {
  awk 'NR > 1 && !/^#/ { exit } NR > 1 { sub(/^# ?/, ""); print }' "$0"
}

require_value() { # THE REST OF THE COMMAND LINE
  [[ $# -ge 2 && -n $2 ]] || fail "$1 needs a value." "See $0 --help."
}

# Reads what terraform will read; only plain strings are looked for.
from_var_file() { # NAME
  [[ -n ${var_file:-} ]] || return 0
  python3 - "$var_file" "$1" <<'PYTHON'
import json, re, sys

path, name = sys.argv[1:]
with open(path, encoding="utf-8") as file:
    text = file.read()
if path.endswith(".json"):
    print(json.loads(text).get(name, ""))
else:
    found = re.search(rf'^\s*{name}\s*=\s*"([^"\n]*)"', text, re.MULTILINE)
    print(found.group(1) if found else "")
PYTHON
}

# The .tfvars file, and what it says of the project: terraform is told the project by its option, which has the last word.
find_var_file() {
  local said
  needs python3 "Install Python 3."
  if [[ -n $var_file ]]; then
    [[ -f $var_file ]] || fail "There is no file $var_file." "Name the .tfvars file: --var-file FILE"
    var_file=$(cd "$(dirname "$var_file")" && pwd)/${var_file##*/}
  elif [[ -f $repository/terraform/terraform.tfvars ]]; then
    var_file=$repository/terraform/terraform.tfvars
  fi
  said=$(from_var_file project_id)
  [[ -z $project || -z $said || $project == "$said" ]] ||
    fail "$var_file is of project $said, and you named $project." "Name the .tfvars file of $project: --var-file FILE"
  project=${project:-$said}
}

# Who acts, and on which project. From here on every gcloud asks that project, and asks no questions.
log_in() {
  needs gcloud "Get it from https://cloud.google.com/sdk/docs/install, or use Cloud Shell, which has it."
  if [[ -z ${project:-} ]]; then
    project=$(gcloud config get-value project 2>/dev/null) || project=""
    [[ -n $project ]] || fail "Which project?" "Name it: --project ID, or PROJECT_ID=ID in the environment."
  fi
  export CLOUDSDK_CORE_PROJECT=$project CLOUDSDK_CORE_DISABLE_PROMPTS=1
  take_token || fail "gcloud has no valid login." "Run: gcloud auth login"
  account=$(gcloud config get-value account 2>/dev/null) || account=""
  say "Project $project, as ${account:-an account that gcloud does not name}"
}

# Terraform acts as gcloud's account, so that there is one login.
take_token() {
  GOOGLE_OAUTH_ACCESS_TOKEN=$(gcloud auth print-access-token) || return
  export GOOGLE_OAUTH_ACCESS_TOKEN
  token_taken=$SECONDS
}

tf() {
  # A token lives an hour, and a build may take half of that.
  ((SECONDS - token_taken < 1200)) || take_token || return
  terraform -chdir="$repository/terraform" "$@"
}

# Fills: variables, name, region, state_bucket. Comes after find_var_file and log_in.
prepare_terraform() {
  needs terraform "Get 1.11 or newer from https://developer.hashicorp.com/terraform/install"
  variables=("-var=project_id=$project")
  # Before the others, of which the last word is taken.
  if [[ -n $var_file ]]; then variables=("-var-file=$var_file" "${variables[@]}"); fi
  if [[ -n $region ]]; then
    variables+=("-var=region=$region")
  else
    region=$(from_var_file region)
    region=${region:-southamerica-east1} # the module's own default; a test compares
  fi
  name=$(from_var_file name)
  name=${name:-spotify-bq}
  state_bucket=${state_bucket:-${project//[:.]/-}-spotify-bq-state}
  variables+=("-var=state_bucket=$state_bucket")
  scratch=$(mktemp -d)
  export TF_IN_AUTOMATION=1 TF_INPUT=0
  # A person's login has no project of its own to count calls against; a service account has.
  if [[ $account != *gserviceaccount.com ]]; then
    export USER_PROJECT_OVERRIDE=true GOOGLE_BILLING_PROJECT=$project
  fi
}

init_terraform() {
  tf init -reconfigure -backend-config="bucket=$state_bucket" -backend-config="prefix=$name" >"$scratch/init" ||
    { cat "$scratch/init" >&2; return 1; }
}

# Plans, shows the plan in short, and says by its status whether there is anything to do.
plan() { # TERRAFORM PLAN'S ARGUMENTS
  local status=0
  tf plan "$@" -no-color -compact-warnings -detailed-exitcode -out="$scratch/plan" "${variables[@]}" >"$scratch/log" || status=$?
  case $status in
    0) say "Nothing to change."; return 1 ;;
    2) grep -E '^  # |^Plan:|^Changes to Outputs' "$scratch/log" >&2 || true ;;
    *) exit "$status" ;;
  esac
}

# Carries out what `plan` planned.
apply() {
  tf apply -no-color -compact-warnings "$scratch/plan" | sed '/^Outputs:/,$d' >&2
}

confirm() {
  local answer
  ! ${yes:-false} || return 0
  [[ -t 0 ]] || fail "There is nobody to ask whether to carry this plan out." "Without a terminal, agree in advance: --yes"
  while read -r -p 'Carry this out? yes, or show for the whole plan: ' answer && [[ $answer == show ]]; do
    cat "$scratch/log" >&2
  done
  [[ ${answer:-} == yes ]] || fail "You did not agree, so nothing of this plan was done."
}
