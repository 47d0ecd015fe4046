# The smallest configuration: three tables, loaded each morning.

terraform {
  required_version = ">= 1.11"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 7.45, < 8"
    }
  }
}

variable "project_id" {
  description = "The Google Cloud project."
  type        = string
}

variable "image" {
  description = "The service's image by digest; without one, Google's sample runs and the schedules are paused."
  type        = string
  default     = null
}

module "spotify_bq" {
  source = "../.."

  project_id = var.project_id
  image      = var.image
}

output "spotify_bq" {
  description = "What the stack is made of."
  value       = module.spotify_bq
}
