# The trigger topic and its push subscription, the dead-letter topic and its subscription, the topic for loaded events.

locals {
  # The service answers within the first, Pub/Sub waits for the second, and Cloud Run ends a request after the third. In
  # any other order a message could be processed twice at once.
  message_deadline_seconds = 540
  ack_deadline_seconds     = 600
  request_timeout_seconds  = 600

  message_storage_policies = length(var.message_storage_regions) == 0 ? [] : [var.message_storage_regions]
}

resource "google_pubsub_topic" "trigger" {
  project      = local.project
  name         = var.name
  labels       = local.labels
  kms_key_name = var.kms_key

  dynamic "message_storage_policy" {
    for_each = local.message_storage_policies

    content {
      allowed_persistence_regions = message_storage_policy.value
    }
  }
}

resource "google_pubsub_topic" "dead_letter" {
  project      = local.project
  name         = "${var.name}-dead-letter"
  labels       = local.labels
  kms_key_name = var.kms_key

  dynamic "message_storage_policy" {
    for_each = local.message_storage_policies

    content {
      allowed_persistence_regions = message_storage_policy.value
    }
  }
}

# An event for each load. Each consumer creates its own subscription, filtered by attributes.table
# (examples/complete).
resource "google_pubsub_topic" "loaded" {
  count = var.loaded_topic ? 1 : 0

  project      = local.project
  name         = "${var.name}-loaded"
  labels       = local.labels
  kms_key_name = var.kms_key

  dynamic "message_storage_policy" {
    for_each = local.message_storage_policies

    content {
      allowed_persistence_regions = message_storage_policy.value
    }
  }
}

resource "google_pubsub_subscription" "push" {
  project                    = local.project
  name                       = "${var.name}-push"
  topic                      = google_pubsub_topic.trigger.id
  labels                     = local.labels
  ack_deadline_seconds       = local.ack_deadline_seconds
  message_retention_duration = "604800s"

  push_config {
    push_endpoint = google_cloud_run_v2_service.this.uri

    oidc_token {
      service_account_email = google_service_account.push.email
      audience              = google_cloud_run_v2_service.this.uri
    }
  }

  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }

  # About 15 hours of retries, enough for a night without Spotify.
  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.dead_letter.id
    max_delivery_attempts = 100
  }

  # Never expires: otherwise a stack whose schedules pause for a month would lose its subscription.
  expiration_policy {
    ttl = ""
  }

  depends_on = [
    google_cloud_run_v2_service_iam_member.push,
    google_service_account_iam_member.agent_signs_as_push,
    google_pubsub_topic_iam_member.agent_dead_letter,
    google_pubsub_subscription.dead_letter,
  ]
}

# Keeps the dead letters: a topic without a subscription drops what is published to it.
resource "google_pubsub_subscription" "dead_letter" {
  project                    = local.project
  name                       = "${var.name}-dead-letter"
  topic                      = google_pubsub_topic.dead_letter.id
  labels                     = local.labels
  ack_deadline_seconds       = 60
  message_retention_duration = "2678400s" # 31 days, the most there is

  expiration_policy {
    ttl = ""
  }
}

# Pub/Sub needs both grants to forward messages whose delivery failed too often.
resource "google_pubsub_topic_iam_member" "agent_dead_letter" {
  project = local.project
  topic   = google_pubsub_topic.dead_letter.name
  role    = "roles/pubsub.publisher"
  member  = local.pubsub_agent
}

resource "google_pubsub_subscription_iam_member" "agent" {
  project      = local.project
  subscription = google_pubsub_subscription.push.name
  role         = "roles/pubsub.subscriber"
  member       = local.pubsub_agent
}

# The service publishes the parts of a message for several tables, the messages that can never succeed, and the loaded
# events.
resource "google_pubsub_topic_iam_member" "runtime" {
  for_each = merge(
    {
      trigger     = google_pubsub_topic.trigger.name
      dead_letter = google_pubsub_topic.dead_letter.name
    },
    { for topic in google_pubsub_topic.loaded : "loaded" => topic.name },
  )

  project = local.project
  topic   = each.value
  role    = "roles/pubsub.publisher"
  member  = google_service_account.runtime.member
}

resource "google_pubsub_topic_iam_member" "publishers" {
  for_each = var.publishers

  project = local.project
  topic   = google_pubsub_topic.trigger.name
  role    = "roles/pubsub.publisher"
  member  = each.value
}
