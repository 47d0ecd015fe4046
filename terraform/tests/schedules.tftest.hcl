# What Cloud Scheduler publishes, as the service will read it.

mock_provider "google" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  project_id = "test-project"
  image      = "example/spotify-bq@sha256:0000000000000000000000000000000000000000000000000000000000000000"
}

run "one_message_for_each_table_every_morning" {
  command = plan

  assert {
    condition = { for key, job in google_cloud_scheduler_job.this : key => base64decode(job.pubsub_target[0].data) } == {
      podcasts = "{\"table\":\"podcasts\"}"
      episodes = "{\"table\":\"episodes\"}"
      mentions = "{\"table\":\"mentions\"}"
    }
    error_message = "Each message names one table and nothing else: no null, no empty list."
  }

  assert {
    condition = { for key, job in google_cloud_scheduler_job.this : key => "${job.schedule} ${job.time_zone}" } == {
      podcasts = "0 6 * * * America/Sao_Paulo"
      episodes = "2 6 * * * America/Sao_Paulo"
      mentions = "4 6 * * * America/Sao_Paulo"
    }
    error_message = "They run in this order and within the 15 minutes for which a reading is kept, so that they share it."
  }

  assert {
    condition     = alltrue([for job in google_cloud_scheduler_job.this : job.pubsub_target[0].topic_name == google_pubsub_topic.trigger.id && length(job.http_target) == 0 && job.attempt_deadline == null])
    error_message = "They go to the trigger topic, by its full id, and with no attempt_deadline, which would be a permanent difference."
  }

  assert {
    condition     = alltrue([for job in google_cloud_scheduler_job.this : !job.paused && job.retry_config[0].retry_count == 3])
    error_message = "They run, and publishing is tried again."
  }
}

run "googles_sample_gets_no_messages" {
  command = plan

  variables {
    image = "us-docker.pkg.dev/cloudrun/container/hello"
  }

  assert {
    condition     = alltrue([for job in google_cloud_scheduler_job.this : job.paused]) && output.image_is_placeholder
    error_message = "The sample would acknowledge the messages and load nothing."
  }
}

run "a_message_may_name_terms_and_a_show" {
  command = plan

  variables {
    schedules = {
      term  = { cron = "*/5 1-3 1,15 * MON-FRI", time_zone = "Etc/UTC", search_terms = ["c++"] }
      terms = { cron = "0 1 * * *", search_terms = ["日本", "data & \"hackers\""] }
      both  = { cron = "0 2 * * *", table = "mentions", search_terms = ["hipsters", "nerdcast"] }
      show  = { cron = "0 3 * * *", table = "episodes", search_terms = ["data hackers"], show_id = "1oMIHOXsrLFENAeM743g93", paused = true }
      holes = { cron = "0 4 * * *", table = "episodes", max_missing_percent = 15 }
      whole = { cron = "0 5 * * *", table = "podcasts", max_missing_percent = 0 }
    }
  }

  assert {
    condition = jsonencode({ for key, job in google_cloud_scheduler_job.this : key => jsondecode(base64decode(job.pubsub_target[0].data)) }) == jsonencode({
      term  = { search_term = "c++" }
      terms = { search_term = ["日本", "data & \"hackers\""] }
      both  = { table = "mentions", search_term = ["hipsters", "nerdcast"] }
      show  = { table = "episodes", search_term = "data hackers", show_id = "1oMIHOXsrLFENAeM743g93" }
      holes = { table = "episodes", max_missing_percent = 15 }
      whole = { table = "podcasts", max_missing_percent = 0 }
    })
    error_message = "One term is a string, several are a list, and what is not said is absent."
  }

  assert {
    condition     = { for key, job in google_cloud_scheduler_job.this : key => job.paused } == { term = false, terms = false, both = false, show = true, holes = false, whole = false }
    error_message = "Only the paused one is paused."
  }

  assert {
    condition     = google_cloud_scheduler_job.this["term"].time_zone == "Etc/UTC" && google_cloud_scheduler_job.this["term"].schedule == "*/5 1-3 1,15 * MON-FRI"
    error_message = "When is as asked."
  }
}

run "no_schedules_at_all" {
  command = plan

  variables {
    schedules = {}
  }

  assert {
    condition     = length(google_cloud_scheduler_job.this) == 0 && !contains(keys(google_monitoring_alert_policy.log), "schedule_failed")
    error_message = "Messages then come from publishers only."
  }
}
