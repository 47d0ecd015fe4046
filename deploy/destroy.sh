#!/usr/bin/env bash
# Removes spotify-bq from a Google Cloud project. The BigQuery dataset and its tables stay unless you pass --delete-data.
#
#   deploy/destroy.sh --project ID [options]
#
#   --project, --region, --var-file, --state-bucket   as for deploy.sh; use the same
#   --delete-data   also delete the dataset and all its tables, including those of other terms
#   --yes           don't ask
#
# Removed: the service, its schedules, topics and subscriptions (with the dead letters in them), the secret, the registry
# with its images, the service accounts, alerts and dashboard. Kept besides the data: enabled APIs, which other systems may
# use, and the bucket with Terraform's state. deploy.sh restores everything; with --adopt it uses the data that was kept.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source-path=SCRIPTDIR source=terraform.sh
. "$here/terraform.sh"
# shellcheck source-path=SCRIPTDIR source=service.sh
. "$here/service.sh"

project=${PROJECT_ID:-} region=${REGION:-} var_file=${VAR_FILE:-} state_bucket=${STATE_BUCKET:-}
delete_data=false yes=false
while (($#)); do
  case $1 in
    --project) require_value "$@"; project=$2; shift ;;
    --region) require_value "$@"; region=$2; shift ;;
    --var-file) require_value "$@"; var_file=$2; shift ;;
    --state-bucket) require_value "$@"; state_bucket=$2; shift ;;
    --delete-data) delete_data=true ;;
    --yes) yes=true ;;
    -h | --help) print_help; exit 0 ;;
    *) fail "Unknown option $1." "See $0 --help." ;;
  esac
  shift
done

in_state() { # THE BEGINNING OF AN ADDRESS
  grep "^$1" "$scratch/state" || true
}

ask() {
  local answer data="stay"
  if $delete_data; then data="are DELETED, including those of other terms"; fi
  say ""
  say "This removes $name from the project $project: service, schedules, topics, dead letters, secret, images, alerts."
  say "The BigQuery dataset and its tables $data."
  if $yes; then return; fi
  [[ -t 0 ]] || fail "There is no terminal to confirm." "Without a terminal, use --yes."
  default_interrupts
  read -r -p "Type the project's id to continue: " answer
  catch_interrupts
  [[ $answer == "$project" ]] || fail "That is not $project, so nothing was changed."
}

# Terraform refuses to destroy what was applied with deletion protection, so that is lifted first.
lift_protection() {
  local address targets=()
  for address in $(in_state google_cloud_run_v2_service.this); do targets+=("-target=$address"); done
  if $delete_data; then
    for address in $(in_state google_bigquery_dataset.this) $(in_state google_bigquery_table.this); do targets+=("-target=$address"); done
  fi
  ((${#targets[@]})) || return 0
  change "${targets[@]}" && return
  # The new revision may fail like the last one, but the protection is lifted all the same.
  change "${targets[@]}"
}

# Applies a confirmed plan. A plan without changes is a success.
change() { # TERRAFORM PLAN'S ARGUMENTS
  local status=0
  plan "$@" || status=$?
  case $status in
    0) apply && return; status=$? ;;
    1) return 0 ;;
  esac
  explain_refusal
  return "$status"
}

step "login and tools" "Your account must be able to see the project: gcloud projects describe PROJECT"
find_var_file
log_in
prepare_terraform
variables+=("-var=deletion_protection=false")

step "terraform's state" "Is gs://$state_bucket the bucket that deploy.sh used, and does your account have roles/storage.objectUser on it?"
init_terraform
tf state list >"$scratch/state"
if [[ ! -s $scratch/state ]]; then
  say "The state in gs://$state_bucket ($name) is empty: there is nothing to remove."
  exit 0
fi
# Without the running image, lifting the protection would deploy the module's placeholder.
image=$(service_in_state image)
if [[ -n $image ]]; then variables+=("-var=image=$image"); fi
# An interrupted run may have removed these from the state. They must not be created again.
if [[ -z $(in_state google_bigquery_dataset.this) ]]; then variables+=("-var=create_dataset=false"); fi
if [[ -z $(in_state google_bigquery_table.this) ]]; then variables+=("-var=create_tables=false"); fi

step "your confirmation"
ask

step "lifting the deletion protection" "Your account needs roles/run.admin and, with --delete-data, roles/bigquery.admin."
tainted=$(service_in_state tainted)
if [[ -n $tainted ]]; then untaint_service; fi
lift_protection

if ! $delete_data; then
  step "removing the BigQuery data from Terraform's state" "Nothing has been destroyed yet."
  for address in $(in_state google_bigquery_table.this) $(in_state google_bigquery_dataset.this); do
    tf state rm "$address" >/dev/null
    say "kept: $address"
  done
fi

step "removing everything else" "Some of it may already be removed. Run this again for the rest."
change -destroy

step "done"
say "Terraform's state, now empty, is still in gs://$state_bucket. If nothing else uses the bucket:"
say "  gcloud storage rm --recursive gs://$state_bucket --project=$project"
