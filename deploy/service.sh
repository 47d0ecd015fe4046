# shellcheck shell=bash
# Repairs a failed creation of the Cloud Run service, forces a new revision, and checks the rollout. Source lib.sh and
# terraform.sh first.

service_address=google_cloud_run_v2_service.this

# Prints the service's image from Terraform's state, or "tainted" if its creation failed.
service_in_state() { # image | tainted
  tf show -json >"$scratch/state.json" || return
  python3 - "$scratch/state.json" "$service_address" "$1" <<'PYTHON'
import json, sys

file, address, wanted = sys.argv[1:]
with open(file, encoding="utf-8") as state:
    root = json.load(state).get("values", {}).get("root_module", {})
for resource in root.get("resources", []):
    if resource["address"] == address:
        if wanted == "image":
            print(resource["values"]["template"][0]["containers"][0]["image"])
        elif resource.get("tainted"):
            print("tainted")
PYTHON
}

# Terraform would replace a tainted service, which deletion protection refuses, so the taint is removed. The failed
# revision stays until there is a new one.
untaint_service() {
  tf untaint "$service_address" >&2
  say "The service's creation had failed. It is kept and gets a new revision."
}

# Creates a new revision of the wanted image. Fails if it does not become ready; `check_rollout` reports why.
force_revision() {
  gcloud run services update "$name" --region="$region" --image="$image" --format=none
}

pause_for_iam() {
  say "Waiting: new IAM permissions take some minutes to take effect."
  sleep "${RETRY_SECONDS:-60}"
}

# Overrides terraform.sh: repairs once, and only a service whose creation failed. The usual reason is IAM: at the first
# deployment, Cloud Run checks that the runtime account can read its secret.
recovered() {
  ! ${repaired:-false} || return 1
  [[ $(service_in_state tainted) == tainted ]] || return 1
  repaired=true
  pause_for_iam
  untaint_service || return 1
  force_revision || true
}

# Repairs what an earlier run left.
repair_service() {
  local tainted
  tainted=$(service_in_state tainted)
  [[ -n $tainted ]] || return 0
  repaired=true
  untaint_service
  if ! force_revision; then
    pause_for_iam
    force_revision || true
  fi
}

# LATEST CREATED|LATEST READY|STATUS OF "Ready"|ITS MESSAGE
rollout() {
  patiently gcloud run services describe "$name" --region="$region" --format=json >"$scratch/service.json" || return
  python3 - "$scratch/service.json" <<'PYTHON'
import json, sys

with open(sys.argv[1], encoding="utf-8") as file:
    status = json.load(file).get("status", {})
ready = next((c for c in status.get("conditions", []) if c.get("type") == "Ready"), {})
message = " ".join(ready.get("message", "").split())
print(status.get("latestCreatedRevisionName", ""), status.get("latestReadyRevisionName", ""), ready.get("status", ""), message, sep="|")
PYTHON
}

# An apply can succeed although the new revision is not ready. The next plan is then empty, because the state has the new
# image while the old revision serves. So Cloud Run is asked.
check_rollout() {
  local attempt=1 created ready status message answer
  while true; do
    answer=$(rollout)
    IFS='|' read -r created ready status message <<<"$answer"
    [[ $status == Unknown ]] && ((attempt < API_ATTEMPTS)) || break
    say "Cloud Run is still rolling out $created."
    sleep "${RETRY_SECONDS:-20}"
    attempt=$((attempt + 1))
  done
  if [[ $created == "$ready" && $status != False ]]; then
    say "$ready serves."
    return
  fi
  fail "Revision $created is not ready${ready:+, so $ready still serves}: ${message:-Cloud Run gives no reason.}" \
    "If the image is the cause, deploy another one. If the cause was elsewhere (a permission, the secret, a quota) and is fixed, create a new revision of the same image, then run this again: gcloud run services update $name --image=$image --region=$region --project=$project"
}
