# Log-based metrics and the dashboard that shows them. log_metrics.json defines what they match, and the service's tests
# read it too: `where` are fields that must be equal, `labels` and `value` are fields that are extracted.

locals {
  log_metrics = jsondecode(file("${path.module}/log_metrics.json"))

  service_log = join(" AND ", [
    "resource.type=\"cloud_run_revision\"",
    "resource.labels.service_name=\"${var.name}\"",
    "resource.labels.location=\"${var.region}\"",
  ])

  log_filters = {
    for metric, spec in local.log_metrics : metric => join(" AND ", concat(
      [local.service_log],
      [for field, value in spec.where : "jsonPayload.${field}=\"${value}\""],
    ))
  }

  # Loads that need a check: the table shrank to less than half, or items are missing within the tolerance.
  loaded_with_warning = "${local.log_filters.rows} AND severity=WARNING AND jsonPayload.reason=(\"table_shrank\" OR \"within_tolerance\")"

  # The sum of a distribution's values. PromQL replaces characters that it does not allow in a name by _.
  spotify_calls_total = "logging_googleapis_com:user_${replace(google_logging_metric.this["spotify_calls"].name, "/[^a-zA-Z0-9_]/", "_")}_sum"
}

resource "google_logging_metric" "this" {
  for_each = local.log_metrics

  project     = local.project
  name        = "${var.name}-${each.key}"
  description = each.value.description
  filter      = local.log_filters[each.key]

  metric_descriptor {
    metric_kind  = "DELTA"
    value_type   = each.value.value == null ? "INT64" : "DISTRIBUTION"
    unit         = each.value.unit
    display_name = "${var.name}: ${each.value.description}"

    dynamic "labels" {
      for_each = toset(each.value.labels)

      content {
        key        = labels.value
        value_type = "STRING"
      }
    }
  }

  label_extractors = { for field in each.value.labels : field => "EXTRACT(jsonPayload.${field})" }
  value_extractor  = each.value.value == null ? null : "EXTRACT(jsonPayload.${each.value.value})"

  dynamic "bucket_options" {
    for_each = each.value.value == null ? [] : [each.value.value]

    # 1 to 540,000 and more: rows, calls and milliseconds.
    content {
      exponential_buckets {
        num_finite_buckets = 40
        growth_factor      = 1.5
        scale              = 1
      }
    }
  }
}

resource "google_monitoring_dashboard" "this" {
  project = local.project
  dashboard_json = templatefile("${path.module}/dashboard.json.tftpl", {
    name                     = var.name
    service_log              = local.service_log
    loaded_with_warning      = local.loaded_with_warning
    spotify_calls            = "sum by (kind) (increase(${local.spotify_calls_total}{monitored_resource=\"cloud_run_revision\"}[1h]))"
    push_subscription        = google_pubsub_subscription.push.name
    dead_letter_subscription = google_pubsub_subscription.dead_letter.name
    metrics                  = { for key, metric in google_logging_metric.this : key => "logging.googleapis.com/user/${metric.name}" }
  })
}
