# Metrics, alerts, dashboard, budget.

mock_provider "google" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  project_id = "test-project"
}

run "metrics_count_the_services_own_lines" {
  command = plan

  assert {
    condition = { for key, metric in google_logging_metric.this : key => metric.filter } == {
      messages     = "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"spotify-bq\" AND resource.labels.location=\"southamerica-east1\" AND jsonPayload.event=\"message\""
      rows         = "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"spotify-bq\" AND resource.labels.location=\"southamerica-east1\" AND jsonPayload.event=\"message\" AND jsonPayload.outcome=\"loaded\""
      duration     = "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"spotify-bq\" AND resource.labels.location=\"southamerica-east1\" AND jsonPayload.event=\"message\""
      spotify_bans = "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"spotify-bq\" AND resource.labels.location=\"southamerica-east1\" AND jsonPayload.event=\"spotify_ban\""
    }
    error_message = "A metric looks for other lines."
  }

  assert {
    condition = { for key, metric in google_logging_metric.this : key => "${metric.metric_descriptor[0].metric_kind} ${metric.metric_descriptor[0].value_type}" } == {
      messages     = "DELTA INT64"
      rows         = "DELTA DISTRIBUTION"
      duration     = "DELTA DISTRIBUTION"
      spotify_bans = "DELTA INT64"
    }
    error_message = "Lines are counted, rows and times distributed."
  }

  # Google refuses a distribution without both, and a counter with either.
  assert {
    condition = alltrue([
      for metric in google_logging_metric.this : metric.metric_descriptor[0].value_type == "DISTRIBUTION"
      ? metric.value_extractor != null && length(metric.bucket_options) == 1
      : metric.value_extractor == null && length(metric.bucket_options) == 0
    ])
    error_message = "A distribution has a value and buckets, a counter has neither."
  }

  assert {
    condition     = google_logging_metric.this["rows"].value_extractor == "EXTRACT(jsonPayload.rows)" && google_logging_metric.this["duration"].value_extractor == "EXTRACT(jsonPayload.durationMs)"
    error_message = "The values are rows and durationMs."
  }

  assert {
    condition     = alltrue([for metric in google_logging_metric.this : join(",", keys(coalesce(metric.label_extractors, {}))) == join(",", sort([for label in metric.metric_descriptor[0].labels : label.key]))])
    error_message = "Each label has an extractor, and each extractor a label."
  }

  assert {
    condition     = google_logging_metric.this["messages"].label_extractors["outcome"] == "EXTRACT(jsonPayload.outcome)" && google_logging_metric.this["rows"].label_extractors["table"] == "EXTRACT(jsonPayload.table)"
    error_message = "Messages are told apart by outcome, rows by table."
  }

  # Ten minutes at most, and a table of a million rows.
  assert {
    condition = alltrue([
      for metric in google_logging_metric.this : metric.bucket_options[0].exponential_buckets[0].scale * pow(metric.bucket_options[0].exponential_buckets[0].growth_factor, metric.bucket_options[0].exponential_buckets[0].num_finite_buckets) > 1000000
      if length(metric.bucket_options) > 0
    ])
    error_message = "The buckets end below what can happen."
  }
}

run "there_is_an_alert_for_each_kind_of_trouble" {
  command = plan

  assert {
    condition = { for key, policy in google_monitoring_alert_policy.metric : key => policy.conditions[0].condition_threshold[0].filter } == {
      dead_letters   = "resource.type = \"pubsub_subscription\" AND resource.labels.subscription_id = \"spotify-bq-dead-letter\" AND metric.type = \"pubsub.googleapis.com/subscription/num_undelivered_messages\""
      oldest_message = "resource.type = \"pubsub_subscription\" AND resource.labels.subscription_id = \"spotify-bq-push\" AND metric.type = \"pubsub.googleapis.com/subscription/oldest_unacked_message_age\""
      push_failures  = "resource.type = \"pubsub_subscription\" AND resource.labels.subscription_id = \"spotify-bq-push\" AND metric.type = \"pubsub.googleapis.com/subscription/push_request_count\" AND metric.labels.response_class != \"ack\""
    }
    error_message = "Dead letters of whatever origin, messages that wait, answers that are not 2xx."
  }

  assert {
    condition     = { for key, policy in google_monitoring_alert_policy.metric : key => policy.conditions[0].condition_threshold[0].threshold_value } == { dead_letters = 0, oldest_message = 3600, push_failures = 5 }
    error_message = "One dead letter is one too many; an hour's wait and more than five refused pushes an hour are no passing trouble."
  }

  assert {
    condition = alltrue([
      for policy in google_monitoring_alert_policy.metric : policy.conditions[0].condition_threshold[0].comparison == "COMPARISON_GT" && policy.enabled != false
      && length(policy.alert_strategy[0].notification_rate_limit) == 0
    ])
    error_message = "They are on; a rate limit is for log alerts only, and refused elsewhere."
  }

  assert {
    condition = { for key, policy in google_monitoring_alert_policy.log : key => policy.conditions[0].condition_matched_log[0].filter } == {
      spotify_ban     = google_logging_metric.this["spotify_bans"].filter
      schedule_failed = "resource.type=\"cloud_scheduler_job\" AND resource.labels.location=\"southamerica-east1\" AND resource.labels.job_id=~\"^spotify-bq-(episodes|mentions|podcasts)$\" AND severity>=ERROR"
    }
    error_message = "A ban in force, a schedule that could not publish."
  }

  assert {
    condition     = alltrue([for policy in google_monitoring_alert_policy.log : policy.alert_strategy[0].notification_rate_limit[0].period == "3600s" && length(policy.conditions) == 1])
    error_message = "A log alert needs a rate limit and has one condition."
  }

  assert {
    condition     = alltrue([for policy in merge(google_monitoring_alert_policy.metric, google_monitoring_alert_policy.log) : length(policy.documentation[0].content) > 100 && startswith(policy.display_name, "spotify-bq: ")])
    error_message = "Each says what to do and whose it is."
  }

  assert {
    condition     = alltrue([for policy in merge(google_monitoring_alert_policy.metric, google_monitoring_alert_policy.log) : length(policy.notification_channels) == 0])
    error_message = "Without an address nobody is written to."
  }

  # A policy on a metric that was made minutes ago is refused.
  assert {
    condition     = alltrue([for policy in google_monitoring_alert_policy.metric : !strcontains(policy.conditions[0].condition_threshold[0].filter, "logging.googleapis.com/user/")])
    error_message = "No alert reads a metric of our own."
  }
}

