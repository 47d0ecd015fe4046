# Alert policies and their documentation. None of them uses a log-based metric: Cloud Monitoring refuses such a policy for
# up to ten minutes after the metric is created, which would break a first apply.
#
# There is no alert on push responses other than 2xx: pushes are refused until IAM takes effect, and a 503 requests
# redelivery. A lasting problem triggers another alert: a message that waits, or a dead letter.

resource "google_monitoring_notification_channel" "email" {
  count = var.alert_email == null ? 0 : 1

  project      = local.project
  display_name = "${var.name}: e-mail"
  type         = "email"
  user_labels  = local.labels
  labels       = { email_address = var.alert_email }
}

locals {
  alert_channels = concat(google_monitoring_notification_channel.email[*].name, var.notification_channels)

  # The repository's address, from Cargo.toml. OWNER is a placeholder.
  published  = try(regex("(?m)^repository = \"https://github.com/([^\"]+)\"", file("${path.module}/../Cargo.toml"))[0], "OWNER/spotify-bq")
  repository = var.github_repository != null ? var.github_repository : startswith(local.published, "OWNER/") ? null : local.published

  runbook_url = var.runbook_url != null ? var.runbook_url : one([
    for repository in local.repository[*] : "https://github.com/${repository}/blob/main/docs/logs.md#alerts"
  ])

  # Links in every alert: the page that explains it, and the log.
  alert_links = merge(
    { for url in local.runbook_url[*] : "Runbook" => url },
    { "Log of ${var.name}" = "https://console.cloud.google.com/logs/query;query=${replace(urlencode(local.service_log), "+", "%20")}?project=${var.project_id}" },
  )

  subscription_metric = "resource.type = \"pubsub_subscription\" AND resource.labels.subscription_id = \"%s\" AND metric.type = \"pubsub.googleapis.com/subscription/%s\""

  metric_alerts = {
    # Pub/Sub's dead_letter_message_count would miss the dead letters that the service publishes itself.
    dead_letters = {
      title     = "dead letters are waiting"
      severity  = "ERROR"
      filter    = format(local.subscription_metric, google_pubsub_subscription.dead_letter.name, "num_undelivered_messages")
      reducer   = "REDUCE_SUM"
      threshold = 0
      advice    = <<-EOT
        A message could not succeed; its table still has the rows of the last load. To see why, read the attributes `reason` and `detail`:
        `gcloud pubsub subscriptions pull ${google_pubsub_subscription.dead_letter.name} --project=${var.project_id} --limit=10`
        Fix the cause, then republish the messages with `spotify-bq redrive`. Dead letters are kept for 31 days.
      EOT
    }
    oldest_message = {
      title     = "a message has waited for an hour"
      severity  = "WARNING"
      filter    = format(local.subscription_metric, google_pubsub_subscription.push.name, "oldest_unacked_message_age")
      reducer   = "REDUCE_MAX"
      threshold = 3600
      advice    = <<-EOT
        Pub/Sub keeps delivering the message, and it becomes a dead letter after about 15 hours. The service's log says why it is retried (outcome `retry`, `reason`, `advice`).
        If the log has no such lines, Pub/Sub does not reach the service: look for requests with status 403 or 429 in the log.
        403: ${google_service_account.push.email} is not an invoker of the service, and `terraform apply` restores that. 429: more messages at once than the instances take.
      EOT
    }
  }

  # Without an active schedule, no load is expected.
  nothing_loaded = var.alerts && var.nothing_loaded_hours != null && anytrue([for schedule in values(var.schedules) : !schedule.paused])

  acknowledged = join("", [
    "pubsub_googleapis_com:subscription_push_request_count{monitored_resource=\"pubsub_subscription\",",
    "project_id=\"${var.project_id}\",subscription_id=\"${google_pubsub_subscription.push.name}\",response_class=\"ack\"}",
  ])

  log_alerts = merge(
    {
      spotify_ban = {
        title  = "Spotify refuses all calls for a while"
        filter = local.log_filters.spotify_bans
        labels = {}
        advice = <<-EOT
          `retryAfterSeconds` in the log line says for how long. Until then the service answers 503 without calling Spotify, and Pub/Sub redelivers the messages.
          No action is needed. If it happens often: load fewer terms, spread the schedules, or use one stack for each Spotify account.
        EOT
      }
      loaded_with_warning = {
        title  = "a table shrank, or was loaded with items missing"
        filter = local.loaded_with_warning
        labels = { table = "EXTRACT(jsonPayload.table)" }
        advice = <<-EOT
          The table $${log.extracted_label.table} was replaced, but needs a check. In the log line, `rows` is its current number of rows, `rowsBefore` the previous one, and `listed` how many items Spotify announced.
          If Spotify's listing is wrong: pause the schedule, compare with the table as it was before the load (BigQuery's time travel reaches back seven days), and restore those rows as docs/restore.md says.
        EOT
      }
    },
    length(var.schedules) == 0 ? {} : {
      schedule_failed = {
        title  = "a schedule could not publish its message"
        filter = "resource.type=\"cloud_scheduler_job\" AND resource.labels.location=\"${var.region}\" AND resource.labels.job_id=~\"^${var.name}-(${join("|", keys(var.schedules))})$\" AND severity>=ERROR"
        labels = {}
        advice = <<-EOT
          No message was published, so no table was loaded. The log line has the reason. Fix it, then run the job manually:
          `gcloud scheduler jobs run JOB --location=${var.region} --project=${var.project_id}`
        EOT
      }
    },
  )
}

