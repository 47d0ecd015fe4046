# Service accounts. Their roles are next to the resources that they apply to. Only project-level roles are here.

resource "google_service_account" "runtime" {
  project      = local.project
  account_id   = "${var.name}-run"
  display_name = "${var.name}: the service"
}

resource "google_service_account" "push" {
  project      = local.project
  account_id   = "${var.name}-push"
  display_name = "${var.name}: as whom Pub/Sub calls the service"
}

resource "google_service_account" "build" {
  project      = local.project
  account_id   = "${var.name}-build"
  display_name = "${var.name}: builds and pushes the image"
}

# Load jobs run in the project. Access to the data is granted on the dataset.
resource "google_project_iam_member" "runtime_jobs" {
  project = local.project
  role    = "roles/bigquery.jobUser"
  member  = google_service_account.runtime.member
}

resource "google_project_iam_member" "build_logs" {
  project = local.project
  role    = "roles/logging.logWriter"
  member  = google_service_account.build.member
}

# Pub/Sub signs its pushes as the push account.
resource "google_service_account_iam_member" "agent_signs_as_push" {
  service_account_id = google_service_account.push.name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = local.pubsub_agent
  depends_on         = [google_pubsub_topic.trigger] # the agent may not exist before Pub/Sub's first use
}
