# Variables about publishers, schedules, alerts and deployment from GitHub.

variable "publishers" {
  description = "Additional publishers to the trigger topic: a name of your choice → member, such as { composer = \"serviceAccount:airflow@other.iam.gserviceaccount.com\" }."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for member in values(var.publishers) : can(regex("^(user|group|serviceAccount|domain):[^:]+$|^principal(Set)?://.+", member))])
    error_message = "publishers: a member is user:, group:, serviceAccount: or domain: and an address, or principal:// or principalSet://. allUsers and allAuthenticatedUsers are not accepted: nothing here is public."
  }
}

variable "loaded_topic" {
  description = <<-EOT
    Whether the service publishes an event to a topic of its own after each load, with attributes `kind` and `table`, for
    systems that wait for a table. Each consumer needs a subscription with a filter, such as attributes.table = "my_table"
    (examples/complete).
  EOT
  type        = bool
  default     = false
  nullable    = false
}

variable "schedules" {
  description = <<-EOT
    Messages that Cloud Scheduler publishes: a name of your choice → cron, and what to load: a table (podcasts, episodes,
    mentions), search terms, or both. Without a table: all three. Without terms: the configured one. The service splits a
    message for more than one table or term, so a list of terms costs one job. max_missing_percent says how much of a
    listing may be missing, for a show that Spotify never shows completely.

    By default the three tables are loaded two minutes apart, in an order that saves calls to Spotify: the search of
    `podcasts` also finds the show of the other two, and `mentions` uses the episodes that were read for `episodes`. A show
    with seven pages of episodes takes 12 calls instead of 20. The service keeps a reading for 15 minutes at most, and not
    after it has scaled to zero, so keep tables of one term close together and in this order.
  EOT
  type = map(object({
    cron         = string
    time_zone    = optional(string, "America/Sao_Paulo")
    table        = optional(string)
    search_terms = optional(list(string), [])
    show_id      = optional(string)
    paused       = optional(bool, false)

    max_missing_percent = optional(number)
  }))
  default = {
    podcasts = { cron = "0 6 * * *", table = "podcasts" }
    episodes = { cron = "2 6 * * *", table = "episodes" }
    mentions = { cron = "4 6 * * *", table = "mentions" }
  }
  nullable = false

  validation {
    condition     = alltrue([for key in keys(var.schedules) : can(regex("^[a-z0-9][a-z0-9-]{0,62}$", key))])
    error_message = "schedules: a name has at most 63 lower-case letters, digits and hyphens."
  }

  validation {
    condition     = alltrue([for s in values(var.schedules) : can(regex("^[0-9A-Za-z*/,-]+( [0-9A-Za-z*/,-]+){4}$", s.cron))])
    error_message = "schedules: cron has five fields, such as \"0 6 * * *\" (minute, hour, day of month, month, day of week)."
  }

  validation {
    condition     = alltrue([for s in values(var.schedules) : can(regex("^[A-Za-z]+(/[A-Za-z0-9_+-]+)*$", s.time_zone))])
    error_message = "schedules: time_zone is a name of the tz database, such as America/Sao_Paulo or Etc/UTC."
  }

  validation {
    condition     = alltrue([for s in values(var.schedules) : s.table == null || contains(["podcasts", "episodes", "mentions"], coalesce(s.table, "none"))])
    error_message = "schedules: table is podcasts, episodes or mentions."
  }

  validation {
    condition     = alltrue([for s in values(var.schedules) : s.table != null || length(s.search_terms) > 0])
    error_message = "schedules: each entry needs a table, search_terms, or both."
  }

  validation {
    condition = alltrue([
      for s in values(var.schedules) : length(s.search_terms) <= 300 && alltrue([
        for term in s.search_terms : (
          length(regexall("(?s).", trimspace(term))) <= 100 && can(regex("[\\p{L}\\p{N}]", term)) &&
          !can(regex("\\p{Cc}", trimspace(term)))
        )
      ])
    ])
    error_message = "schedules: search_terms are at most 300, each of 1 to 100 characters with at least one letter or digit of any script, and no control character."
  }

  validation {
    condition     = alltrue([for s in values(var.schedules) : s.show_id == null || can(regex("^[0-9A-Za-z]{22}$", s.show_id))])
    error_message = "schedules: show_id is the 22 letters and digits at the end of the show's address."
  }

  validation {
    condition     = alltrue([for s in values(var.schedules) : s.show_id == null || (length(s.search_terms) == 1 && s.table != "podcasts")])
    error_message = "schedules: show_id chooses the show of a term, so it needs exactly one search term, and either no table or one other than podcasts."
  }

  validation {
    condition = alltrue([
      for s in values(var.schedules) : s.max_missing_percent == null ? true : s.max_missing_percent >= 0 && s.max_missing_percent <= 100 && floor(s.max_missing_percent) == s.max_missing_percent
    ])
    error_message = "schedules: max_missing_percent is a whole number from 0 to 100."
  }
}

