# shellcheck shell=bash
# The image: found by what it is built from, built, or taken from a release. Comes after lib.sh.

# What .dockerignore lets in, and what says how it is built.
image_sources="Cargo.toml Cargo.lock Dockerfile .dockerignore src terraform/schemas"

sha256() {
  if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi
}

# Names an image by what it is built from, so that a run that finds it there builds nothing and so changes nothing.
source_tag() {
  (
    cd "$repository"
    # shellcheck disable=SC2086 # a list
    find $image_sources -type f | LC_ALL=C sort | while read -r file; do
      printf '%s\n' "$file"
      sha256 <"$file"
    done
  ) | sha256 | cut -c 1-16
}

commit() {
  local commit
  commit=$(git -C "$repository" rev-parse --short HEAD 2>/dev/null) || return 0
  # shellcheck disable=SC2086 # a list
  [[ -z $(git -C "$repository" status --porcelain -- $image_sources 2>/dev/null) ]] || commit=$commit-changed
  printf '%s' "$commit"
}

# The digest behind a tag; nothing if there is no such tag. `images describe` would ask Container Analysis, where that is
# on, and fail without its role. A refusal is no answer, so it ends the step.
digest_of() { # REPOSITORY TAG
  patiently gcloud artifacts docker images list "$1" --include-tags --filter="tags:$2" --format='value(version)'
}

build_in_cloud() { # IMAGE:TAG
  local builds_as source
  builds_as=$(tf output -raw build_service_account)
  source=$(tf output -raw build_source)
  say "Cloud Build takes about ten minutes."
  patiently gcloud builds submit "$repository" --config="$here/cloudbuild.yaml" --ignore-file=.dockerignore \
    --service-account="$builds_as" --gcs-source-staging-dir="$source" \
    --substitutions="_IMAGE=$1,_COMMIT=$(commit)" --suppress-logs --format=none
}

build_with_docker() { # IMAGE:TAG
  needs docker "Install it, or leave out --local-docker to build with Cloud Build."
  gcloud auth print-access-token |
    docker login --username=oauth2accesstoken --password-stdin "https://${1%%/*}" >/dev/null
  # Cloud Run runs amd64, whatever this machine is; it takes one image, not an index with attestations in it.
  BUILDX_NO_DEFAULT_ATTESTATIONS=1 docker build --platform=linux/amd64 --build-arg="COMMIT=$(commit)" --tag="$1" "$repository"
  docker push "$1"
}

find_or_build_image() {
  local images tag digest=""
  images=$(tf output -raw image_repository)
  tag=$(source_tag)
  if ! $rebuild; then digest=$(digest_of "$images" "$tag"); fi
  if [[ -z $digest ]]; then
    if [[ $builder == docker ]]; then build_with_docker "$images:$tag"; else build_in_cloud "$images:$tag"; fi
    digest=$(digest_of "$images" "$tag")
    [[ $digest == sha256:* ]] || fail "The registry does not know $images:$tag, which was just built." \
      "See what it has: gcloud artifacts docker images list $images --include-tags"
  fi
  image=$images@$digest
  say "$image"
}

# OWNER/NAME on GitHub: Cargo.toml is the one place that says it.
home() {
  awk -F '"' '/^repository = "https:\/\/github.com\// { sub("https://github.com/", "", $2); print $2; exit }' "$repository/Cargo.toml"
}

# Verifies who built an image of GHCR. One of your own registry is your own.
check_attestation() {
  local source
  source=$(home)
  # No public home yet, or a fork that has not said its own: then the image's own name is all there is to go by.
  [[ -n $source && $source != OWNER/* ]] || { source=${image#ghcr.io/}; source=${source%@*}; }
  if command -v gh >/dev/null && gh auth status >/dev/null 2>&1; then
    gh attestation verify "oci://$image" --repo "$source" >/dev/null ||
      fail "$image has no valid attestation of $source." "Nothing was deployed. Take an image of https://github.com/$source/releases, or build your own: leave out --image."
    say "$image was built by the release workflow of $source."
  else
    say "Not verified who built this image, which needs the GitHub CLI with a login: gh attestation verify oci://$image --repo $source"
  fi
}
