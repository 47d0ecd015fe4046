# The image registry, and the bucket for the sources of Cloud Build.

resource "google_artifact_registry_repository" "this" {
  project       = local.project
  location      = var.region
  repository_id = var.name
  description   = "Images of the service"
  format        = "DOCKER"
  kms_key_name  = var.kms_key
  labels        = local.labels

  # A KEEP policy only exempts the newest images from the DELETE policy. Cloud Run keeps its own copy of the images that it
  # serves, so deleting an image only prevents deploying it again.
  cleanup_policies {
    id     = "keep-recent"
    action = "KEEP"
    most_recent_versions {
      keep_count = 5
    }
  }

  cleanup_policies {
    id     = "delete-old"
    action = "DELETE"
    condition {
      tag_state  = "ANY"
      older_than = "86400s"
    }
  }
}

resource "google_artifact_registry_repository_iam_member" "build" {
  project    = local.project
  location   = google_artifact_registry_repository.this.location
  repository = google_artifact_registry_repository.this.name
  role       = "roles/artifactregistry.writer"
  member     = google_service_account.build.member
}

# With Cloud Build's default bucket, the build account could read the sources of all other builds.
resource "google_storage_bucket" "build" {
  project                     = local.project
  name                        = "${var.project_id}-${var.name}-build"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = true
  labels                      = local.labels

  dynamic "encryption" {
    for_each = var.kms_key[*]

    content {
      default_kms_key_name = encryption.value
    }
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age = 7
    }
  }

  soft_delete_policy {
    retention_duration_seconds = 0
  }
}

resource "google_storage_bucket_iam_member" "build" {
  bucket = google_storage_bucket.build.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.build.member
}
