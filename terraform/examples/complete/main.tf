# Everything that can be said: an existing dataset, many terms, other publishers, alerts, a budget, deployment from GitHub.

terraform {
  required_version = ">= 1.11"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 7.45, < 8"
    }
  }
}

# The budget's API wants to know whose quota it uses.
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
  tables = {
    podcasts = "podcasts"
    episodes = "episodes"
    mentions = "mentions"
  }
  column_policy_tags = {
    podcasts = {
      description = "projects/${var.project_id}/locations/us/taxonomies/1234567890/policyTags/987654321"
    }
  }

  # An app with Extended Quota.
  credentials_secret       = "spotify-credentials-data-team"
  search_term              = "data hackers"
  mention                  = "Grupo Boticário"
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
    composer = "serviceAccount:airflow@${var.project_id}.iam.gserviceaccount.com"
    analysts = "group:analysts@example.com"
  }

  alert_email = "data-team@example.com"
  budget = {
    billing_account = var.billing_account
    amount          = 20
    currency        = "BRL"
  }

  github_repository = "example/spotify-bq"
  state_bucket      = "${var.project_id}-terraform"

  max_instances       = 1
  log_level           = "debug"
  deletion_protection = true
}

output "spotify_bq" {
  description = "What the stack is made of."
  value       = module.spotify_bq
}
