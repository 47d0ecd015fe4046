# shellcheck shell=bash
# What is there already when terraform plans to create it: BigQuery data that --adopt takes over, and workload identity
# pools that Google keeps for 30 days after their deletion. Comes after terraform.sh.

# What the plan creates of that: one line each, with type, terraform's address and the name; a pool before its provider.
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

# Status 10: something was imported, so that a new plan is needed.
take_over_existing() {
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

# A deleted pool or provider keeps its name for 30 days, so it is brought back and imported. False if it was not deleted.
undelete() { # ADDRESS POOL PROVIDER
  local kind=(workload-identity-pools) which=("$2" --location=global) path=projects/$project/locations/global/workloadIdentityPools/$2 state
  if [[ -n $3 ]]; then
    kind+=(providers) which=("$3" --workload-identity-pool="$2" --location=global) path+=/providers/$3
  fi
  state=$(gcloud iam "${kind[@]}" describe "${which[@]}" --format='value(state)' 2>/dev/null) || return
  [[ $state == DELETED ]] || return
  say "Bringing back ${path##*/}, which was deleted less than 30 days ago"
  gcloud iam "${kind[@]}" undelete "${which[@]}" --format=none || exit
  import_resource "$1" "$path" || exit
}

adopt_data() { # LINES OF ADDRESS AND NAME
  local address id path
  $adopt || fail "BigQuery has already: $(cut -d ' ' -f 2 <<<"$1" | tr '\n' ' ')" \
    "To let terraform manage it from now on: the same command with --adopt. To leave it to its owner: create_dataset = false (and create_tables = false) in the .tfvars file."
  while read -r address id; do
    path=projects/$project/datasets/${id%%.*}
    [[ $id != *.* ]] || path+=/tables/${id#*.}
    say "Taking over $id"
    import_resource "$address" "$path" || return
  done <<<"$1"
}
