# Dataset and the configured term's tables. Those of other terms the service makes, from the same schemas.
#
# What exists already can be brought in instead of being left alone (create_dataset, create_tables): set dataset_id,
# bigquery_location and tables to what is there, then, before the first apply,
#   terraform import 'google_bigquery_dataset.this[0]' projects/PROJECT/datasets/DATASET
#   terraform import 'google_bigquery_table.this["podcasts"]' projects/PROJECT/datasets/DATASET/tables/TABLE
# and read the plan: a table whose columns differ would be replaced, which deletion_protection refuses.

locals {
  tables = {
    for kind, table in jsondecode(file("${path.module}/schemas/tables.json")) : kind => {
      id          = var.tables[kind]
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
  description                = "Podcasts do Spotify, lidos pelo serviço ${var.name}: cada carga substitui uma tabela inteira."
  labels                     = local.labels
  delete_contents_on_destroy = !var.deletion_protection
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

  schema = jsonencode([
    for column in each.value.columns : merge(column, {
      for key, tag in { policyTags = try(var.column_policy_tags[each.key][column.name], null) } : key => { names = [tag] } if tag != null
    })
  ])
}

# Also for making other terms' tables, and for reading the dataset's location.
resource "google_bigquery_dataset_iam_member" "runtime" {
  project    = local.project
  dataset_id = local.dataset_id
  role       = "roles/bigquery.dataEditor"
  member     = google_service_account.runtime.member
}
