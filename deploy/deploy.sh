#!/usr/bin/env bash
# Deploys spotify-bq to a Google Cloud project: an empty one, or one in which an earlier run stopped at any point. Running
# it again changes only what has changed.
#
#   deploy/deploy.sh --project ID [options]
#
#   --project ID           (or PROJECT_ID) the project, which must have billing; default: the .tfvars file's, else gcloud's current project
#   --region REGION        (or REGION) default: the .tfvars file's, else southamerica-east1
#   --search-term TERM     the term to search for, at the first deployment; saved in terraform/terraform.tfvars
#   --mention PHRASES      phrases that make an episode a mention, separated by |; saved there too
#   --var-file FILE        (or VAR_FILE) variables of terraform/; default: terraform/terraform.tfvars, if there
#   --state-bucket BUCKET  (or STATE_BUCKET) bucket for Terraform's state; default: the .tfvars file's, else PROJECT-spotify-bq-state
#   --local-docker         build with Docker on this machine instead of Cloud Build
#   --image IMAGE@sha256:… use this image and build none: a release's (ghcr.io/…), or one that you built before
#   --rebuild              build the image even if it exists, to pick up new versions of its base images
#   --only-image           only update the running service's image; the GitHub workflow's permissions are enough
#   --adopt                import a dataset and tables that already exist
#   --no-messages          don't load the tables at the end
#   --yes                  don't ask before terraform changes something
#
# Needs gcloud (logged in), terraform and python3. Your account: Owner of the project, or the roles
#   serviceusage.serviceUsageAdmin, resourcemanager.projectIamAdmin, iam.serviceAccountAdmin, iam.serviceAccountUser,
#   storage.admin, artifactregistry.admin, cloudbuild.builds.editor, secretmanager.admin, bigquery.admin, pubsub.admin,
#   run.admin, cloudscheduler.admin, monitoring.admin, logging.admin
# (and iam.workloadIdentityPoolAdmin for github_repository, rights on the billing account for budget).
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source-path=SCRIPTDIR source=terraform.sh
. "$here/terraform.sh"
# shellcheck source-path=SCRIPTDIR source=service.sh
. "$here/service.sh"
# shellcheck source-path=SCRIPTDIR source=image.sh
. "$here/image.sh"
# shellcheck source-path=SCRIPTDIR source=existing.sh
. "$here/existing.sh"
# shellcheck source-path=SCRIPTDIR source=messages.sh
. "$here/messages.sh"

project=${PROJECT_ID:-} region=${REGION:-} var_file=${VAR_FILE:-} state_bucket=${STATE_BUCKET:-}
builder=cloud image="" rebuild=false only_image=false adopt=false messages=true yes=false search_term="" mention=""
while (($#)); do
  case $1 in
    --project) require_value "$@"; project=$2; shift ;;
    --region) require_value "$@"; region=$2; shift ;;
    --search-term) require_value "$@"; check_setting "$1" "$2" 1; search_term=$2; shift ;;
    --mention) require_value "$@"; check_setting "$1" "$2" 20; mention=$2; shift ;;
    --var-file) require_value "$@"; var_file=$2; shift ;;
    --state-bucket) require_value "$@"; state_bucket=$2; shift ;;
    --image) require_value "$@"; image=$2; shift ;;
    --local-docker) builder=docker ;;
    --rebuild) rebuild=true ;;
    --only-image) only_image=true ;;
    --adopt) adopt=true ;;
    --no-messages) messages=false ;;
    --yes) yes=true ;;
    -h | --help) print_help; exit 0 ;;
    *) fail "Unknown option $1." "See $0 --help." ;;
  esac
  shift
done
[[ -z $image || $image == *@sha256:* ]] ||
  fail "$image has no digest." "Name the image as IMAGE@sha256:…. A tag is not enough: moving it creates no new revision."
if $only_image && [[ -n $search_term$mention ]]; then
  fail "--only-image changes no settings." "Leave out --search-term and --mention: --only-image uses those of the .tfvars file."
fi

# Terraform enables all other APIs. These are needed before it can run.
first_apis="cloudresourcemanager.googleapis.com iam.googleapis.com pubsub.googleapis.com cloudscheduler.googleapis.com storage.googleapis.com"