run "an_address_is_told_of_all_alerts" {
  command = plan

  variables {
    alert_email = "data@example.com"
  }

  assert {
    condition     = google_monitoring_notification_channel.email[0].type == "email" && google_monitoring_notification_channel.email[0].labels["email_address"] == "data@example.com"
    error_message = "The channel is e-mail to that address."
  }

  assert {
    condition     = alltrue([for policy in merge(google_monitoring_alert_policy.metric, google_monitoring_alert_policy.log) : policy.notification_channels == tolist(["projects/test-project/notificationChannels/1"])])
    error_message = "Each alert goes to the channel."
  }
}

run "alerts_can_be_done_without" {
  command = plan

  variables {
    alerts = false
  }

  assert {
    condition     = length(google_monitoring_alert_policy.metric) == 0 && length(google_monitoring_alert_policy.log) == 0 && length(google_logging_metric.this) == 4
    error_message = "No policy is made, and the dashboard keeps its metrics."
  }
}

run "the_dashboard_shows_what_matters" {
  command = plan

  assert {
    condition = alltrue([
      for metric in concat([for m in google_logging_metric.this : "logging.googleapis.com/user/${m.name}"], [
        "pubsub.googleapis.com/subscription/num_undelivered_messages",
        "pubsub.googleapis.com/subscription/oldest_unacked_message_age",
        "pubsub.googleapis.com/subscription/push_request_count",
        ]) : length([
        for tile in jsondecode(google_monitoring_dashboard.this.dashboard_json).mosaicLayout.tiles : tile
        if strcontains(try(tile.widget.xyChart.dataSets[0].timeSeriesQuery.timeSeriesFilter.filter, ""), "metric.type=\"${metric}\"")
      ]) == 1
    ])
    error_message = "Each metric has one tile."
  }

  assert {
    condition = alltrue([
      for tile in jsondecode(google_monitoring_dashboard.this.dashboard_json).mosaicLayout.tiles :
      try(tile.xPos, 0) + tile.width <= 12 && try(tile.xPos, 1) > 0 && try(tile.yPos, 1) > 0
    ])
    error_message = "A tile sticks out, or writes a position of 0, which Google leaves out again."
  }

  assert {
    condition = length(distinct([
      for tile in jsondecode(google_monitoring_dashboard.this.dashboard_json).mosaicLayout.tiles : "${try(tile.xPos, 0)},${try(tile.yPos, 0)}"
    ])) == length(jsondecode(google_monitoring_dashboard.this.dashboard_json).mosaicLayout.tiles)
    error_message = "Two tiles lie on each other."
  }

  assert {
    condition     = output.dashboard == "https://console.cloud.google.com/monitoring/dashboards/builder/0f1e2d3c?project=test-project"
    error_message = "The dashboard's address is told."
  }
}

run "a_budget_is_the_projects" {
  command = plan

  variables {
    alert_email = "data@example.com"
    budget      = { billing_account = "012345-6789AB-CDEF01", amount = 20, currency = "BRL" }
  }

  assert {
    condition     = google_billing_budget.this[0].budget_filter[0].projects == toset(["projects/123456789012"]) && google_billing_budget.this[0].budget_filter[0].calendar_period == "MONTH"
    error_message = "It counts the project's month, by the project's number."
  }

  assert {
    condition     = google_billing_budget.this[0].amount[0].specified_amount[0].units == "20" && google_billing_budget.this[0].amount[0].specified_amount[0].currency_code == "BRL"
    error_message = "It is the amount asked for."
  }

  assert {
    condition     = [for rule in google_billing_budget.this[0].threshold_rules : rule.threshold_percent] == [0.5, 0.9, 1]
    error_message = "It tells at 50, 90 and 100 %."
  }

  assert {
    condition     = google_billing_budget.this[0].all_updates_rule[0].monitoring_notification_channels == tolist(["projects/test-project/notificationChannels/1"])
    error_message = "It tells the same address."
  }

  assert {
    condition     = contains(keys(google_project_service.this), "billingbudgets.googleapis.com")
    error_message = "Budgets have an API of their own."
  }
}

run "a_budget_without_an_address_tells_the_billing_administrators" {
  command = plan

  variables {
    budget = { billing_account = "012345-6789AB-CDEF01", amount = 20 }
  }

  assert {
    condition     = length(google_billing_budget.this[0].all_updates_rule) == 0 && length(google_billing_budget.this) == 1
    error_message = "There is no channel to name."
  }
}
