# For the deploy scripts, the workflow and the command line.

output "project_id" {
  description = "The project."
  value       = var.project_id
}

output "region" {
  description = "Region of the service, the schedules and the registry."
  value       = var.region
}

output "service_name" {
  description = "Name of the Cloud Run service."
  value       = google_cloud_run_v2_service.this.name
}

output "service_uri" {
  description = "Address of the service; only Pub/Sub can call it."
  value       = google_cloud_run_v2_service.this.uri
}

output "image_is_placeholder" {
  description = "True while the service runs Google's sample: build an image and apply again with its digest."
  value       = local.image_is_placeholder
}

output "image_repository" {
  description = "The image's name without tag or digest: where to push to."
  value       = "${google_artifact_registry_repository.this.location}-docker.pkg.dev/${var.project_id}/${google_artifact_registry_repository.this.repository_id}/spotify-bq"
}

output "build_service_account" {
  description = "For gcloud builds submit --service-account."
  value       = google_service_account.build.name
}

output "build_source" {
  description = "For gcloud builds submit --gcs-source-staging-dir."
  value       = "gs://${google_storage_bucket.build.name}/source"
}

output "secret_id" {
  description = "The secret to put the Spotify app's credentials in."
  value       = google_secret_manager_secret.spotify.secret_id
}

output "tables" {
  description = "The configured term's tables, as a query names them. If the service names them and Terraform cannot work out the slug, it is written as `<slug>`."
  value = {
    for kind in ["podcasts", "episodes", "mentions"] : kind => join(".", [
      var.project_id, local.dataset_id, local.table_ids == null ? "${kind}_${coalesce(local.slug, "<slug>")}" : local.table_ids[kind],
    ])
  }
}

output "tables_rule" {
  description = "Who names and creates the configured term's tables."
  value = local.table_ids != null ? "The names are those of variable tables; ${var.create_tables ? "Terraform creates them." : "Terraform does not create them."}" : join(" ", [
    "search_term is not the default one, so the service names and creates the tables: podcasts_<slug>, episodes_<slug> and mentions_<slug>.",
    "The slug is the term in lower case without accents, words joined by _, with eight hex digits if that loses more; `spotify-bq check` shows the names.",
    "To keep the old names (${join(", ", values(local.old_table_ids))}), set tables = {}.",
  ])
}

output "trigger_topic" {
  description = "Topic to publish messages to."
  value       = google_pubsub_topic.trigger.id
}

output "loaded_topic" {
  description = "Where the service publishes an event after each load; null unless variable loaded_topic is true."
  value       = one(google_pubsub_topic.loaded[*].id)
}

output "dead_letter_topic" {
  description = "Topic for messages that can never succeed."
  value       = google_pubsub_topic.dead_letter.id
}

output "dead_letter_subscription" {
  description = "Subscription that keeps dead letters until `spotify-bq redrive` pulls them."
  value       = google_pubsub_subscription.dead_letter.id
}

output "schedules" {
  description = "Names of the Cloud Scheduler jobs."
  value       = { for key, job in google_cloud_scheduler_job.this : key => job.name }
}

output "settings" {
  description = "The service's environment variables, and those that are left unset, with the reason."
  value = {
    set      = { for name, value in local.settings : name => tostring(value) if value != null }
    left_out = local.settings_left_out
  }
}

output "operator_environment" {
  description = "Environment for the commands publish, redrive and check of spotify-bq on your own machine, where they use your permissions."
  value = {
    for name, value in merge(local.settings, { DEAD_LETTER_SUBSCRIPTION = google_pubsub_subscription.dead_letter.id }) :
    name => tostring(value) if value != null && !contains(["SPOTIFY_CREDENTIALS_FILE", "LOG_FORMAT", "RUST_LOG"], name)
  }
}

output "service_accounts" {
  description = "Accounts of the service, of Pub/Sub's pushes and of the builds."
  value = {
    runtime = google_service_account.runtime.email
    push    = google_service_account.push.email
    build   = google_service_account.build.email
  }
}

output "dashboard" {
  description = "The dashboard in the console."
  value       = "https://console.cloud.google.com/monitoring/dashboards/builder/${basename(google_monitoring_dashboard.this.id)}?project=${var.project_id}"
}

output "workload_identity_provider" {
  description = "For the workflow's google-github-actions/auth; null without github_repository."
  value       = one([for provider in google_iam_workload_identity_pool_provider.github : provider.name])
}

output "deployer_service_account" {
  description = "Account that the workflow deploys as; null without github_repository."
  value       = one([for account in google_service_account.deployer : account.email])
}
