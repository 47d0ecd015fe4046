# The Cloud Run service. Only Pub/Sub may call it, as the push account.

locals {
  image_is_placeholder = !strcontains(var.image, "@sha256:")

  # Cloud Run refuses to mount a secret without a version. Google's sample mounts none, so that a first apply without an
  # image works before the credentials are stored.
  mounted_secrets = local.image_is_placeholder ? {} : { spotify-credentials = google_secret_manager_secret.spotify.secret_id }
}

resource "google_cloud_run_v2_service" "this" {
  project             = local.project
  name                = var.name
  location            = var.region
  description         = "A Pub/Sub message replaces one BigQuery table with what Spotify shows now"
  labels              = local.labels
  ingress             = "INGRESS_TRAFFIC_INTERNAL_ONLY"
  deletion_protection = var.deletion_protection

  # Across revisions, so that a rollout does not run two instances against one Spotify quota.
  scaling {
    max_instance_count = var.max_instances
  }

  template {
    service_account                  = google_service_account.runtime.email
    timeout                          = "${local.request_timeout_seconds}s"
    max_instance_request_concurrency = 80 # more than are worked on at once; the rest wait in the service
    labels                           = local.labels
    encryption_key                   = var.kms_key

    # Per revision; the service's own limit above counts the instances of all revisions.
    scaling {
      min_instance_count = 0
      max_instance_count = var.max_instances
    }

    dynamic "vpc_access" {
      for_each = var.vpc_access[*]

      content {
        egress = vpc_access.value.egress

        network_interfaces {
          network    = vpc_access.value.network
          subnetwork = vpc_access.value.subnetwork
          tags       = vpc_access.value.tags
        }
      }
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

      dynamic "volume_mounts" {
        for_each = local.mounted_secrets

        content {
          name       = volume_mounts.key
          mount_path = local.credentials_folder
        }
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

      # Restarts an instance after two minutes without an answer. A restart interrupts the messages in progress.
      liveness_probe {
        period_seconds    = 30
        timeout_seconds   = 10
        failure_threshold = 4

        http_get {
          path = "/health"
          port = 8080
        }
      }
    }

    dynamic "volumes" {
      for_each = local.mounted_secrets

      content {
        name = volumes.key

        secret {
          secret       = volumes.value
          default_mode = 292 # 0444: the container's user is not root

          items {
            version = "latest"
            path    = local.credentials_file
          }
        }
      }
    }
  }

  lifecycle {
    # gcloud sets these to its own name and version.
    ignore_changes = [client, client_version]
  }

  depends_on = [
    google_secret_manager_secret_iam_member.runtime,
    google_project_iam_member.runtime_jobs,
    google_bigquery_dataset_iam_member.runtime,
    google_pubsub_topic_iam_member.runtime,
  ]
}

# If a rollout fails, the old revision keeps serving while the state has the new image, so the next plan is empty. This
# check warns at every plan and apply until a revision is ready. A postcondition would also refuse the plan that fixes
# the service.
check "rollout" {
  assert {
    condition = google_cloud_run_v2_service.this.latest_ready_revision == google_cloud_run_v2_service.this.latest_created_revision
    error_message = join(" ", [
      "The newest revision of ${var.name} (${try(basename(google_cloud_run_v2_service.this.latest_created_revision), "unknown")}) is not ready.",
      "Requests still go to the revision before it, if there is one: ${try(coalesce(basename(google_cloud_run_v2_service.this.latest_ready_revision)), "there is none")}.",
      "Cloud Run reports: ${try(trimsuffix(coalesce(google_cloud_run_v2_service.this.terminal_condition[0].message), "."), "nothing")}.",
      "Deploy a working image. If the cause was another one (a right, the secret) and is fixed, create a new revision of the same image:",
      "gcloud run services update ${var.name} --image=${var.image} --region=${var.region} --project=${var.project_id}",
    ])
  }
}

resource "google_cloud_run_v2_service_iam_member" "push" {
  project  = local.project
  location = google_cloud_run_v2_service.this.location
  name     = google_cloud_run_v2_service.this.name
  role     = "roles/run.invoker"
  member   = google_service_account.push.member
}
