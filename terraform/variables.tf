# Variables about where the stack is and how it runs. What it reads and writes: variables-data.tf. Access, schedules and
# alerts: variables-access.tf.

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
    Region of Cloud Run, Cloud Scheduler, Artifact Registry and the build bucket. São Paulo by default, close to the users of
    the data. The work of a few seconds a day is within the free tier, so a cheaper region would save nothing.
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

  # At most 22, because the longest derived name, a service account's id, has at most 30.
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,20}[a-z0-9]$", var.name)) && !can(regex("^goog|^gcp-|google", var.name))
    error_message = "name has 3 to 22 lower-case letters, digits and hyphens, starts with a letter, ends with no hyphen, and neither starts with goog or gcp- nor contains google (Google keeps those for itself)."
  }
}

variable "image" {
  description = <<-EOT
    The service's image by digest (REGION-docker.pkg.dev/PROJECT/NAME/spotify-bq@sha256:…), because moving a tag creates no new
    revision. The default is Google's sample image, for a first apply before you have built one. It acknowledges messages
    without loading anything, so the schedules are paused until the image is the service's.
  EOT
  type        = string
  default     = "us-docker.pkg.dev/cloudrun/container/hello"
  nullable    = false

  validation {
    condition     = var.image == "us-docker.pkg.dev/cloudrun/container/hello" || can(regex("^[a-z0-9./:_-]+@sha256:[0-9a-f]{64}$", var.image))
    error_message = "image ends with a digest: IMAGE@sha256: and 64 hex digits. A tag alone is not accepted, because moving it creates no new revision."
  }
}

variable "max_instances" {
  description = <<-EOT
    The maximum number of instances, all revisions together. Instances do not share what each keeps in memory: the
    cooldown after a 429 (another instance keeps calling during a ban), the order of messages for one table (an older
    reading may replace a newer one), the reading that `episodes` and `mentions` share, and what BigQuery denied. One
    Spotify account has one quota, so more instances do not load more.
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
  description = "The log level. It is at least info, because metrics and alerts count lines of that level."
  type        = string
  default     = "info"
  nullable    = false

  validation {
    condition     = contains(["info", "debug", "trace"], var.log_level)
    error_message = "log_level is info, debug or trace."
  }
}

variable "deletion_protection" {
  description = "Whether Terraform refuses to destroy the service, the dataset and the tables. To tear down the stack, apply with false, then destroy; that also deletes the tables of all other terms."
  type        = bool
  default     = true
  nullable    = false
}

variable "labels" {
  description = "Labels for all resources that support them, in addition to app = NAME."
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

# For organizations. docs/organization.md lists the organization policies that need these.

variable "kms_key" {
  description = <<-EOT
    Cloud KMS key that encrypts topics, secret, dataset, registry, build bucket and service (CMEK):
    projects/PROJECT/locations/REGION/keyRings/RING/cryptoKeys/KEY. It must be in `region`, and a new dataset must be there
    too (`bigquery_location`). Google's service agents need the right to use it before the first apply. Set it at the first
    deployment: later it replaces the registry and the secret.
  EOT
  type        = string
  default     = null

  validation {
    condition     = var.kms_key == null ? true : can(regex("^projects/[^/]+/locations/[a-z0-9-]+/keyRings/[^/]+/cryptoKeys/[^/]+$", var.kms_key))
    error_message = "kms_key is projects/PROJECT/locations/REGION/keyRings/RING/cryptoKeys/KEY, without a version, or null."
  }

  validation {
    condition     = var.kms_key == null ? true : strcontains(var.kms_key, "/locations/${var.region}/")
    error_message = "kms_key is not in region ${var.region}: Cloud Run, Artifact Registry and Cloud Storage take keys of their own region only."
  }

  validation {
    condition     = var.kms_key == null || !var.create_dataset ? true : lower(var.bigquery_location) == var.region
    error_message = "With kms_key, set bigquery_location to ${var.region}: BigQuery takes a key of the dataset's own location only, and the key is in that region."
  }

  validation {
    condition     = var.kms_key == null || length(var.secret_locations) == 0 ? true : tolist(var.secret_locations) == tolist([var.region])
    error_message = "With kms_key, secret_locations is [\"${var.region}\"] or empty, which means the same: a replica's key is in the replica's region."
  }
}

variable "secret_locations" {
  description = "Regions that store the secret's value. Empty: Google chooses, which the policy gcp.resourceLocations can forbid; with kms_key, `region`. A change replaces the secret, and its value must be added again."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition = length(distinct(var.secret_locations)) == length(var.secret_locations) && alltrue([
      for location in var.secret_locations : can(regex("^[a-z]+-[a-z]+[0-9]{1,2}$", location))
    ])
    error_message = "secret_locations are regions such as southamerica-east1, each once."
  }
}

variable "message_storage_regions" {
  description = "Regions in which Pub/Sub may store messages. Empty: where they are published, within the organization's policy."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition = length(distinct(var.message_storage_regions)) == length(var.message_storage_regions) && alltrue([
      for region in var.message_storage_regions : can(regex("^[a-z]+-[a-z]+[0-9]{1,2}$", region))
    ])
    error_message = "message_storage_regions are regions such as southamerica-east1, each once."
  }
}

variable "vpc_access" {
  description = <<-EOT
    Direct VPC egress of the service: network, subnetwork or both (full names for a Shared VPC), network tags, and egress.
    PRIVATE_RANGES_ONLY sends only calls to private addresses through the network; ALL_TRAFFIC sends all, so the network
    then needs Cloud NAT for Spotify and Private Google Access. Null: no VPC network.
  EOT
  type = object({
    network    = optional(string)
    subnetwork = optional(string)
    tags       = optional(list(string), [])
    egress     = optional(string, "PRIVATE_RANGES_ONLY")
  })
  default = null

  validation {
    condition     = var.vpc_access == null ? true : var.vpc_access.network != null || var.vpc_access.subnetwork != null
    error_message = "vpc_access names a network, a subnetwork, or both."
  }

  validation {
    condition     = var.vpc_access == null ? true : contains(["PRIVATE_RANGES_ONLY", "ALL_TRAFFIC"], var.vpc_access.egress)
    error_message = "vpc_access: egress is PRIVATE_RANGES_ONLY or ALL_TRAFFIC."
  }
}
