# When someone is told, and what to do then. None of them reads a log-based metric: a policy is refused for up to ten
# minutes after its metric was made, which would break a first apply.

resource "google_monitoring_notification_channel" "email" {
  count = var.alert_email == null ? 0 : 1

  project      = local.project
  display_name = "${var.name}: e-mail"
  type         = "email"
  user_labels  = local.labels
  labels       = { email_address = var.alert_email }
}

locals {
  subscription_metric = "resource.type = \"pubsub_subscription\" AND resource.labels.subscription_id = \"%s\" AND metric.type = \"pubsub.googleapis.com/subscription/%s\""

  metric_alerts = {
    # Not Pub/Sub's own dead_letter_message_count: the service publishes dead letters itself too.
    dead_letters = {
      title     = "dead letters are waiting"
      severity  = "ERROR"
      filter    = format(local.subscription_metric, google_pubsub_subscription.dead_letter.name, "num_undelivered_messages")
      period    = "300s"
      aligner   = "ALIGN_MAX"
      reducer   = "REDUCE_SUM"
      group_by  = []
      threshold = 0
      advice    = <<-EOT
        A message could not succeed; its table still holds the rows of the last load. See why:
        `gcloud pubsub subscriptions pull ${google_pubsub_subscription.dead_letter.name} --project=${var.project_id} --limit=10` (attributes `reason` and `detail`).
        Put right what it says, then send the messages back with `spotify-bq redrive`. They wait for 31 days.
      EOT
    }
    oldest_message = {
      title     = "a message has waited for an hour"
      severity  = "WARNING"
      filter    = format(local.subscription_metric, google_pubsub_subscription.push.name, "oldest_unacked_message_age")
      period    = "300s"
      aligner   = "ALIGN_MAX"
      reducer   = "REDUCE_MAX"
      group_by  = []
      threshold = 3600
      advice    = <<-EOT
        It is being retried. The service's log says why (outcome `retry`, `reason`, `advice`); a log without such lines means
        that Pub/Sub does not get through: see the alert on push answers. Nothing is lost: after about 15 hours it is a dead letter.
      EOT
    }
    # More than a few in an hour is a message that keeps failing; one or two are a passing 503.
    push_failures = {
      title     = "pushes are not answered with 2xx"
      severity  = "ERROR"
      filter    = "${format(local.subscription_metric, google_pubsub_subscription.push.name, "push_request_count")} AND metric.labels.response_class != \"ack\""
      period    = "3600s"
      aligner   = "ALIGN_DELTA"
      reducer   = "REDUCE_SUM"
      group_by  = ["metric.label.response_class"]
      threshold = 5
      advice    = <<-EOT
        `remote_server_4xx`: 403 is Cloud Run refusing Pub/Sub, which no log of the service shows; is ${google_service_account.push.email} still its invoker? `terraform apply` puts that back.
        429 is more messages than the instances take; they come again.
        `remote_server_5xx`: the service's log says why. `deadline_exceeded`: a message takes longer than ${local.ack_deadline_seconds} s.
      EOT
    }
  }

  log_alerts = merge(
    {
      spotify_ban = {
        title  = "Spotify refuses all calls for a while"
        filter = local.log_filters.spotify_bans
        advice = <<-EOT
          The line's `retryAfterSeconds` says for how long. Until then messages are answered 503 without a call, and come again.
          Nothing is to be done, but if it happens often: fewer terms, further apart, and one stack for each Spotify account.
        EOT
      }
    },
    length(var.schedules) == 0 ? {} : {
      schedule_failed = {
        title  = "a schedule could not publish its message"
        filter = "resource.type=\"cloud_scheduler_job\" AND resource.labels.location=\"${var.region}\" AND resource.labels.job_id=~\"^${var.name}-(${join("|", keys(var.schedules))})$\" AND severity>=ERROR"
        advice = <<-EOT
          No message, so no table was loaded and no other alert will tell. The log line has the reason; run the job by hand when it is put right:
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
  notification_channels = google_monitoring_notification_channel.email[*].name
  user_labels           = local.labels

  conditions {
    display_name = each.value.title

    condition_threshold {
      filter          = each.value.filter
      comparison      = "COMPARISON_GT"
      threshold_value = each.value.threshold
      duration        = "0s"

      aggregations {
        alignment_period     = each.value.period
        per_series_aligner   = each.value.aligner
        cross_series_reducer = each.value.reducer
        group_by_fields      = each.value.group_by
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = each.value.advice
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
  notification_channels = google_monitoring_notification_channel.email[*].name
  user_labels           = local.labels

  conditions {
    display_name = each.value.title

    condition_matched_log {
      filter = each.value.filter
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = each.value.advice
  }

  alert_strategy {
    auto_close = "86400s"

    notification_rate_limit {
      period = "3600s"
    }
  }
}
