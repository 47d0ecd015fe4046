# The Spotify app's credentials. Only the secret is terraform's: a value in a variable would be in the state. It is put in
# by `gcloud secrets versions add`, and must be there before the service is made (Cloud Run refuses a secret without a
# version), so a first apply stops after -target=google_secret_manager_secret.spotify.

resource "google_secret_manager_secret" "spotify" {
  project   = local.project
  secret_id = var.credentials_secret
  labels    = local.labels

  replication {
    auto {}
  }
}

resource "google_secret_manager_secret_iam_member" "runtime" {
  project   = local.project
  secret_id = google_secret_manager_secret.spotify.secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.runtime.member
}
