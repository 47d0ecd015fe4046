#!/usr/bin/env bash
# Brings spotify-bq into a Google Cloud project, from nothing or from any earlier state of it; run again, it changes only
# what has changed.
#
#   deploy/deploy.sh --project ID [options]
#
#   --project ID           (or PROJECT_ID) the project, which must have billing; default: what the .tfvars file says, else gcloud's own
#   --region REGION        (or REGION) default: what the .tfvars file says, else southamerica-east1
#   --var-file FILE        (or VAR_FILE) variables of terraform/; default: terraform/terraform.tfvars, if there
#   --state-bucket BUCKET  (or STATE_BUCKET) where terraform keeps its state; default: PROJECT-spotify-bq-state
#   --local-docker         build with the Docker on this machine, not with Cloud Build
#   --image IMAGE@sha256:… take this image, build none
#   --rebuild              build the image even if it is there: for new versions of the images it is based on
#   --only-image           no more than a new image into the running service, with the rights of GitHub's workflow
#   --adopt                take over a dataset and tables that are there already
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

project=${PROJECT_ID:-} region=${REGION:-} var_file=${VAR_FILE:-} state_bucket=${STATE_BUCKET:-}
builder=cloud image="" rebuild=false only_image=false adopt=false messages=true yes=false
while (($#)); do
  case $1 in
    --project) require_value "$@"; project=$2; shift ;;
    --region) require_value "$@"; region=$2; shift ;;
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
  fail "$image has no digest." "Name the image as IMAGE@sha256:…: a tag that is moved makes no new revision."

# Only what has to be on before terraform can look at the project; it turns on the others itself.
first_apis="cloudresourcemanager.googleapis.com iam.googleapis.com pubsub.googleapis.com storage.googleapis.com"