variable "alerts" {
  description = "Whether to create alert policies. Google charges for each condition (docs/costs.md); the dashboard shows the same without them."
  type        = bool
  default     = true
  nullable    = false
}

variable "alert_email" {
  description = "Address that alerts are sent to. Without it and notification_channels, alerts are in Cloud Monitoring only."
  type        = string
  default     = null

  validation {
    condition     = var.alert_email == null ? true : can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", var.alert_email))
    error_message = "alert_email is one e-mail address, or null."
  }
}

variable "notification_channels" {
  description = "Other channels that alerts are sent to, in addition to alert_email (Slack, PagerDuty, Pub/Sub): projects/PROJECT/notificationChannels/ID, as `gcloud beta monitoring channels list` shows them."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition = length(distinct(var.notification_channels)) == length(var.notification_channels) && alltrue([
      for channel in var.notification_channels : can(regex("^projects/[^/]+/notificationChannels/[^/]+$", channel))
    ])
    error_message = "notification_channels are projects/PROJECT/notificationChannels/ID, each once."
  }
}

variable "nothing_loaded_hours" {
  description = <<-EOT
    Hours without an acknowledged message after which an alert says that nothing was loaded. 26 suits schedules that run
    every day; for weekly ones set 170. Null: no alert, for schedules that run less often than every 29 days.
  EOT
  type        = number
  default     = 26

  # The alert compares with the last 30 days.
  validation {
    condition     = var.nothing_loaded_hours == null ? true : var.nothing_loaded_hours >= 1 && var.nothing_loaded_hours <= 696 && floor(var.nothing_loaded_hours) == var.nothing_loaded_hours
    error_message = "nothing_loaded_hours is a whole number from 1 to 696 (29 days), or null for no alert."
  }
}

variable "runbook_url" {
  description = "Web address of docs/logs.md, or of a runbook of your own, which each alert links to. Null: that page in github_repository, or where this module is published. Each alert also links to the service's log."
  type        = string
  default     = null

  validation {
    condition     = var.runbook_url == null ? true : can(regex("^https://[^\\s]+$", var.runbook_url))
    error_message = "runbook_url starts with https:// and has no spaces."
  }
}

variable "budget" {
  description = <<-EOT
    Sends e-mail when the project's spending reaches 50, 90 and 100 % of an amount a month, in the billing account's own
    currency. It needs permissions on the billing account and, with a user's login, USER_PROJECT_OVERRIDE=true and
    GOOGLE_BILLING_PROJECT=PROJECT in the environment.
  EOT
  type = object({
    billing_account = string
    amount          = number
    currency        = optional(string)
  })
  default = null

  validation {
    condition     = var.budget == null ? true : can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", var.budget.billing_account))
    error_message = "budget: billing_account is like 012345-6789AB-CDEF01."
  }

  validation {
    condition     = var.budget == null ? true : var.budget.amount >= 1 && floor(var.budget.amount) == var.budget.amount
    error_message = "budget: amount is a whole number of at least 1."
  }

  validation {
    condition     = var.budget == null ? true : var.budget.currency == null || can(regex("^[A-Z]{3}$", var.budget.currency))
    error_message = "budget: currency is three capital letters, such as BRL, and the billing account's own; null takes that one."
  }
}

variable "github_repository" {
  description = "OWNER/REPOSITORY on GitHub whose workflows may push an image and deploy it, without a key. Null: none."
  type        = string
  default     = null

  validation {
    condition     = var.github_repository == null ? true : can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", var.github_repository))
    error_message = "github_repository is OWNER/REPOSITORY, or null."
  }
}

variable "github_owner_id" {
  description = <<-EOT
    The number of the repository's owner, which, unlike a name, nobody else can register. Set it with github_repository:
    `gh api repos/OWNER/REPOSITORY --jq .owner.id`.
  EOT
  type        = string
  default     = null

  validation {
    condition     = var.github_owner_id == null ? true : can(regex("^[0-9]+$", var.github_owner_id))
    error_message = "github_owner_id is the owner's number, such as 9919, or null."
  }
}

variable "github_ref" {
  description = "The only ref whose workflows may deploy. A pull request from a fork runs on another ref."
  type        = string
  default     = "refs/heads/main"
  nullable    = false

  validation {
    condition     = can(regex("^refs/(heads|tags)/[A-Za-z0-9._/-]+$", var.github_ref))
    error_message = "github_ref is a full ref, such as refs/heads/main."
  }
}

variable "state_bucket" {
  description = "Bucket of Terraform's state, which the deploying workflow may then read and write. Ignored if github_repository is null."
  type        = string
  default     = null

  validation {
    condition     = var.state_bucket == null ? true : can(regex("^[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]$", var.state_bucket))
    error_message = "state_bucket is a bucket's name without gs://, or null."
  }
}
