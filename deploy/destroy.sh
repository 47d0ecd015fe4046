#!/usr/bin/env bash
# Takes spotify-bq out of a Google Cloud project again. The BigQuery dataset and its tables stay, unless told otherwise.
#
#   deploy/destroy.sh --project ID [options]
#
#   --project, --region, --var-file, --state-bucket   as for deploy.sh; use the same
#   --delete-data   delete the dataset and all its tables too, those of other terms included
#   --yes           don't ask
#
# What goes: the service, its schedules, topics and subscriptions (with the dead letters that wait in them), the secret with
# its value, the registry with its images, the identities, alerts and dashboard. What stays besides the data: the APIs, which
# others may use, and the bucket with terraform's state. deploy.sh brings all of it back; with --adopt onto the data kept.
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
  if $delete_data; then data="are DELETED, those of other terms too"; fi
  say ""
  say "This removes $name from the project $project: service, schedules, topics, dead letters, secret, images, alerts."
  say "The BigQuery dataset and its tables $data."
  if $yes; then return; fi
  [[ -t 0 ]] || fail "No terminal to ask for your agreement." "Without a terminal, agree in advance: --yes"
  let_go_of_interrupts
  read -r -p "Type the project's id to go on: " answer
  catch_interrupts
  [[ $answer == "$project" ]] || fail "That is not $project, so nothing was changed."
}

# Terraform refuses to destroy what was last applied with protection.
lift_protection() {
  local address targets=()
  for address in $(in_state google_cloud_run_v2_service.this); do targets+=("-target=$address"); done
  if $delete_data; then
    for address in $(in_state google_bigquery_dataset.this) $(in_state google_bigquery_table.this); do targets+=("-target=$address"); done
  fi
  ((${#targets[@]})) || return 0
  change "${targets[@]}" && return
  # The new revision may fail as the last one did, and the protection is lifted all the same.
  change "${targets[@]}"
}

# Carries out a plan that was agreed to. There is nothing to do: that is well too.
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
  say "The state in gs://$state_bucket ($name) holds nothing: there is nothing to remove."
  exit 0
fi
# Without the image that runs, lifting the protection would roll out the module's placeholder.
image=$(service_in_state image)
if [[ -n $image ]]; then variables+=("-var=image=$image"); fi
# Nothing is created on the way out: what an earlier, interrupted run has let go of stays so.
if [[ -z $(in_state google_bigquery_dataset.this) ]]; then variables+=("-var=create_dataset=false"); fi
if [[ -z $(in_state google_bigquery_table.this) ]]; then variables+=("-var=create_tables=false"); fi

step "your agreement"
ask

step "lifting the deletion protection" "Your account needs roles/run.admin and, with --delete-data, roles/bigquery.admin."
tainted=$(service_in_state tainted)
if [[ -n $tainted ]]; then untaint_service; fi
lift_protection

if ! $delete_data; then
  step "letting go of the BigQuery data" "Nothing was destroyed yet."
  for address in $(in_state google_bigquery_table.this) $(in_state google_bigquery_dataset.this); do
    tf state rm "$address" >/dev/null
    say "kept: $address"
  done
fi

step "removing everything else" "Part of it may be gone already; run this again for the rest."
change -destroy

step "done"
say "Terraform's state, now empty, is still in gs://$state_bucket. If nothing else uses the bucket:"
say "  gcloud storage rm --recursive gs://$state_bucket --project=$project"
