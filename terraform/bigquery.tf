# Dataset and the configured term's tables. The service creates all other tables, from the same schemas: those of other
# terms, and those of the configured term if it is not the default one and `tables` is null.
#
# To import an existing dataset and tables, set dataset_id, bigquery_location and tables to match them. Then, before the
# first apply:
#   terraform import 'google_bigquery_dataset.this[0]' projects/PROJECT/datasets/DATASET
#   terraform import 'google_bigquery_table.this["podcasts"]' projects/PROJECT/datasets/DATASET/tables/TABLE
# and check the plan: a table with other columns would be replaced, which deletion_protection refuses.
# To leave them unmanaged instead, set create_dataset and create_tables to false.

locals {
  # Only the default term has these names. Tables of any other term are named after the term.
  default_term = "data hackers"
  old_table_ids = {
    podcasts = "tb_datahackers_limitada"
    episodes = "tb_datahackers_episodios_total"
    mentions = "tb_datahackers_episodios_boticario"
  }

  # The service also folds accents when it compares terms, which Terraform cannot. If only that differs, the service still
  # uses the old names, and creates those tables itself.
  term = join(" ", regexall("[^\\s\\p{Z}]+", lower(var.search_term)))

  # Null: the service names and creates the configured term's tables.
  table_ids = var.tables != null ? var.tables : local.term == local.default_term ? local.old_table_ids : null

  # The slug as the service computes it (Term::slug), where that needs neither folding nor a hash. Otherwise null.
  slug = can(regex("^[a-z0-9]+( [a-z0-9]+)*$", local.term)) && !can(regex(" [0-9a-f]{8}$", local.term)) ? replace(local.term, " ", "_") : null

  tables = local.table_ids == null ? {} : {
    for kind, table in jsondecode(file("${path.module}/schemas/tables.json")) : kind => {
      id          = local.table_ids[kind]
      description = table.description
      columns     = jsondecode(file("${path.module}/schemas/${table.schema}"))
    }
  }
}

resource "google_bigquery_dataset" "this" {
  count = var.create_dataset ? 1 : 0

  project                    = local.project
  dataset_id                 = var.dataset_id
  location                   = var.bigquery_location
  description                = "Dados de podcasts do Spotify, carregados pelo serviço ${var.name}. Cada carga substitui a tabela inteira."
  labels                     = local.labels
  delete_contents_on_destroy = !var.deletion_protection

  # Also the key of the tables that the service creates.
  dynamic "default_encryption_configuration" {
    for_each = var.kms_key[*]

    content {
      kms_key_name = default_encryption_configuration.value
    }
  }
}

locals {
  dataset_id = var.create_dataset ? google_bigquery_dataset.this[0].dataset_id : var.dataset_id
}

resource "google_bigquery_table" "this" {
  for_each = var.create_tables ? local.tables : {}

  project             = local.project
  dataset_id          = local.dataset_id
  table_id            = each.value.id
  description         = each.value.description
  deletion_protection = var.deletion_protection
  labels              = merge(local.labels, { kind = each.key })

  # A dataset that Terraform does not manage keeps its own default.
  dynamic "encryption_configuration" {
    for_each = var.create_dataset ? var.kms_key[*] : []

    content {
      kms_key_name = encryption_configuration.value
    }
  }

  schema = jsonencode([
    for column in each.value.columns : merge(column, {
      for key, tag in { policyTags = try(var.column_policy_tags[each.key][column.name], null) } : key => { names = [tag] } if tag != null
    })
  ])
}

# Also lets the service create other terms' tables and read the dataset's location.
resource "google_bigquery_dataset_iam_member" "runtime" {
  project    = local.project
  dataset_id = local.dataset_id
  role       = "roles/bigquery.dataEditor"
  member     = google_service_account.runtime.member
}
