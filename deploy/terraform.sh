# shellcheck shell=bash
# Plans and applies: asks before it changes something, waits for APIs that were just turned on, and says what terraform's
# own refusals mean. Comes after lib.sh.

# Plans, and shows the plan in short. Status 0: there is something to do; 1: nothing; 2: terraform refused.
plan() { # TERRAFORM PLAN'S ARGUMENTS
  local status=0
  nothing_to_change=false
  tf plan "$@" -no-color -compact-warnings -detailed-exitcode -out="$scratch/plan" "${variables[@]}" \
    >"$scratch/log" 2>"$scratch/errors" || status=$?
  case $status in
    0) say "Nothing to change."; nothing_to_change=true; return 1 ;;
    2) grep -E '^  # |^Plan:|^Changes to Outputs' "$scratch/log" >&2 || true ;;
    *) cat "$scratch/errors" >&2; return 2 ;;
  esac
}

# Carries out what `plan` planned. Terraform runs in a process group of its own, so that Ctrl-C and a terminal that closes
# reach it only by way of `end_terraform`, once: told twice, it would end without saving.
apply() {
  local status=0
  rm -f "$scratch/pid" "$scratch/ended"
  : >"$scratch/errors"
  set -m
  # The outputs are for scripts, so they are not shown.
  { to_the_end | show_and_keep "$scratch/errors" Outputs:; } </dev/null &
  job=$!
  set +m
  wait "$job" || status=$?
  job=""
  return "$status"
}

to_the_end() {
  local status=0
  ((SECONDS - token_taken < 1200)) || take_token || status=$?
  if ((status == 0)); then
    # shellcheck disable=SC2016 # for the other bash, which becomes terraform and keeps its process id
    bash -c 'echo $$ >"$0"; exec terraform "$@"' "$scratch/pid" \
      -chdir="$repository/terraform" apply -no-color -compact-warnings "$scratch/plan" 2>&1 || status=$?
  fi
  echo "$status" >"$scratch/ended"
  return "$status"
}

# Overrides lib.sh's: terraform is told to stop, unless it was told already, and the script waits until it has saved.
end_terraform() {
  [[ -n ${job:-} ]] || return 0
  say "Waiting for terraform to end what it is doing and to save its state."
  sleep 1
  if [[ -f $scratch/pid && ! -f $scratch/ended ]] && ! grep -q 'Interrupt received' "$scratch/errors"; then
    kill -INT "$(<"$scratch/pid")" 2>/dev/null || true
  fi
  wait "$job" || true
}

# Overrides lib.sh's.
report_interrupt() {
  local ended=""
  [[ -n ${job:-} ]] || return 0
  if [[ -f $scratch/ended ]]; then read -r ended <"$scratch/ended"; fi
  if [[ $ended != [01] ]] || grep -qE 'Two interrupts received|Failed to (persist|save) state|Error (saving|releasing) ' "$scratch/errors"; then
    say "  Terraform could not end by itself. What it was creating may be in no state, and the state may be locked; the next"
    say "  run says so, and how to go on."
  else
    say "  Terraform ended what it was doing, saved its state and released the lock."
  fi
}

confirm() {
  local answer
  ! ${yes:-false} || return 0
  [[ -t 0 ]] || fail "No terminal to ask whether to carry this plan out." "Without a terminal, agree in advance: --yes"
  let_go_of_interrupts
  while read -r -p 'Carry this out? yes, or show for the whole plan: ' answer && [[ $answer == show ]]; do
    cat "$scratch/log" >&2
  done
  catch_interrupts
  [[ ${answer:-} == yes ]] || fail "You did not agree, so nothing of this plan was done."
}

# Plans and applies until nothing is left to do. The hook looks at each plan before it is carried out; with status 10 it
# has changed the state, so that a new plan is needed.
carry_out() { # HOOK, TERRAFORM PLAN'S ARGUMENTS
  local hook=$1 attempt=1 status agreed=false
  shift
  while true; do
    status=0
    plan "$@" || status=$?
    ((status != 1)) || return 0
    if ((status == 0)); then
      "$hook" || status=$?
      case $status in
        0) ;;
        10) continue ;;
        *) return "$status" ;;
      esac
      $agreed || confirm
      agreed=true
      if apply; then return 0; fi
    fi
    explain_refusal
    if is_passing_refusal "$scratch/errors" && ((attempt < API_ATTEMPTS)); then
      wait_for_api "$attempt"
      attempt=$((attempt + 1))
    elif ((status == 0)) && recovered; then
      continue
    else
      return 1
    fi
  done
}

# Whether something was repaired after a failed apply, so that another one is worth trying (service.sh).
recovered() { return 1; }

