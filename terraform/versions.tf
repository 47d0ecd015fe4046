# Applied as it stands, this folder is the root module. It holds no provider block, so that it can also be called as a
# module (examples/): every resource names its project and its place itself.
terraform {
  # 1.11: the tests give mocked values already at plan time.
  required_version = ">= 1.11"

  required_providers {
    google = {
      source = "hashicorp/google"
      # 7.45: before it, a changed label of the dataset removed its grants.
      version = ">= 7.45, < 8"
    }
  }

  # terraform init -backend-config=bucket=BUCKET -backend-config=prefix=NAME: on a laptop's disk the state would part
  # from the one that a deploying workflow has.
  backend "gcs" {}
}
