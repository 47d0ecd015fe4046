# One Cloud Scheduler job for each entry of `schedules`.

resource "google_cloud_scheduler_job" "this" {
  for_each = var.schedules

  project     = local.project
  region      = var.region
  name        = "${var.name}-${each.key}"
  description = "Publishes one message to ${google_pubsub_topic.trigger.name}"
  schedule    = each.value.cron
  time_zone   = each.value.time_zone

  # Paused while the service runs Google's sample, which would acknowledge messages without loading.
  paused = each.value.paused || local.image_is_placeholder

  # Retries the publishing only. The subscription redelivers the message.
  retry_config {
    retry_count          = 3
    max_retry_duration   = "0s"
    min_backoff_duration = "10s"
    max_backoff_duration = "300s"
    max_doublings        = 5
  }

  # Absent keys are left out.
  pubsub_target {
    topic_name = google_pubsub_topic.trigger.id
    data = base64encode(jsonencode({
      for key, value in {
        table               = each.value.table
        search_term         = try(one(each.value.search_terms), each.value.search_terms)
        show_id             = each.value.show_id
        max_missing_percent = each.value.max_missing_percent
      } : key => value if value != null
    }))
  }
}

# The service agent's default role includes this, but an organization can remove that role.
resource "google_pubsub_topic_iam_member" "scheduler" {
  count = length(var.schedules) > 0 ? 1 : 0

  project    = local.project
  topic      = google_pubsub_topic.trigger.name
  role       = "roles/pubsub.publisher"
  member     = local.scheduler_agent
  depends_on = [google_cloud_scheduler_job.this] # the agent exists once there is a job
}
