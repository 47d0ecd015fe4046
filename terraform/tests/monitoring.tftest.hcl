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
      messages      = "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"spotify-bq\" AND resource.labels.location=\"southamerica-east1\" AND jsonPayload.event=\"message\""
      rows          = "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"spotify-bq\" AND resource.labels.location=\"southamerica-east1\" AND jsonPayload.event=\"message\" AND jsonPayload.outcome=\"loaded\""
      duration      = "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"spotify-bq\" AND resource.labels.location=\"southamerica-east1\" AND jsonPayload.event=\"message\""
      spotify_calls = "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"spotify-bq\" AND resource.labels.location=\"southamerica-east1\" AND jsonPayload.event=\"message\""
      spotify_bans  = "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"spotify-bq\" AND resource.labels.location=\"southamerica-east1\" AND jsonPayload.event=\"spotify_ban\""
    }
    error_message = "A metric looks for other lines."
  }

  assert {
    condition = { for key, metric in google_logging_metric.this : key => "${metric.metric_descriptor[0].metric_kind} ${metric.metric_descriptor[0].value_type}" } == {
      messages      = "DELTA INT64"
      rows          = "DELTA DISTRIBUTION"
      duration      = "DELTA DISTRIBUTION"
      spotify_calls = "DELTA DISTRIBUTION"
      spotify_bans  = "DELTA INT64"
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
    condition     = google_logging_metric.this["rows"].value_extractor == "EXTRACT(jsonPayload.rows)" && google_logging_metric.this["duration"].value_extractor == "EXTRACT(jsonPayload.durationMs)" && google_logging_metric.this["spotify_calls"].value_extractor == "EXTRACT(jsonPayload.spotifyCalls)"
    error_message = "The values are rows, durationMs and spotifyCalls."
  }

  assert {
    condition     = alltrue([for metric in google_logging_metric.this : join(",", keys(coalesce(metric.label_extractors, {}))) == join(",", sort([for label in metric.metric_descriptor[0].labels : label.key]))])
    error_message = "Each label has an extractor, and each extractor a label."
  }

  assert {
    condition     = google_logging_metric.this["messages"].label_extractors["outcome"] == "EXTRACT(jsonPayload.outcome)" && google_logging_metric.this["rows"].label_extractors["kind"] == "EXTRACT(jsonPayload.kind)"
    error_message = "Messages are told apart by outcome, rows by kind."
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
    }
    error_message = "Dead letters of whatever origin, and messages that wait. No alert on push answers: the first day's 403s and passing 503s need no person."
  }

  assert {
    condition     = { for key, policy in google_monitoring_alert_policy.metric : key => policy.conditions[0].condition_threshold[0].threshold_value } == { dead_letters = 0, oldest_message = 3600 }
    error_message = "One dead letter is one too many; an hour's wait does not pass by itself."
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
      spotify_ban         = google_logging_metric.this["spotify_bans"].filter
      loaded_with_warning = "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"spotify-bq\" AND resource.labels.location=\"southamerica-east1\" AND jsonPayload.event=\"message\" AND jsonPayload.outcome=\"loaded\" AND severity=WARNING AND jsonPayload.reason=(\"table_shrank\" OR \"within_tolerance\")"
      schedule_failed     = "resource.type=\"cloud_scheduler_job\" AND resource.labels.location=\"southamerica-east1\" AND resource.labels.job_id=~\"^spotify-bq-(episodes|mentions|podcasts)$\" AND severity>=ERROR"
    }
    error_message = "A ban in force, a table that shrank or has items missing, a schedule that could not publish."
  }

  assert {
    condition     = alltrue([for policy in google_monitoring_alert_policy.log : policy.alert_strategy[0].notification_rate_limit[0].period == "3600s" && length(policy.conditions) == 1])
    error_message = "A log alert needs a rate limit and has one condition."
  }

  assert {
    condition     = google_monitoring_alert_policy.log["loaded_with_warning"].conditions[0].condition_matched_log[0].label_extractors["table"] == "EXTRACT(jsonPayload.table)" && strcontains(google_monitoring_alert_policy.log["loaded_with_warning"].documentation[0].content, "$${log.extracted_label.table}")
    error_message = "The alert names the table."
  }

  assert {
    condition     = alltrue([for policy in concat(values(google_monitoring_alert_policy.metric), values(google_monitoring_alert_policy.log), google_monitoring_alert_policy.nothing_loaded) : length(policy.documentation[0].content) > 100 && startswith(policy.display_name, "spotify-bq: ")])
    error_message = "Each says what to do and whose it is."
  }

  assert {
    condition = alltrue([
      for policy in concat(values(google_monitoring_alert_policy.metric), values(google_monitoring_alert_policy.log), google_monitoring_alert_policy.nothing_loaded) :
      contains(policy.documentation[0].links[*].url, "https://console.cloud.google.com/logs/query;query=resource.type%3D%22cloud_run_revision%22%20AND%20resource.labels.service_name%3D%22spotify-bq%22%20AND%20resource.labels.location%3D%22southamerica-east1%22?project=test-project")
    ])
    error_message = "Each links to the service's log."
  }

  assert {
    condition     = alltrue([for policy in concat(values(google_monitoring_alert_policy.metric), values(google_monitoring_alert_policy.log), google_monitoring_alert_policy.nothing_loaded) : length(policy.notification_channels) == 0])
    error_message = "Without an address nobody is written to."
  }

  # A policy on a metric that was made minutes ago is refused.
  assert {
    condition     = alltrue([for policy in google_monitoring_alert_policy.metric : !strcontains(policy.conditions[0].condition_threshold[0].filter, "logging.googleapis.com/user/")])
    error_message = "No alert reads a metric of our own."
  }
}

