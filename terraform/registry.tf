# The image's home, and the bucket from which Cloud Build takes the source.

resource "google_artifact_registry_repository" "this" {
  project       = local.project
  location      = var.region
  repository_id = var.name
  description   = "Images of the service"
  format        = "DOCKER"
  labels        = local.labels

  # Cloud Run keeps a copy of what it serves, so only ways back are lost.
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
      older_than = "2592000s"
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

# Not Cloud Build's own bucket: the build account would need rights on the sources of everything else built there.
resource "google_storage_bucket" "build" {
  project                     = local.project
  name                        = "${var.project_id}-${var.name}-build"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = true
  labels                      = local.labels

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
