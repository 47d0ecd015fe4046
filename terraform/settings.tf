# The service's settings. Every setting is in one of the two maps (tests/settings.tftest.hcl compares them with the code).

locals {
  credentials_folder = "/secrets/spotify"
  credentials_file   = "credentials.json"

  # Null: left to the service.
  settings = {
    GOOGLE_CLOUD_PROJECT     = var.project_id
    BIGQUERY_DATASET         = local.dataset_id
    BIGQUERY_LOCATION        = one(google_bigquery_dataset.this[*].location)
    PODCASTS_TABLE           = try(local.table_ids.podcasts, null)
    EPISODES_TABLE           = try(local.table_ids.episodes, null)
    MENTIONS_TABLE           = try(local.table_ids.mentions, null)
    SPOTIFY_CREDENTIALS_FILE = "${local.credentials_folder}/${local.credentials_file}"
    SPOTIFY_MARKET           = var.market
    SPOTIFY_SEARCH_PAGE_SIZE = var.search_page_size
    SPOTIFY_CONCURRENT_CALLS = var.spotify_concurrent_calls
    MAX_CONCURRENT_MESSAGES  = 8
    MESSAGE_DEADLINE_SECONDS = local.message_deadline_seconds
    SEARCH_TERM              = var.search_term
    MENTION                  = var.mention
    TRIGGER_TOPIC            = google_pubsub_topic.trigger.id
    DEAD_LETTER_TOPIC        = google_pubsub_topic.dead_letter.id
    LOADED_TOPIC             = one(google_pubsub_topic.loaded[*].id)
    LOG_FORMAT               = "json"
    RUST_LOG                 = var.log_level == "info" ? "info" : "info,spotify_bq=${var.log_level}"
  }

  settings_left_out = {
    PORT                           = "Cloud Run sets it from the container's port, and refuses it here."
    WAREHOUSE                      = "BigQuery is the default, and the image has no other."
    SPOTIFY_CREDENTIALS            = "A mounted file is read afresh after a rotation; a variable would need a new revision."
    SPOTIFY_API_URL                = "Spotify's own address is the default."
    SPOTIFY_ACCOUNTS_URL           = "Spotify's own address is the default."
    DEAD_LETTER_SUBSCRIPTION       = "Only `redrive` and `check` read it, and a person runs those: see output operator_environment."
    PUSH_AUDIENCE                  = "Cloud Run verifies the token and removes its signature, so the service cannot verify it again."
    PUSH_SERVICE_ACCOUNT           = "As PUSH_AUDIENCE."
    BIGQUERY_EMULATOR_HOST         = "For local runs."
    PUBSUB_EMULATOR_HOST           = "For local runs."
    GOOGLE_APPLICATION_CREDENTIALS = "The service acts as its own account; there is no key file."
    GCE_METADATA_HOST              = "Cloud Run's own metadata server is found without it."
  }
}
