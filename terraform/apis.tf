# The APIs, and the project as everything else names it.

locals {
  apis = toset(concat(
    [
      "artifactregistry.googleapis.com",
      "bigquery.googleapis.com",
      "cloudbuild.googleapis.com",
      "cloudresourcemanager.googleapis.com",
      "cloudscheduler.googleapis.com",
      "iam.googleapis.com",
      "iamcredentials.googleapis.com",
      "logging.googleapis.com",
      "monitoring.googleapis.com",
      "pubsub.googleapis.com",
      "run.googleapis.com",
      "secretmanager.googleapis.com",
      "storage.googleapis.com",
    ],
    var.budget == null ? [] : ["billingbudgets.googleapis.com"],
    var.github_repository == null ? [] : ["sts.googleapis.com"],
  ))

  # By way of the APIs, so that nothing is made before they are on.
  project = one(distinct([for api in google_project_service.this : api.project]))

  labels = merge(var.labels, { app = var.name })
}

resource "google_project_service" "this" {
  for_each = local.apis

  project            = var.project_id
  service            = each.value
  disable_on_destroy = false # others in the project may need it
}

# Its number is in the names of Google's own agents. Read at plan time: on a fresh project the Cloud Resource Manager API
# must be on before the first plan, as must Pub/Sub's agent exist before the first whole apply:
#   gcloud services enable cloudresourcemanager.googleapis.com pubsub.googleapis.com
#   gcloud beta services identity create --service=pubsub.googleapis.com
data "google_project" "this" {
  project_id = local.project
}

locals {
  pubsub_agent    = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
  scheduler_agent = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-cloudscheduler.iam.gserviceaccount.com"
}
