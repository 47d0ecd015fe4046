# Variables about what is read from Spotify and where it is stored in BigQuery.

variable "dataset_id" {
  description = "The BigQuery dataset. Ids are case-sensitive: Spotify_podcasts is another dataset than spotify_podcasts."
  type        = string
  default     = "spotify_podcasts"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_]+$", var.dataset_id)) && length(var.dataset_id) <= 1024
    error_message = "dataset_id has at most 1,024 letters, digits and _, without the project."
  }
}

variable "bigquery_location" {
  description = <<-EOT
    Location of a new dataset, which can't be changed later. US is where BigQuery runs a query that names no location, and
    where most older datasets are. Ignored if create_dataset is false: the service asks BigQuery where the dataset is.
  EOT
  type        = string
  default     = "US"
  nullable    = false

  validation {
    condition     = can(regex("^(US|EU|[a-z]+-[a-z]+[0-9]{1,2})$", var.bigquery_location))
    error_message = "bigquery_location is US, EU or a region such as southamerica-east1."
  }
}

variable "create_dataset" {
  description = "False if the dataset already exists and is managed elsewhere: the service uses it, and Terraform neither changes nor destroys it."
  type        = bool
  default     = true
  nullable    = false
}

variable "create_tables" {
  description = "False if the three tables already exist and Terraform should not manage them: the service replaces their rows. Their columns must match schemas/."
  type        = bool
  default     = true
  nullable    = false
}

variable "tables" {
  description = <<-EOT
    The configured term's tables, by kind; an omitted name is the default one, so {} means the three default names. Null:
    the default names if search_term is the default; otherwise the service names and creates the tables (podcasts_TERM
    and so on), as it does for all other terms.
  EOT
  type = object({
    podcasts = optional(string, "tb_datahackers_limitada")
    episodes = optional(string, "tb_datahackers_episodios_total")
    mentions = optional(string, "tb_datahackers_episodios_boticario")
  })
  default = null

  validation {
    condition     = var.tables == null ? true : alltrue([for id in values(var.tables) : can(regex("^[A-Za-z0-9_]+$", id)) && length(id) <= 1024])
    error_message = "tables: a table's name has at most 1,024 letters, digits and _, without project and dataset."
  }

  validation {
    condition     = var.tables == null ? true : length(distinct([for name in values(var.tables) : lower(name)])) == 3
    error_message = "tables: the three names must differ by more than case, since each load replaces its whole table."
  }
}

variable "column_policy_tags" {
  description = "Policy tags: kind of table → column → tag. Terraform owns the columns, so the next apply removes a tag that was attached by hand. Loads keep tags."
  type        = map(map(string))
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for kind in keys(var.column_policy_tags) : contains(["podcasts", "episodes", "mentions"], kind)])
    error_message = "column_policy_tags: the kinds are podcasts, episodes and mentions."
  }

  validation {
    condition     = length(flatten([for columns in values(var.column_policy_tags) : keys(columns)])) == 0 || (var.create_tables && local.table_ids != null)
    error_message = "column_policy_tags need tables that Terraform creates: set tables (with a search_term of your own, the service creates them otherwise), and leave create_tables true."
  }

  validation {
    condition = alltrue([
      for tag in flatten([for columns in values(var.column_policy_tags) : values(columns)]) :
      can(regex("^projects/[^/]+/locations/[^/]+/taxonomies/[^/]+/policyTags/[^/]+$", tag))
    ])
    error_message = "column_policy_tags: a tag is projects/PROJECT/locations/LOCATION/taxonomies/ID/policyTags/ID."
  }
}

variable "search_term" {
  description = "The configured term, used by messages that name no term. If it is not the default, its tables are named after it unless `tables` is set."
  type        = string
  default     = "data hackers"
  nullable    = false

  validation {
    condition = (
      length(regexall("(?s).", trimspace(var.search_term))) <= 100 && can(regex("[\\p{L}\\p{N}]", var.search_term)) &&
      !can(regex("\\p{Cc}", trimspace(var.search_term)))
    )
    error_message = "search_term has 1 to 100 characters, at least one letter or digit of any script, and no control character."
  }
}

variable "mention" {
  description = "Phrases that make an episode a mention if its name or description contains one of them: up to 20, separated by `|`."
  type        = string
  default     = "Grupo Boticário"
  nullable    = false

  validation {
    condition = length(split("|", var.mention)) <= 20 && alltrue([
      for phrase in split("|", var.mention) : (
        trimspace(phrase) != "" && length(regexall("(?s).", trimspace(phrase))) <= 100 && !can(regex("\\p{Cc}", trimspace(phrase)))
      )
    ])
    error_message = "mention is 1 to 20 phrases separated by |, each of 1 to 100 characters, none blank and none with a control character."
  }
}

variable "market" {
  description = "Country whose catalog is read. Without one, Spotify answers an app with nulls only."
  type        = string
  default     = "BR"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Z]{2}$", var.market))
    error_message = "market is a country's two capital letters (ISO 3166-1), such as BR."
  }
}

variable "search_page_size" {
  description = "Shows per search call. Above 10, Spotify answers 400 to an app in Development Mode; with Extended Quota, 50 saves calls. The result is the same."
  type        = number
  default     = 10
  nullable    = false

  validation {
    condition     = var.search_page_size >= 1 && var.search_page_size <= 50 && floor(var.search_page_size) == var.search_page_size
    error_message = "search_page_size is a whole number from 1 to 50 (at most 10 for an app in Development Mode)."
  }
}

variable "spotify_concurrent_calls" {
  description = "Concurrent calls to Spotify; null is the service's own default."
  type        = number
  default     = null

  validation {
    condition     = var.spotify_concurrent_calls == null ? true : var.spotify_concurrent_calls >= 1 && var.spotify_concurrent_calls <= 50 && floor(var.spotify_concurrent_calls) == var.spotify_concurrent_calls
    error_message = "spotify_concurrent_calls is a whole number from 1 to 50, or null."
  }
}

variable "credentials_secret" {
  description = "Secret that holds the Spotify app's {\"client_id\",\"client_secret\"}. Terraform creates the secret without a value, so the value is never in the state."
  type        = string
  default     = "spotify-credentials"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,255}$", var.credentials_secret))
    error_message = "credentials_secret is the secret's id: letters, digits, _ and -, at most 255."
  }
}