resource "google_monitoring_alert_policy" "metric" {
  for_each = { for key, alert in local.metric_alerts : key => alert if var.alerts }

  project               = local.project
  display_name          = "${var.name}: ${each.value.title}"
  combiner              = "OR"
  severity              = each.value.severity
  notification_channels = local.alert_channels
  user_labels           = local.labels

  conditions {
    display_name = each.value.title

    condition_threshold {
      filter          = each.value.filter
      comparison      = "COMPARISON_GT"
      threshold_value = each.value.threshold
      duration        = "0s"

      aggregations {
        alignment_period     = "300s"
        per_series_aligner   = "ALIGN_MAX"
        cross_series_reducer = each.value.reducer
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = each.value.advice

    dynamic "links" {
      for_each = local.alert_links

      content {
        display_name = links.key
        url          = links.value
      }
    }
  }

  alert_strategy {
    auto_close = "86400s"
  }
}

# A schedule that someone paused or deleted causes no failure and no log line, so this alert looks for missing loads.
# "Some in 30 days" keeps it quiet before the first load.
resource "google_monitoring_alert_policy" "nothing_loaded" {
  count = local.nothing_loaded ? 1 : 0

  project               = local.project
  display_name          = "${var.name}: nothing was loaded for ${var.nothing_loaded_hours} hours"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = local.alert_channels
  user_labels           = local.labels

  conditions {
    display_name = "nothing was loaded for ${var.nothing_loaded_hours} hours"

    condition_prometheus_query_language {
      query               = "(sum(increase(${local.acknowledged}[30d])) > 0) unless (sum(increase(${local.acknowledged}[${var.nothing_loaded_hours}h])) > 0)"
      duration            = "0s"
      evaluation_interval = "300s"

      # The metric exists only after the first push.
      disable_metric_validation = true
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = <<-EOT
      The service has acknowledged no message for ${var.nothing_loaded_hours} hours, so no table was loaded. Check whether a schedule is paused or missing:
      `gcloud scheduler jobs list --location=${var.region} --project=${var.project_id}`; resume it with `gcloud scheduler jobs resume JOB`, or restore it with `terraform apply`.
      If messages arrive but fail, another alert reports that, and the table is loaded once the cause is fixed. If your schedules run more rarely, raise `nothing_loaded_hours`.
    EOT

    dynamic "links" {
      for_each = local.alert_links

      content {
        display_name = links.key
        url          = links.value
      }
    }
  }

  alert_strategy {
    auto_close = "86400s"
  }
}

resource "google_monitoring_alert_policy" "log" {
  for_each = { for key, alert in local.log_alerts : key => alert if var.alerts }

  project               = local.project
  display_name          = "${var.name}: ${each.value.title}"
  combiner              = "OR"
  severity              = "WARNING"
  notification_channels = local.alert_channels
  user_labels           = local.labels

  conditions {
    display_name = each.value.title

    condition_matched_log {
      filter           = each.value.filter
      label_extractors = length(each.value.labels) == 0 ? null : each.value.labels
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = each.value.advice

    dynamic "links" {
      for_each = local.alert_links

      content {
        display_name = links.key
        url          = links.value
      }
    }
  }

  alert_strategy {
    auto_close = "86400s"

    notification_rate_limit {
      period = "3600s"
    }
  }
}
