# Keyless deployment from GitHub, if github_repository is set. The deployer may push an image and change this service,
# and nothing else: no IAM, no secret's value, no other resource. Its workflow runs
#   terraform apply -refresh=false -var image=…
# with the variables of the last full apply. It needs -refresh=false because it may not read most resources. A plan that
# changes more than the image fails with 403 and must be applied from an account with full permissions.

locals {
  github = var.github_repository == null ? {} : { this = var.github_repository }
}

resource "google_iam_workload_identity_pool" "github" {
  for_each = local.github

  project                   = local.project
  workload_identity_pool_id = "${var.name}-github"
  display_name              = "${var.name}: GitHub"
}

resource "google_iam_workload_identity_pool_provider" "github" {
  for_each = local.github

  project                            = local.project
  workload_identity_pool_id          = google_iam_workload_identity_pool.github[each.key].workload_identity_pool_id
  workload_identity_pool_provider_id = "github"
  display_name                       = "GitHub Actions"

  attribute_mapping = {
    "google.subject"                = "assertion.sub"
    "attribute.repository"          = "assertion.repository"
    "attribute.repository_owner_id" = "assertion.repository_owner_id"
    "attribute.ref"                 = "assertion.ref"
  }

  # Anyone on GitHub can get a token from this issuer. Someone else can register a name that its owner has given up, but
  # never gets the owner's number.
  attribute_condition = join(" && ", concat(
    ["assertion.repository == \"${each.value}\""],
    [for id in var.github_owner_id[*] : "assertion.repository_owner_id == \"${id}\""],
    ["assertion.ref == \"${var.github_ref}\""],
  ))

  oidc {
    issuer_uri = "https://token.actions.githubusercontent.com"
  }
}

resource "google_service_account" "deployer" {
  for_each = local.github

  project      = local.project
  account_id   = "${var.name}-deploy"
  display_name = "${var.name}: rolls out images from GitHub"
}

resource "google_service_account_iam_member" "github_is_deployer" {
  for_each = local.github

  service_account_id = google_service_account.deployer[each.key].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "principalSet://iam.googleapis.com/${google_iam_workload_identity_pool.github[each.key].name}/attribute.repository/${each.value}"
}

resource "google_artifact_registry_repository_iam_member" "deployer" {
  for_each = local.github

  project    = local.project
  location   = google_artifact_registry_repository.this.location
  repository = google_artifact_registry_repository.this.name
  role       = "roles/artifactregistry.writer"
  member     = google_service_account.deployer[each.key].member
}

resource "google_cloud_run_v2_service_iam_member" "deployer" {
  for_each = local.github

  project  = local.project
  location = google_cloud_run_v2_service.this.location
  name     = google_cloud_run_v2_service.this.name
  role     = "roles/run.developer"
  member   = google_service_account.deployer[each.key].member
}

# Waiting for a rollout reads an operation, which belongs to the project, not to the service.
resource "google_project_iam_member" "deployer" {
  for_each = local.github

  project = local.project
  role    = "roles/run.viewer"
  member  = google_service_account.deployer[each.key].member
}

resource "google_service_account_iam_member" "deployer_runs_as_runtime" {
  for_each = local.github

  service_account_id = google_service_account.runtime.name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.deployer[each.key].member
}

resource "google_storage_bucket_iam_member" "deployer_state" {
  for_each = var.state_bucket == null ? {} : local.github

  bucket = var.state_bucket
  role   = "roles/storage.objectUser"
  member = google_service_account.deployer[each.key].member
}