explain_refusal() {
  if grep -q 'Error acquiring the state lock' "$scratch/errors"; then explain_lock; fi
  if grep -qiE 'already[ _]exists|already own it' "$scratch/errors"; then explain_existing; fi
}

# A lock is left behind by a run that could not end by itself: a laptop closed, a terminal killed.
explain_lock() {
  local id who created operation age
  id=$(lock_says ID)
  who=$(lock_says Who)
  created=$(lock_says Created)
  operation=$(lock_says Operation)
  age=$(age_of "$created")
  fail "Terraform's state in gs://$state_bucket is locked by ${who:-an unknown holder} since ${created:-an unknown time}${age:+ ($age ago)}, for ${operation:-an unknown operation}." \
    "If that run is still at work, wait for its end. If it was cut off: $tf_hint force-unlock -force ${id:-ID}, then run this again."
}

# Terraform draws a bar before each line of an error.
lock_says() { # FIELD
  awk -v field="$1:" '{ sub(/^[^A-Za-z]*/, "") } $1 == field && !found { sub(/^[A-Za-z]+: */, ""); print; found = 1 }' "$scratch/errors"
}

age_of() { # 2026-11-25 17:30:00.123 +0000 UTC
  python3 - "$1" <<'PYTHON'
import datetime, re, sys

match = re.match(r"(\d+)-(\d+)-(\d+)[ T](\d+):(\d+):(\d+)", sys.argv[1])
if match:
    made = datetime.datetime(*map(int, match.groups()), tzinfo=datetime.timezone.utc)
    minutes = max(0, int((datetime.datetime.now(datetime.timezone.utc) - made).total_seconds() // 60))
    days, hours = minutes // 1440, minutes // 60
    print(f"{days} days" if days > 1 else f"{hours} hours" if hours > 1 else f"{minutes} minutes")
PYTHON
}

# What exists in the project but is in no state, with the command that imports it.
explain_existing() {
  local commands
  commands=$(tf show -json "$scratch/plan" | python3 -c '
import json, re, shlex, sys

errors, hint = open(sys.argv[1], encoding="utf-8").read(), sys.argv[2]
planned = {change["address"]: change for change in json.load(sys.stdin).get("resource_changes", [])}
IDS = {
    "google_artifact_registry_repository": "projects/{project}/locations/{location}/repositories/{repository_id}",
    "google_bigquery_dataset": "projects/{project}/datasets/{dataset_id}",
    "google_bigquery_table": "projects/{project}/datasets/{dataset_id}/tables/{table_id}",
    "google_cloud_run_v2_service": "projects/{project}/locations/{location}/services/{name}",
    "google_cloud_scheduler_job": "projects/{project}/locations/{region}/jobs/{name}",
    "google_iam_workload_identity_pool": "projects/{project}/locations/global/workloadIdentityPools/{workload_identity_pool_id}",
    "google_iam_workload_identity_pool_provider": "projects/{project}/locations/global/workloadIdentityPools/{workload_identity_pool_id}/providers/{workload_identity_pool_provider_id}",
    "google_logging_metric": "{project} {name}",
    "google_pubsub_subscription": "projects/{project}/subscriptions/{name}",
    "google_pubsub_topic": "projects/{project}/topics/{name}",
    "google_secret_manager_secret": "projects/{project}/secrets/{secret_id}",
    "google_service_account": "projects/{project}/serviceAccounts/{account_id}@{project}.iam.gserviceaccount.com",
    "google_storage_bucket": "{name}",
}
for error in re.split(r"(?m)^.{0,4}Error: ", errors)[1:]:
    address = re.search(r"(?m)^\W*with (\S+),$", error)
    if not address or not re.search(r"already[ _]exists|already own it", error, re.I):
        continue
    address = address[1]
    values = (planned.get(address, {}).get("change", {}).get("after")) or {}
    kind = address.split("[")[0].split(".")[-2]
    try:
        known = {key: value for key, value in values.items() if isinstance(value, str)}
        print(f"    {hint} import {shlex.quote(address)} {shlex.quote(IDS[kind].format(**known))}")
    except KeyError:
        print(f"    {hint} import {shlex.quote(address)} ID    (ID: see \"Import\" at {kind} in the provider\x27s documentation)")
' "$scratch/errors" "$tf_hint") || return 0
  [[ -n $commands ]] || return 0
  fail "These exist in $project already, but not in terraform's state in gs://$state_bucket:"$'\n'"$commands" \
    "If they belong to this stack (an earlier run was cut off), bring them in with these commands, then run this again. If not, choose another name in the .tfvars file."
}
