# The Cloud Run service, and who may call it: Pub/Sub, as the push account, and nobody else.

resource "google_cloud_run_v2_service" "this" {
  project             = local.project
  name                = var.name
  location            = var.region
  description         = "A Pub/Sub message replaces one BigQuery table with what Spotify shows now"
  labels              = local.labels
  ingress             = "INGRESS_TRAFFIC_INTERNAL_ONLY"
  deletion_protection = var.deletion_protection

  template {
    service_account                  = google_service_account.runtime.email
    timeout                          = "${local.request_timeout_seconds}s"
    max_instance_request_concurrency = 80 # more than are worked on at once; the rest wait in the service
    labels                           = local.labels

    # For each revision: while one takes over from another there may be two for a moment.
    scaling {
      min_instance_count = 0
      max_instance_count = var.max_instances
    }

    containers {
      image = var.image

      ports {
        container_port = 8080
      }

      resources {
        limits = {
          cpu    = "1"
          memory = "512Mi"
        }
        cpu_idle          = true # all work is done before the answer, so only requests are paid for
        startup_cpu_boost = true
      }

      dynamic "env" {
        for_each = { for name, value in local.settings : name => tostring(value) if value != null }

        content {
          name  = env.key
          value = env.value
        }
      }

      volume_mounts {
        name       = "spotify-credentials"
        mount_path = local.credentials_folder
      }

      startup_probe {
        initial_delay_seconds = 0
        period_seconds        = 2
        timeout_seconds       = 2
        failure_threshold     = 30

        http_get {
          path = "/health"
          port = 8080
        }
      }
    }

    volumes {
      name = "spotify-credentials"

      secret {
        secret       = google_secret_manager_secret.spotify.secret_id
        default_mode = 292 # 0444: the container's user is not root

        items {
          version = "latest"
          path    = local.credentials_file
        }
      }
    }
  }

  lifecycle {
    # gcloud writes its own name and version here.
    ignore_changes = [client, client_version]
  }

  depends_on = [
    google_secret_manager_secret_iam_member.runtime,
    google_project_iam_member.runtime_jobs,
    google_bigquery_dataset_iam_member.runtime,
    google_pubsub_topic_iam_member.runtime,
  ]
}

resource "google_cloud_run_v2_service_iam_member" "push" {
  project  = local.project
  location = google_cloud_run_v2_service.this.location
  name     = google_cloud_run_v2_service.this.name
  role     = "roles/run.invoker"
  member   = google_service_account.push.member
}
