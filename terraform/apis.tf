# The APIs, and the project as all other resources refer to it.

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

  # Depends on the APIs, so that nothing is created before they are enabled.
  project = one(distinct([for api in google_project_service.this : api.project]))

  labels = merge(var.labels, { app = var.name })
}

resource "google_project_service" "this" {
  for_each = local.apis

  project            = var.project_id
  service            = each.value
  disable_on_destroy = false # others in the project may need it
}

# Provides the project number, which Google's service agents have in their names. It is read at plan time, so on a new
# project the Cloud Resource Manager API must be enabled before the first plan. The service agents of Pub/Sub and Cloud
# Scheduler must exist before they get roles, and Google creates them only at the first use of their service:
#   gcloud services enable serviceusage.googleapis.com
#   gcloud services enable cloudresourcemanager.googleapis.com pubsub.googleapis.com cloudscheduler.googleapis.com
#   gcloud beta services identity create --service=pubsub.googleapis.com
#   gcloud beta services identity create --service=cloudscheduler.googleapis.com
data "google_project" "this" {
  project_id = local.project
}

locals {
  pubsub_agent    = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
  scheduler_agent = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-cloudscheduler.iam.gserviceaccount.com"
}