enable_apis() { # APIS…
  local api missing=()
  for api in "$@"; do
    grep -qx "$api" <<<"$apis_on" || missing+=("$api")
  done
  if ((${#missing[@]})); then patiently gcloud services enable "${missing[@]}"; fi
}

enable_first_apis() {
  local apis_on
  # If Service Usage itself is off, the list is refused, and nothing counts as enabled.
  apis_on=$(gcloud services list --enabled --format='value(config.name)' 2>"$scratch/refusal") ||
    is_passing_refusal "$scratch/refusal" || { cat "$scratch/refusal" >&2; return 1; }
  enable_apis serviceusage.googleapis.com
  # shellcheck disable=SC2086 # a list
  enable_apis $first_apis
}

# Fails if the account can't see the project. If the call fails because an API is off, it is repeated once the API is on.
read_project() {
  local status=0
  gcloud projects describe "$project" --format='value(projectNumber)' >/dev/null 2>"$scratch/refusal" || status=$?
  ((status != 0)) || return 0
  if is_passing_refusal "$scratch/refusal"; then
    ask_again=true
    return 0
  fi
  cat "$scratch/refusal" >&2
  return "$status"
}

make_state_bucket() {
  local settings
  # Lists only this project's buckets: names are global, and another project's bucket would expose the state.
  settings=$(patiently gcloud storage buckets list --filter="name=$state_bucket" \
    --format='value[separator=" "](versioning_enabled,uniform_bucket_level_access,public_access_prevention)')
  if [[ -z $settings ]]; then
    patiently gcloud storage buckets create "gs://$state_bucket" --location="$region" \
      --uniform-bucket-level-access --public-access-prevention
  fi
  # An interrupted run may have left a bucket without these settings.
  if [[ $settings != "True True enforced" ]]; then
    patiently gcloud storage buckets update "gs://$state_bucket" --versioning \
      --uniform-bucket-level-access --public-access-prevention
  fi
}

# A stack's table names follow its term, so a different term would replace the tables of an existing stack.
keep_settings() {
  local now
  if [[ -n $search_term ]]; then
    now=$(tf output -json settings 2>/dev/null | python3 -c '
import json, sys

try:
    now = json.load(sys.stdin)["set"]["SEARCH_TERM"]
except (ValueError, KeyError, TypeError):
    sys.exit()
if now.casefold().split() != sys.argv[1].casefold().split():
    print(now)
' "$search_term") || now=""
    [[ -z $now ]] ||
      fail "The term of this stack is \"$now\", and you said --search-term \"$search_term\"." \
        "--search-term is for a first deployment. To load another term too, or to change this one: docs/deploy.md, Load more terms."
    keep_setting --search-term search_term "$search_term"
  fi
  if [[ -n $mention ]]; then keep_setting --mention mention "$mention"; fi
}

# Registry, build account, build bucket and secret come first, because the service starts only with an image and a
# secret's value. So do the grants that it needs at its start: IAM needs minutes to take effect, and the build takes that
# long. (The dataset's grant is not among them: it would create the dataset before --adopt.) Terraform creates them with
# -target, so that it manages them from the start.
first_resources=(
  google_artifact_registry_repository_iam_member.build
  google_storage_bucket_iam_member.build
  google_project_iam_member.build_logs
  google_secret_manager_secret.spotify
  google_secret_manager_secret_iam_member.runtime
  google_project_iam_member.runtime_jobs
  google_pubsub_topic_iam_member.runtime
  google_pubsub_topic_iam_member.agent_dead_letter
  google_service_account_iam_member.agent_signs_as_push
)

apply_first_resources() {
  local resource targets=()
  for resource in "${first_resources[@]}"; do targets+=("-target=$resource"); done
  plan_and_apply no_hook "${targets[@]}"
}

no_hook() { :; }

# A plan without changes may still have read values that a newer provider writes differently. They are saved: the
# workflow's account plans without refresh (below) and would otherwise find differences.
save_what_was_read() {
  local drift
  drift=$(tf show -json "$scratch/plan" | python3 -c '
import json, sys

print(len(json.load(sys.stdin).get("resource_drift", [])) or "")
')
  [[ -z $drift ]] || apply
}

# The workflow's account may change only the service. A plan that changes more is refused here, before Google refuses it
# half-way. The account may not read the other resources either, so -refresh=false compares with the state that the last
# full run saved.
only_the_service() {
  local more
  more=$(tf show -json "$scratch/plan" | python3 -c '
import json, sys

for resource in json.load(sys.stdin).get("resource_changes", []):
    if resource["mode"] == "managed" and resource["change"]["actions"] != ["no-op"] and resource["address"] != "google_cloud_run_v2_service.this":
        print("  " + resource["address"])
') || return
  [[ -z $more ]] || fail "This plan changes more than the service:"$'\n'"$more" \
    "Run deploy/deploy.sh with the same variables from an account with full permissions, then run this again."
}

step "login and tools" "Your account must be able to see the project: gcloud projects describe PROJECT"
find_var_file
log_in
prepare_terraform

if ! $only_image; then
  ask_again=false
  read_project
  # An account without billing permissions gets no answer; only a clear False counts.
  billing=$(gcloud billing projects describe "$project" --format='value(billingEnabled)' 2>/dev/null) || billing=""
  [[ $billing != False ]] || fail "$project has no billing account, which Cloud Run requires." \
    "Link an account: https://console.cloud.google.com/billing/linkedaccount?project=$project"
fi

if [[ $image == ghcr.io/* ]]; then
  step "verifying the image"
  check_attestation
fi

if ! $only_image; then
  step "APIs" "Your account needs roles/serviceusage.serviceUsageAdmin."
  enable_first_apis
  if $ask_again; then patiently gcloud projects describe "$project" --format='value(projectNumber)' >/dev/null; fi
  # Terraform grants roles to these service agents, which Google creates only at the first use of their service.
  patiently gcloud beta services identity create --service=pubsub.googleapis.com --format=none
  patiently gcloud beta services identity create --service=cloudscheduler.googleapis.com --format=none

  step "bucket for Terraform's state (gs://$state_bucket)" \
    "Your account needs roles/storage.admin. If the name is taken by someone else, choose another: --state-bucket NAME"
  make_state_bucket
fi

refused="Terraform's message above names what was refused and to whom. On a new project, APIs and permissions take some minutes to take effect. If an interrupted run holds the lock: $tf_hint force-unlock -force LOCK-ID"

step "terraform init" "If it can't reach its state: does your account have roles/storage.objectUser on gs://$state_bucket?"
init_terraform

if ! $only_image; then
  if [[ -n $search_term$mention ]]; then
    step "your settings" "They are written to terraform/terraform.tfvars."
    keep_settings
  fi

  step "registry, build account and secret" "$refused"
  apply_first_resources

  step "the Spotify app's credentials" "Add them yourself, then run this again: ${0%/*}/set-credentials.sh --project $project"
  secret=$(tf output -raw secret_id)
  value=$(patiently gcloud secrets versions list "$secret" --filter=state=ENABLED --limit=1 --format='value(name)')
  if [[ -z $value ]]; then
    "$here/set-credentials.sh" --project "$project" --secret "$secret"
  fi
fi

if [[ -z $image ]]; then
  step "the image" "The build's log: https://console.cloud.google.com/cloud-build/builds?project=$project. On a new project, the build account's permissions take some minutes to take effect."
  find_or_build_image
fi
variables+=("-var=image=$image")

step "everything else" "$refused"
if $only_image; then
  plan_and_apply only_the_service -refresh=false
else
  repair_service
  plan_and_apply import_existing
  if $nothing_to_change; then save_what_was_read; fi
fi

step "the rollout" "Your account needs roles/run.viewer."
check_rollout

if $messages && ! $only_image; then
  step "loading the tables" "The stack is in place. Publish by hand: gcloud pubsub topics publish $name --project=$project --message='{\"table\":\"podcasts\"}'"
  load_tables
fi

step "done"
if ! $only_image; then
  say "Tables:"
  tf output -json tables | tr -d '{}"' | tr ',' '\n' | sed 's/^/  /; s/:/: /' >&2
  say ""
  say "Dashboard: $(tf output -raw dashboard)"
  say "Log:       gcloud logging read 'resource.labels.service_name=\"$name\" jsonPayload.event=\"message\"' --limit=10 --project=$project"
fi
