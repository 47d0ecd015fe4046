# Where the stack stands and how it runs. What it reads and writes: variables-data.tf; who and when: variables-access.tf.

variable "project_id" {
  description = "The Google Cloud project, which must exist and have billing."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "project_id is the project's id (such as my-project-123), not its name or number: 6 to 30 lower-case letters, digits and hyphens."
  }
}

variable "region" {
  description = <<-EOT
    Region of Cloud Run, Cloud Scheduler, Artifact Registry and the build bucket. São Paulo by default, where the users of
    the data are: the work is a few seconds a day within the free tier, so a cheaper region would save nothing.
  EOT
  type        = string
  default     = "southamerica-east1"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]{1,2}$", var.region))
    error_message = "region is one Google Cloud region, such as southamerica-east1 or us-central1 (no zone, no multi-region)."
  }
}

variable "name" {
  description = "Prefix of all names. A second stack in the project (a second Spotify account) needs another name, credentials_secret and dataset_id."
  type        = string
  default     = "spotify-bq"
  nullable    = false

  # 22: the longest name made of it, a service account's id, ends at 30.
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,20}[a-z0-9]$", var.name)) && !can(regex("^goog|^gcp-|google", var.name))
    error_message = "name has 3 to 22 lower-case letters, digits and hyphens, starts with a letter, ends with no hyphen, and neither starts with goog or gcp- nor contains google (Google keeps those for itself)."
  }
}

variable "image" {
  description = <<-EOT
    The service's image by digest (REGION-docker.pkg.dev/PROJECT/NAME/spotify-bq@sha256:…): a moved tag would make no new
    revision. The default is Google's sample, for a first apply before there is an image; it acknowledges messages and
    loads nothing, so the schedules stay paused until there is a true one.
  EOT
  type        = string
  default     = "us-docker.pkg.dev/cloudrun/container/hello"
  nullable    = false

  validation {
    condition     = var.image == "us-docker.pkg.dev/cloudrun/container/hello" || can(regex("^[a-z0-9./:_-]+@sha256:[0-9a-f]{64}$", var.image))
    error_message = "image ends with a digest: IMAGE@sha256: and 64 hex digits. A tag alone is not accepted, since moving it makes no new revision."
  }
}

variable "max_instances" {
  description = <<-EOT
    Most instances of the service. One Spotify account has one quota, and the process keeps its cooldown after a 429 and
    the turns of messages for one table in memory: a second instance would know of neither, and call on during a ban.
  EOT
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = var.max_instances >= 1 && var.max_instances <= 100 && floor(var.max_instances) == var.max_instances
    error_message = "max_instances is a whole number from 1 to 100."
  }
}

variable "log_level" {
  description = "What the service logs. Less than info is not offered: the metrics and alerts count lines of that level."
  type        = string
  default     = "info"
  nullable    = false

  validation {
    condition     = contains(["info", "debug", "trace"], var.log_level)
    error_message = "log_level is info, debug or trace."
  }
}

variable "deletion_protection" {
  description = "Whether terraform refuses to destroy the service, the dataset and the tables. To tear down: apply with false, then destroy, which deletes the tables of all terms too."
  type        = bool
  default     = true
  nullable    = false
}

variable "labels" {
  description = "Labels of everything that can have labels, beside app = NAME."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition = alltrue([
      for key, value in var.labels : can(regex("^[a-z][a-z0-9_-]{0,62}$", key)) && can(regex("^[a-z0-9_-]{0,63}$", value))
    ])
    error_message = "labels: keys and values have at most 63 lower-case letters, digits, _ and -; a key starts with a letter."
  }
}
