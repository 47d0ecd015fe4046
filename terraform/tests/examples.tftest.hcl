# The examples, as the README shows them.

mock_provider "google" {
  override_during = plan

  mock_data "google_project" {
    defaults = {
      number = "123456789012"
    }
  }

  mock_resource "google_cloud_run_v2_service" {
    defaults = {
      latest_created_revision = "revision-1"
      latest_ready_revision   = "revision-1"
    }
  }

  mock_resource "google_service_account" {
    defaults = {
      name = "projects/test-project/serviceAccounts/account@test-project.iam.gserviceaccount.com"
    }
  }
}

run "minimal" {
  command = plan

  module {
    source = "./examples/minimal"
  }

  variables {
    project_id = "test-project"
  }

  assert {
    condition     = output.spotify_bq.image_is_placeholder && length(output.spotify_bq.schedules) == 3
    error_message = "Three schedules, and no image yet."
  }

  assert {
    condition     = output.spotify_bq.tables.podcasts == "test-project.spotify_podcasts.tb_datahackers_limitada"
    error_message = "The tables are those of the old notebook."
  }
}

run "complete" {
  command = plan

  module {
    source = "./examples/complete"
  }

  override_resource {
    target          = module.spotify_bq.google_pubsub_topic.loaded
    override_during = plan
    values = {
      id = "projects/test-project/topics/podcasts-loaded"
    }
  }

  variables {
    project_id      = "test-project"
    image           = "us-central1-docker.pkg.dev/test-project/podcasts/spotify-bq@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    billing_account = "012345-6789AB-CDEF01"
  }

  assert {
    condition     = !output.spotify_bq.image_is_placeholder && length(output.spotify_bq.schedules) == 4
    error_message = "Four schedules, and an image."
  }

  assert {
    condition     = output.spotify_bq.tables.mentions == "test-project.Spotify_podcasts.mentions"
    error_message = "The tables are in the existing dataset."
  }

  assert {
    condition     = google_pubsub_subscription.episodes_loaded.filter == "attributes.table = \"episodes\"" && google_pubsub_subscription.episodes_loaded.topic == "projects/test-project/topics/podcasts-loaded"
    error_message = "A DAG that waits for a table gets the events of that table only."
  }

  assert {
    condition     = split(".", output.spotify_bq.tables.episodes)[2] == trimsuffix(trimprefix(google_pubsub_subscription.episodes_loaded.filter, "attributes.table = \""), "\"")
    error_message = "The filter names the table that the service loads."
  }

  assert {
    condition     = output.spotify_bq.service_name == "podcasts" && output.spotify_bq.region == "us-central1" && output.spotify_bq.secret_id == "spotify-credentials-data-team"
    error_message = "Names and place are as asked."
  }
}
