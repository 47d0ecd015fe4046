# Every setting that the service reads is set here or left out on purpose.

mock_provider "google" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  project_id = "test-project"
}

run "every_setting_is_set_or_left_out_on_purpose" {
  command = plan

  assert {
    condition = toset(concat(keys(local.settings), keys(local.settings_left_out))) == toset([
      "BIGQUERY_DATASET", "BIGQUERY_EMULATOR_HOST", "BIGQUERY_LOCATION", "DEAD_LETTER_SUBSCRIPTION", "DEAD_LETTER_TOPIC",
      "EPISODES_TABLE", "GCE_METADATA_HOST", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "LOADED_TOPIC", "LOG_FORMAT",
      "MAX_CONCURRENT_MESSAGES", "MENTION", "MENTIONS_TABLE", "MESSAGE_DEADLINE_SECONDS", "PODCASTS_TABLE", "PORT",
      "PUBSUB_EMULATOR_HOST", "PUSH_AUDIENCE", "PUSH_SERVICE_ACCOUNT", "RUST_LOG", "SEARCH_TERM", "SPOTIFY_ACCOUNTS_URL",
      "SPOTIFY_API_URL", "SPOTIFY_CONCURRENT_CALLS", "SPOTIFY_CREDENTIALS", "SPOTIFY_CREDENTIALS_FILE", "SPOTIFY_MARKET",
      "SPOTIFY_SEARCH_PAGE_SIZE", "TRIGGER_TOPIC", "WAREHOUSE",
    ])
    error_message = "A setting of the service is neither set nor left out, or is none of its settings."
  }

  assert {
    condition     = length(setintersection(keys(local.settings), keys(local.settings_left_out))) == 0 && alltrue([for reason in values(local.settings_left_out) : length(reason) > 10])
    error_message = "A setting is set or left out, and what is left out has a reason."
  }
}

run "the_container_gets_the_settings" {
  command = plan

  assert {
    condition = tomap({ for variable in google_cloud_run_v2_service.this.template[0].containers[0].env : variable.name => variable.value }) == tomap({
      BIGQUERY_DATASET         = "spotify_podcasts"
      BIGQUERY_LOCATION        = "US"
      DEAD_LETTER_TOPIC        = "projects/test-project/topics/dead-letter"
      EPISODES_TABLE           = "tb_datahackers_episodios_total"
      GOOGLE_CLOUD_PROJECT     = "test-project"
      LOG_FORMAT               = "json"
      MAX_CONCURRENT_MESSAGES  = "8"
      MENTION                  = "Grupo Boticário"
      MENTIONS_TABLE           = "tb_datahackers_episodios_boticario"
      MESSAGE_DEADLINE_SECONDS = "540"
      PODCASTS_TABLE           = "tb_datahackers_limitada"
      RUST_LOG                 = "info"
      SEARCH_TERM              = "data hackers"
      SPOTIFY_CREDENTIALS_FILE = "/secrets/spotify/credentials.json"
      SPOTIFY_MARKET           = "BR"
      SPOTIFY_SEARCH_PAGE_SIZE = "10"
      TRIGGER_TOPIC            = "projects/test-project/topics/trigger"
    })
    error_message = "The container's environment is not what the settings say."
  }

  assert {
    condition     = alltrue([for variable in google_cloud_run_v2_service.this.template[0].containers[0].env : length(variable.value_source) == 0])
    error_message = "A setting comes from somewhere else."
  }

  assert {
    condition     = length(setintersection([for variable in google_cloud_run_v2_service.this.template[0].containers[0].env : variable.name], keys(local.settings_left_out))) == 0
    error_message = "What is left out is set."
  }
}

run "the_settings_follow_the_variables" {
  command = plan

  variables {
    dataset_id               = "other"
    create_dataset           = false
    tables                   = { podcasts = "a", episodes = "b", mentions = "c" }
    search_term              = "hipsters"
    mention                  = "Alura"
    market                   = "PT"
    search_page_size         = 50
    spotify_concurrent_calls = 3
    log_level                = "debug"
  }

  assert {
    condition = { for name, value in output.settings.set : name => value if contains([
      "BIGQUERY_DATASET", "BIGQUERY_LOCATION", "PODCASTS_TABLE", "EPISODES_TABLE", "MENTIONS_TABLE", "SEARCH_TERM", "MENTION",
      "SPOTIFY_MARKET", "SPOTIFY_SEARCH_PAGE_SIZE", "SPOTIFY_CONCURRENT_CALLS", "RUST_LOG",
      ], name) } == {
      BIGQUERY_DATASET         = "other"
      PODCASTS_TABLE           = "a"
      EPISODES_TABLE           = "b"
      MENTIONS_TABLE           = "c"
      SEARCH_TERM              = "hipsters"
      MENTION                  = "Alura"
      SPOTIFY_MARKET           = "PT"
      SPOTIFY_SEARCH_PAGE_SIZE = "50"
      SPOTIFY_CONCURRENT_CALLS = "3"
      RUST_LOG                 = "info,spotify_bq=debug"
    }
    error_message = "A variable does not reach the service, or the location of a dataset that is not ours is guessed."
  }
}

run "the_loaded_topic_is_set_on_request" {
  command = plan

  variables {
    loaded_topic = true
  }

  assert {
    condition     = output.settings.set.LOADED_TOPIC == "projects/test-project/topics/loaded" && output.loaded_topic == "projects/test-project/topics/loaded"
    error_message = "The service publishes loaded events to the topic, and consumers are told its name."
  }

  assert {
    condition     = google_pubsub_topic.loaded[0].name == "spotify-bq-loaded" && length(distinct([google_pubsub_topic.trigger.name, google_pubsub_topic.dead_letter.name, google_pubsub_topic.loaded[0].name])) == 3
    error_message = "It is a topic of its own: the service refuses the trigger or dead-letter topic."
  }
}

run "a_person_gets_the_settings_for_redrive_and_check" {
  command = plan

  assert {
    condition     = output.operator_environment.DEAD_LETTER_SUBSCRIPTION == "projects/test-project/subscriptions/dead-letter" && output.operator_environment.TRIGGER_TOPIC == "projects/test-project/topics/trigger"
    error_message = "redrive needs the subscription and the topic."
  }

  assert {
    condition     = !contains(keys(output.operator_environment), "SPOTIFY_CREDENTIALS_FILE")
    error_message = "The container's file is not on a person's machine."
  }
}