enable_first_apis() {
  local on api missing=()
  on=$(gcloud services list --enabled --format='value(config.name)')
  for api in $first_apis; do
    grep -qx "$api" <<<"$on" || missing+=("$api")
  done
  if ((${#missing[@]})); then gcloud services enable "${missing[@]}"; fi
}

make_state_bucket() {
  local settings
  # Only this project's buckets: names are the whole world's, and a state in somebody else's bucket would be theirs.
  settings=$(gcloud storage buckets list --filter="name=$state_bucket" \
    --format='value[separator=" "](versioning_enabled,uniform_bucket_level_access,public_access_prevention)')
  if [[ -z $settings ]]; then
    gcloud storage buckets create "gs://$state_bucket" --location="$region" \
      --uniform-bucket-level-access --public-access-prevention
  fi
  # Also for one that an interrupted run left half made.
  if [[ $settings != "True True enforced" ]]; then
    gcloud storage buckets update "gs://$state_bucket" --versioning \
      --uniform-bucket-level-access --public-access-prevention
  fi
}

# Registry, build account, build bucket and secret come first, since the service needs an image and a secret's value to
# start with. They are made by terraform with -target, not by gcloud: so they have one owner from the beginning. And no
# stand-in image fills the gap, because it would acknowledge messages that it does not understand.
first_resources=(
  google_artifact_registry_repository_iam_member.build
  google_storage_bucket_iam_member.build
  google_project_iam_member.build_logs
  google_secret_manager_secret.spotify
)

apply_first_resources() {
  local attempt targets=()
  for resource in "${first_resources[@]}"; do targets+=("-target=$resource"); done
  # What an API just turned on answers in its first minutes is not its last word.
  for attempt in 1 2 3; do
    if ! plan "${targets[@]}"; then return 0; fi
    ((attempt > 1)) || confirm
    if apply; then return 0; fi
    ((attempt < 3)) || return 1
    say "Trying again in a minute: APIs and rights take some time to come into effect."
    sleep "${RETRY_SECONDS:-60}"
  done
}

# What .dockerignore lets in, and what says how it is built.
image_sources="Cargo.toml Cargo.lock Dockerfile .dockerignore src terraform/schemas"

sha256() {
  if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi
}

# Names an image by what it is built from, so that a run that finds it there builds nothing and so changes nothing.
source_tag() {
  (
    cd "$repository"
    # shellcheck disable=SC2086 # a list
    find $image_sources -type f | LC_ALL=C sort | while read -r file; do
      printf '%s\n' "$file"
      sha256 <"$file"
    done
  ) | sha256 | cut -c 1-16
}

commit() {
  local commit
  commit=$(git -C "$repository" rev-parse --short HEAD 2>/dev/null) || return 0
  # shellcheck disable=SC2086 # a list
  [[ -z $(git -C "$repository" status --porcelain -- $image_sources 2>/dev/null) ]] || commit=$commit-changed
  printf '%s' "$commit"
}

digest_of() { # IMAGE:TAG
  gcloud artifacts docker images describe "$1" --format='value(image_summary.digest)' 2>/dev/null || true
}

build_in_cloud() { # IMAGE:TAG
  local builds_as source
  builds_as=$(tf output -raw build_service_account)
  source=$(tf output -raw build_source)
  say "Cloud Build takes about ten minutes."
  gcloud builds submit "$repository" --config="$here/cloudbuild.yaml" --ignore-file=.dockerignore \
    --service-account="$builds_as" --gcs-source-staging-dir="$source" \
    --substitutions="_IMAGE=$1,_COMMIT=$(commit)" --suppress-logs --format=none
}

build_with_docker() { # IMAGE:TAG
  needs docker "Install it, or leave out --local-docker to build with Cloud Build."
  gcloud auth print-access-token |
    docker login --username=oauth2accesstoken --password-stdin "https://${1%%/*}" >/dev/null
  # Cloud Run runs amd64, whatever this machine is; it takes one image, not an index with attestations beside it.
  BUILDX_NO_DEFAULT_ATTESTATIONS=1 docker build --platform=linux/amd64 --build-arg="COMMIT=$(commit)" --tag="$1" "$repository"
  docker push "$1"
}

find_or_build_image() {
  local repository_name tagged digest
  repository_name=$(tf output -raw image_repository)
  tagged=$repository_name:$(source_tag)
  $rebuild || digest=$(digest_of "$tagged")
  if [[ -z ${digest:-} ]]; then
    if [[ $builder == docker ]]; then build_with_docker "$tagged"; else build_in_cloud "$tagged"; fi
    digest=$(digest_of "$tagged")
    [[ $digest == sha256:* ]] || fail "The registry does not know $tagged, which was just built." \
      "See what it has: gcloud artifacts docker images list $repository_name --include-tags"
  fi
  image=$repository_name@$digest
  say "$image"
}

# What the plan makes anew in BigQuery: one line each, terraform's address and BigQuery's name.
planned_data() {
  tf show -json "$scratch/plan" | python3 -c '
import json, sys

for change in json.load(sys.stdin).get("resource_changes", []):
    after = change["change"]["after"]
    if change["change"]["actions"] == ["create"]:
        if change["type"] == "google_bigquery_dataset":
            print(change["address"], after["dataset_id"])
        elif change["type"] == "google_bigquery_table":
            print(change["address"], "{dataset_id}.{table_id}".format(**after))
'
}

# True if the plan was of things that exist, and they were taken over.
adopted_data() {
  local address id dataset path found=""
  while read -r address id; do
    if bq --headless --project_id="$project" show --format=none "$project:$id" >/dev/null 2>&1; then
      found+="$address $id"$'\n'
    fi
  done <"$scratch/planned"
  [[ -n $found ]] || return 1
  $adopt || fail "BigQuery has already: $(cut -d ' ' -f 2 <<<"${found%$'\n'}" | tr '\n' ' ')" \
    "To put it in terraform's care: the same command with --adopt. To leave it in somebody else's: create_dataset = false (and create_tables = false) in the .tfvars file."
  while read -r address id; do
    [[ -n $address ]] || continue
    dataset=${id%%.*} path=projects/$project/datasets/${id%%.*}
    [[ $id == "$dataset" ]] || path=$path/tables/${id#*.}
    say "Taking over $id"
    tf import "${variables[@]}" "$address" "$path" >"$scratch/log" 2>&1 || { cat "$scratch/log" >&2; return 2; }
  done <<<"$found"
}

apply_all() {
  local status=0
  if ! plan; then return 0; fi
  planned_data >"$scratch/planned"
  adopted_data || status=$?
  case $status in
    0) if ! plan; then return 0; fi ;;
    1) ;;
    *) exit 1 ;;
  esac
  confirm
  apply
}

# The workflow's account may change the service and nothing else, so a plan with more in it is said to be too much here
# rather than by a refusal half-way.
apply_image_only() {
  local more
  if ! plan -refresh=false; then return 0; fi
  more=$(tf show -json "$scratch/plan" | python3 -c '
import json, sys

for change in json.load(sys.stdin).get("resource_changes", []):
    if change["mode"] == "managed" and change["change"]["actions"] != ["no-op"] and change["address"] != "google_cloud_run_v2_service.this":
        print("  " + change["address"])
')
  [[ -z $more ]] || fail "This plan changes more than the service:"$'\n'"$more" \
    "Let a person run deploy/deploy.sh with the same variables; after that this goes through."
  confirm
  apply
}

# Publishes one message for each table and follows them to their end.
load_tables() {
  local topic service table id filter deadline outcome advice text ids="" open=" " failed=0
  topic=$(tf output -raw trigger_topic)
  service=$(tf output -raw service_name)
  for table in podcasts episodes mentions; do
    id=$(gcloud pubsub topics publish "$topic" --message="{\"table\":\"$table\"}" --format='value(messageIds)')
    say "$table: published as message $id"
    ids+=${ids:+ OR }\"$id\" open+="$id "
  done
  filter="resource.type=\"cloud_run_revision\" resource.labels.service_name=\"$service\" jsonPayload.event=\"message\" jsonPayload.messageId=($ids)"
  deadline=$((SECONDS + ${MESSAGE_TIMEOUT_SECONDS:-900}))
  while [[ -n ${open// /} ]]; do
    sleep "${POLL_SECONDS:-10}"
    gcloud logging read "$filter" --freshness=1h --order=desc --limit=100 \
      --format='value[separator="|"](jsonPayload.messageId,jsonPayload.outcome,jsonPayload.advice,jsonPayload.message)' >"$scratch/outcomes"
    for id in $open; do
      # The newest line of this message, if there is one.
      IFS='|' read -r _ outcome advice text < <(grep -m 1 "^$id|" "$scratch/outcomes") || continue
      case $outcome in
        retry) continue ;;
        loaded | already_loaded) say "$text" ;;
        *) say "$text"; say "  What to do: $advice"; failed=1 ;;
      esac
      open=${open/ $id / }
    done
    if [[ -n ${open// /} ]] && ((SECONDS > deadline)); then
      say "Still on their way, with the service's last word on each:"
      for id in $open; do
        IFS='|' read -r _ _ advice text < <(grep -m 1 "^$id|" "$scratch/outcomes") ||
          advice="see whether Cloud Run refuses the push" text="nothing: it did not reach the service"
        say "  message $id: $text"
        say "    What to do: $advice"
      done
      fail "Not all tables were loaded in time." \
        "Pub/Sub goes on delivering the messages for about 15 hours, so correct what the log complains of and wait; see: gcloud logging read 'resource.labels.service_name=\"$service\"' --limit=20 --project=$project"
    fi
  done
  ((failed == 0)) || fail "Not all tables were loaded." \
    "What can never succeed waits in the dead-letter subscription; correct it and publish anew, or: spotify-bq redrive"
}

step "login and tools" "Your account must be able to see the project: gcloud projects describe PROJECT"
find_var_file
log_in
prepare_terraform

if ! $only_image; then
  gcloud projects describe "$project" --format='value(projectNumber)' >/dev/null
  # An account that may not ask gets no answer, which is not the answer no.
  billing=$(gcloud billing projects describe "$project" --format='value(billingEnabled)' 2>/dev/null) || billing=""
  [[ $billing != False ]] || fail "$project has no billing, without which there is no Cloud Run." \
    "Link an account: https://console.cloud.google.com/billing/linkedaccount?project=$project"

  step "APIs" "Your account needs roles/serviceusage.serviceUsageAdmin."
  enable_first_apis
  # Terraform gives this agent rights, and it does not exist before Pub/Sub is first used.
  gcloud beta services identity create --service=pubsub.googleapis.com --format=none

  step "bucket of terraform's state (gs://$state_bucket)" \
    "Your account needs roles/storage.admin. If the name is taken by someone else, choose another: --state-bucket NAME"
  make_state_bucket
fi

step "terraform's start" "If it can't reach its state: does your account have roles/storage.objectUser on gs://$state_bucket?"
init_terraform

if ! $only_image; then
  step "registry, build account and secret" \
    "On a project just made, APIs and rights take some minutes to come into effect. If terraform says that the state is locked, another run is at work, or one was cut off: terraform -chdir=terraform force-unlock ID"
  apply_first_resources

  step "the Spotify app's credentials" "Put them in yourself, then run this again: deploy/set-credentials.sh --project $project"
  secret=$(tf output -raw secret_id)
  value=$(gcloud secrets versions list "$secret" --filter=state=ENABLED --limit=1 --format='value(name)')
  if [[ -z $value ]]; then
    "$here/set-credentials.sh" --project "$project" --secret "$secret"
  fi
fi

if [[ -z $image ]]; then
  step "the image" "A build's log: https://console.cloud.google.com/cloud-build/builds?project=$project. On a project just made, the build account's rights take some minutes."
  find_or_build_image
fi
variables+=("-var=image=$image")

step "everything else" "If terraform says that the state is locked, another run is at work, or one was cut off: terraform -chdir=terraform force-unlock ID"
if $only_image; then apply_image_only; else apply_all; fi

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
