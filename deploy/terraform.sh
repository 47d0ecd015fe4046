# shellcheck shell=bash
# Plans and applies: asks before it changes something, waits for APIs that were just enabled, and explains Terraform's
# errors. Source lib.sh first.

# Plans, and shows a summary. Returns 0 if there are changes, 1 if there are none, 2 if Terraform failed.
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

# Applies the saved plan. Terraform runs in its own process group, so that Ctrl-C or a closed terminal reaches it once,
# through `end_terraform`: after a second interrupt it would end without saving its state.
apply() {
  local status=0
  rm -f "$scratch/pid" "$scratch/ended"
  : >"$scratch/errors"
  set -m
  # Outputs are for scripts and are not shown.
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
    # shellcheck disable=SC2016 # expanded by the inner bash, which becomes terraform and keeps its process id
    bash -c 'echo $$ >"$0"; exec terraform "$@"' "$scratch/pid" \
      -chdir="$repository/terraform" apply -no-color -compact-warnings "$scratch/plan" 2>&1 || status=$?
  fi
  echo "$status" >"$scratch/ended"
  return "$status"
}

# Overrides lib.sh: interrupts Terraform unless that has happened already, and waits until it has saved its state.
end_terraform() {
  [[ -n ${job:-} ]] || return 0
  say "Waiting for Terraform to finish what it is doing and save its state."
  sleep 1
  if [[ -f $scratch/pid && ! -f $scratch/ended ]] && ! grep -q 'Interrupt received' "$scratch/errors"; then
    kill -INT "$(<"$scratch/pid")" 2>/dev/null || true
  fi
  wait "$job" || true
}

# Overrides lib.sh.
report_interrupt() {
  local ended=""
  [[ -n ${job:-} ]] || return 0
  if [[ -f $scratch/ended ]]; then read -r ended <"$scratch/ended"; fi
  if [[ $ended != [01] ]] || grep -qE 'Two interrupts received|Failed to (persist|save) state|Error (saving|releasing) ' "$scratch/errors"; then
    say "  Terraform was cut off. The state may lack what it was creating, and may be locked. The next run detects both and"
    say "  says how to continue."
  else
    say "  Terraform finished what it was doing, saved its state and released the lock."
  fi
}

confirm() {
  local answer
  ! ${yes:-false} || return 0
  [[ -t 0 ]] || fail "There is no terminal to confirm this plan." "Without a terminal, use --yes."
  default_interrupts
  while read -r -p 'Apply this plan? Type yes, or show to see all of it: ' answer && [[ $answer == show ]]; do
    cat "$scratch/log" >&2
  done
  catch_interrupts
  [[ ${answer:-} == yes ]] || fail "You did not confirm, so nothing was changed."
}

# Plans and applies until there are no changes. The hook checks each plan before it is applied; status 10 means that it
# changed the state and a new plan is needed.
plan_and_apply() { # HOOK, TERRAFORM PLAN'S ARGUMENTS
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

# Returns whether a failed apply was repaired and is worth repeating (service.sh).
recovered() { return 1; }

explain_refusal() {
  if grep -q 'Error acquiring the state lock' "$scratch/errors"; then explain_lock; fi
  if grep -qiE 'already[ _]exists|already own it' "$scratch/errors"; then explain_existing; fi
}

# A run that is cut off (laptop closed, terminal killed) leaves its lock behind.
explain_lock() {
  local id who created operation age
  id=$(lock_field ID)
  who=$(lock_field Who)
  created=$(lock_field Created)
  operation=$(lock_field Operation)
  age=$(age_of "$created")
  fail "Terraform's state in gs://$state_bucket is locked by ${who:-an unknown holder} since ${created:-an unknown time}${age:+ ($age ago)}, for ${operation:-an unknown operation}." \
    "If that run is still active, wait until it ends. If it was cut off: $tf_hint force-unlock -force ${id:-ID}, then run this again."
}

# Terraform prefixes each line of an error with a bar.
lock_field() { # FIELD
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

# Lists what exists in the project but is missing from the state, with the commands that import it.
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
  fail "These already exist in $project, but are not in Terraform's state in gs://$state_bucket:"$'\n'"$commands" \
    "If they belong to this stack (an earlier run was cut off), import them with these commands, then run this again. Otherwise choose another name in the .tfvars file."
}