run "nothing_loaded_is_told" {
  command = plan

  assert {
    condition = google_monitoring_alert_policy.nothing_loaded[0].conditions[0].condition_prometheus_query_language[0].query == join("", [
      "(sum(increase(pubsub_googleapis_com:subscription_push_request_count{monitored_resource=\"pubsub_subscription\",project_id=\"test-project\",subscription_id=\"spotify-bq-push\",response_class=\"ack\"}[30d])) > 0)",
      " unless ",
      "(sum(increase(pubsub_googleapis_com:subscription_push_request_count{monitored_resource=\"pubsub_subscription\",project_id=\"test-project\",subscription_id=\"spotify-bq-push\",response_class=\"ack\"}[26h])) > 0)",
    ])
    error_message = "Acknowledged pushes within 30 days, and none within 26 hours: quiet before the first load."
  }

  # The metric is Pub/Sub's own: on log-based ones a window above 25 h is refused.
  assert {
    condition     = google_monitoring_alert_policy.nothing_loaded[0].conditions[0].condition_prometheus_query_language[0].disable_metric_validation && !strcontains(google_monitoring_alert_policy.nothing_loaded[0].conditions[0].condition_prometheus_query_language[0].query, "logging_googleapis_com")
    error_message = "The policy can be created before the metric exists."
  }
}

run "nothing_loaded_follows_the_schedules" {
  command = plan

  variables {
    nothing_loaded_hours = 170
    schedules = {
      weekly = { cron = "0 6 * * 1", table = "podcasts" }
      paused = { cron = "0 6 * * *", table = "episodes", paused = true }
    }
  }

  assert {
    condition     = strcontains(google_monitoring_alert_policy.nothing_loaded[0].conditions[0].condition_prometheus_query_language[0].query, "[170h]")
    error_message = "A weekly schedule needs a longer window."
  }
}

run "nothing_is_expected_without_schedules" {
  command = plan

  variables {
    schedules = {}
  }

  assert {
    condition     = length(google_monitoring_alert_policy.nothing_loaded) == 0
    error_message = "Without schedules no load is late."
  }
}

run "nothing_is_expected_of_paused_schedules" {
  command = plan

  variables {
    schedules = { daily = { cron = "0 6 * * *", table = "podcasts", paused = true } }
  }

  assert {
    condition     = length(google_monitoring_alert_policy.nothing_loaded) == 0
    error_message = "Schedules that are paused on purpose load nothing."
  }
}

run "nothing_loaded_can_be_left_out" {
  command = plan

  variables {
    nothing_loaded_hours = null
  }

  assert {
    condition     = length(google_monitoring_alert_policy.nothing_loaded) == 0 && length(google_monitoring_alert_policy.metric) == 2
    error_message = "Loads that are rarer than every 29 days have no such alert."
  }
}

