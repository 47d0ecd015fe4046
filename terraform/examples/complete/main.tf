# Nearly everything that can be set: an existing dataset, many terms, other publishers, a DAG that waits for a load, alerts,
# a budget, deployment from GitHub, places where data may be kept.

terraform {
  required_version = ">= 1.11"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 7.45, < 8"
    }
  }
}

# The budgets API requires a quota project.
provider "google" {
  project               = var.project_id
  user_project_override = true
  billing_project       = var.project_id
}

variable "project_id" {
  description = "The Google Cloud project."
  type        = string
}

variable "image" {
  description = "The service's image by digest."
  type        = string
}

variable "billing_account" {
  description = "The billing account of the budget."
  type        = string
}

locals {
  tables = {
    podcasts = "podcasts"
    episodes = "episodes"
    mentions = "mentions"
  }
  airflow = "serviceAccount:airflow@${var.project_id}.iam.gserviceaccount.com"
}

module "spotify_bq" {
  source = "../.."

  project_id = var.project_id
  region     = "us-central1"
  name       = "podcasts"
  image      = var.image
  labels     = { team = "data", env = "production" }

  # The dataset is the team's own; only the tables are made in it.
  create_dataset = false
  dataset_id     = "Spotify_podcasts"
  tables         = local.tables
  column_policy_tags = {
    podcasts = {
      description = "projects/${var.project_id}/locations/us/taxonomies/1234567890/policyTags/987654321"
    }
  }

  # An app with Extended Quota.
  credentials_secret       = "spotify-credentials-data-team"
  search_term              = "data hackers"
  mention                  = "Grupo Boticário|O Boticário"
  market                   = "BR"
  search_page_size         = 50
  spotify_concurrent_calls = 4

  schedules = {
    daily = {
      cron  = "0 6 * * *"
      table = "podcasts"
    }
    show = {
      cron         = "30 6 * * *"
      table        = "episodes"
      search_terms = ["data hackers"]
      show_id      = "1oMIHOXsrLFENAeM743g93"

      # Spotify lists more episodes of this show than it returns.
      max_missing_percent = 5
    }
    # One job and one message for them all; the service splits it.
    weekly-terms = {
      cron         = "0 4 * * 1"
      time_zone    = "Etc/UTC"
      search_terms = ["data hackers", "inteligência artificial", "c++"]
    }
    on-demand = {
      cron         = "0 0 1 1 *"
      search_terms = ["data hackers"]
      paused       = true
    }
  }

  publishers = {
    composer = local.airflow
    analysts = "group:analysts@example.com"
  }

  loaded_topic = true

  alert_email           = "data-team@example.com"
  notification_channels = ["projects/${var.project_id}/notificationChannels/1234567890"]
  nothing_loaded_hours  = 26
  runbook_url           = "https://wiki.example.com/spotify-bq"
  budget = {
    billing_account = var.billing_account
    amount          = 20
    currency        = "BRL"
  }

  # The number: gh api repos/example/spotify-bq --jq .owner.id
  github_repository = "example/spotify-bq"
  github_owner_id   = "12345678"
  state_bucket      = "${var.project_id}-terraform"

  # The organization keeps data in two regions.
  secret_locations        = ["us-central1", "us-east1"]
  message_storage_regions = ["us-central1", "us-east1"]

  max_instances       = 1
  log_level           = "debug"
  deletion_protection = true
}

# A DAG that waits for one table has a subscription of its own: with a shared one, each DAG would take the others' events.
# The filter leaves the events of its table, and the DAG compares the message's id.
resource "google_pubsub_subscription" "episodes_loaded" {
  project                    = var.project_id
  name                       = "podcasts-loaded-episodes"
  topic                      = module.spotify_bq.loaded_topic
  filter                     = "attributes.table = \"${local.tables.episodes}\""
  ack_deadline_seconds       = 60
  message_retention_duration = "604800s"

  expiration_policy {
    ttl = ""
  }
}

resource "google_pubsub_subscription_iam_member" "episodes_loaded" {
  project      = var.project_id
  subscription = google_pubsub_subscription.episodes_loaded.name
  role         = "roles/pubsub.subscriber"
  member       = local.airflow
}

output "spotify_bq" {
  description = "What the stack is made of."
  value       = module.spotify_bq
}
