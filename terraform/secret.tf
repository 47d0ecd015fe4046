# The Spotify app's credentials. Terraform creates the secret without a value, since a value in a variable would be in the
# state. `gcloud secrets versions add` adds it. Cloud Run refuses to mount a secret without a version, so add it before the
# first apply with an image.

locals {
  # A key is regional, and only a global one could encrypt automatic replicas.
  secret_locations = length(var.secret_locations) == 0 && var.kms_key != null ? [var.region] : var.secret_locations
}

resource "google_secret_manager_secret" "spotify" {
  project   = local.project
  secret_id = var.credentials_secret
  labels    = local.labels

  replication {
    dynamic "auto" {
      for_each = length(local.secret_locations) == 0 ? ["auto"] : []

      content {}
    }

    dynamic "user_managed" {
      for_each = length(local.secret_locations) == 0 ? [] : ["user_managed"]

      content {
        dynamic "replicas" {
          for_each = local.secret_locations

          content {
            location = replicas.value

            dynamic "customer_managed_encryption" {
              for_each = var.kms_key[*]

              content {
                kms_key_name = customer_managed_encryption.value
              }
            }
          }
        }
      }
    }
  }
}

resource "google_secret_manager_secret_iam_member" "runtime" {
  project   = local.project
  secret_id = google_secret_manager_secret.spotify.secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.runtime.member
}