run "alerts_link_to_a_runbook" {
  command = plan

  variables {
    github_repository = "example/spotify-bq"
  }

  assert {
    condition = alltrue([
      for policy in concat(values(google_monitoring_alert_policy.metric), values(google_monitoring_alert_policy.log), google_monitoring_alert_policy.nothing_loaded) :
      contains(policy.documentation[0].links[*].url, "https://github.com/example/spotify-bq/blob/main/docs/logs.md#alerts") && length(policy.documentation[0].links) == 2
    ])
    error_message = "The page is in the repository that is deployed from."
  }
}

run "alerts_link_to_a_runbook_of_ones_own" {
  command = plan

  variables {
    github_repository = "example/spotify-bq"
    runbook_url       = "https://wiki.example.com/spotify-bq"
  }

  assert {
    condition     = alltrue([for policy in concat(values(google_monitoring_alert_policy.metric), values(google_monitoring_alert_policy.log), google_monitoring_alert_policy.nothing_loaded) : contains(policy.documentation[0].links[*].url, "https://wiki.example.com/spotify-bq")])
    error_message = "The given page holds."
  }
}

run "alerts_go_to_channels_too" {
  command = plan

  variables {
    alert_email           = "data@example.com"
    notification_channels = ["projects/test-project/notificationChannels/2"]
    budget                = { billing_account = "012345-6789AB-CDEF01", amount = 20 }
  }

  assert {
    condition     = alltrue([for policy in concat(values(google_monitoring_alert_policy.metric), values(google_monitoring_alert_policy.log), google_monitoring_alert_policy.nothing_loaded) : policy.notification_channels == tolist(["projects/test-project/notificationChannels/1", "projects/test-project/notificationChannels/2"])])
    error_message = "Alerts go to the address and to the channels."
  }

  # Budgets take channels of type e-mail only.
  assert {
    condition     = google_billing_budget.this[0].all_updates_rule[0].monitoring_notification_channels == tolist(["projects/test-project/notificationChannels/1"])
    error_message = "A budget is told by e-mail."
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
    condition     = length(google_monitoring_alert_policy.metric) == 0 && length(google_monitoring_alert_policy.log) == 0 && length(google_monitoring_alert_policy.nothing_loaded) == 0 && length(google_logging_metric.this) == 5
    error_message = "No policy is made, and the dashboard keeps its metrics."
  }
}

run "the_dashboard_shows_what_matters" {
  command = plan

  assert {
    condition = alltrue([
      for metric in concat([for key, m in google_logging_metric.this : "logging.googleapis.com/user/${m.name}" if key != "spotify_calls"], [
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

  # Of a distribution only PromQL can add up the values.
  assert {
    condition = contains(
      [for tile in jsondecode(google_monitoring_dashboard.this.dashboard_json).mosaicLayout.tiles : try(tile.widget.xyChart.dataSets[0].timeSeriesQuery.prometheusQuery, "")],
      "sum by (kind) (increase(logging_googleapis_com:user_spotify_bq_spotify_calls_sum{monitored_resource=\"cloud_run_revision\"}[1h]))",
    )
    error_message = "Calls to Spotify are added up."
  }

  assert {
    condition = contains(
      [for tile in jsondecode(google_monitoring_dashboard.this.dashboard_json).mosaicLayout.tiles : try(tile.widget.logsPanel.filter, "")],
      google_monitoring_alert_policy.log["loaded_with_warning"].conditions[0].condition_matched_log[0].filter,
    )
    error_message = "Tables that shrank or have items missing are listed."
  }

  # No two tiles overlap.
  assert {
    condition = alltrue(flatten([
      for i, a in jsondecode(google_monitoring_dashboard.this.dashboard_json).mosaicLayout.tiles : [
        for j, b in jsondecode(google_monitoring_dashboard.this.dashboard_json).mosaicLayout.tiles :
        try(a.xPos, 0) + a.width <= try(b.xPos, 0) || try(b.xPos, 0) + b.width <= try(a.xPos, 0) ||
        try(a.yPos, 0) + a.height <= try(b.yPos, 0) || try(b.yPos, 0) + b.height <= try(a.yPos, 0)
        if i < j
      ]
    ]))
    error_message = "Tiles overlap, which Google refuses."
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
