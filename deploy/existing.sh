# shellcheck shell=bash
# Imports what already exists when Terraform plans to create it: BigQuery data with --adopt, and workload identity pools,
# which Google keeps for 30 days after their deletion. Source terraform.sh first.

# Lists what the plan creates of these, one per line: type, Terraform's address and name. A pool precedes its provider.
planned() {
  tf show -json "$scratch/plan" | python3 -c '
import json, sys

NAMES = {
    "google_bigquery_dataset": "{dataset_id}",
    "google_bigquery_table": "{dataset_id}.{table_id}",
    "google_iam_workload_identity_pool": "{workload_identity_pool_id}",
    "google_iam_workload_identity_pool_provider": "{workload_identity_pool_id} {workload_identity_pool_provider_id}",
}
for change in sorted(json.load(sys.stdin).get("resource_changes", []), key=lambda change: change["type"]):
    if change["change"]["actions"] == ["create"] and change["type"] in NAMES:
        print(change["type"], change["address"], NAMES[change["type"]].format(**change["change"]["after"]))
'
}

import_resource() { # ADDRESS ID
  tf import "${variables[@]}" "$1" "$2" >"$scratch/errors" 2>&1 || {
    cat "$scratch/errors" >&2
    explain_refusal
    return 1
  }
}

# Returns 10 if something was imported and a new plan is needed.
import_existing() {
  local type address id more changed=0 data=""
  planned >"$scratch/planned" || return
  while read -r type address id more; do
    [[ $type == google_bigquery_* ]] || continue
    if bq --headless --project_id="$project" show --format=none "$project:$id" >/dev/null 2>&1; then
      data+="$address $id"$'\n'
    fi
  done <"$scratch/planned"
  if [[ -n $data ]]; then
    adopt_data "${data%$'\n'}" || return
    changed=10
  fi
  while read -r type address id more; do
    [[ $type == google_iam_* ]] || continue
    if undelete "$address" "$id" "$more"; then changed=10; fi
  done <"$scratch/planned"
  return "$changed"
}

# Google keeps the name of a deleted pool or provider for 30 days, so it is undeleted and imported. Fails if it was not deleted.
undelete() { # ADDRESS POOL PROVIDER
  local kind=(workload-identity-pools) which=("$2" --location=global) path=projects/$project/locations/global/workloadIdentityPools/$2 state
  if [[ -n $3 ]]; then
    kind+=(providers) which=("$3" --workload-identity-pool="$2" --location=global) path+=/providers/$3
  fi
  state=$(gcloud iam "${kind[@]}" describe "${which[@]}" --format='value(state)' 2>/dev/null) || return
  [[ $state == DELETED ]] || return
  say "Restoring ${path##*/}, which was deleted less than 30 days ago"
  gcloud iam "${kind[@]}" undelete "${which[@]}" --format=none || exit
  import_resource "$1" "$path" || exit
}

adopt_data() { # LINES OF ADDRESS AND NAME
  local address id path
  $adopt || fail "BigQuery already has: $(cut -d ' ' -f 2 <<<"$1" | tr '\n' ' ')" \
    "To let Terraform manage it from now on, run the same command with --adopt. To leave it unmanaged, set create_dataset = false (and create_tables = false) in the .tfvars file."
  while read -r address id; do
    path=projects/$project/datasets/${id%%.*}
    [[ $id != *.* ]] || path+=/tables/${id#*.}
    say "Importing $id"
    import_resource "$address" "$path" || return
  done <<<"$1"
}
