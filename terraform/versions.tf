# This folder can be applied directly as the root module. It has no provider block, so that it can also be called as a
# module (examples/): every resource sets its own project and location.
terraform {
  # 1.11: the tests use mocked values at plan time.
  required_version = ">= 1.11"

  required_providers {
    google = {
      source = "hashicorp/google"
      # 7.45: earlier versions removed the dataset's grants when a label changed.
      version = ">= 7.45, < 8"
    }
  }

  # terraform init -backend-config=bucket=BUCKET -backend-config=prefix=NAME: a state on a local disk would diverge
  # from the one that the workflow uses.
  backend "gcs" {}
}
