# shellcheck shell=bash
# Finds the image by a hash of its sources, builds it, or takes it from a release. Source lib.sh first.

# The build's inputs: what .dockerignore admits, and the build's own files.
image_sources="Cargo.toml Cargo.lock Dockerfile .dockerignore src terraform/schemas"

sha256() {
  if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi
}

# Prints a tag made from the sources, so that an unchanged tree finds its image and builds nothing.
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

# Prints the digest of a tag, or nothing if the tag does not exist. Uses `list` because `images describe` also calls
# Container Analysis where that is enabled, and fails without its role. A refused call ends the step.
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
  # Cloud Run runs amd64 and takes a single image, not an index with attestations.
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
    [[ $digest == sha256:* ]] || fail "The registry does not list $images:$tag, which was just built." \
      "List its images: gcloud artifacts docker images list $images --include-tags"
  fi
  image=$images@$digest
  say "$image"
}

# Prints OWNER/NAME on GitHub, from Cargo.toml.
home() {
  awk -F '"' '/^repository = "https:\/\/github.com\// { sub("https://github.com/", "", $2); print $2; exit }' "$repository/Cargo.toml"
}

# Verifies who built an image from GHCR. Images in your own registry are not checked.
check_attestation() {
  local source
  source=$(home)
  # Without a public home in Cargo.toml, the image's own name is all there is to compare with.
  [[ -n $source && $source != OWNER/* ]] || { source=${image#ghcr.io/}; source=${source%@*}; }
  if command -v gh >/dev/null && gh auth status >/dev/null 2>&1; then
    gh attestation verify "oci://$image" --repo "$source" >/dev/null ||
      fail "$image has no valid attestation of $source." "Nothing was deployed. Take an image of https://github.com/$source/releases, or build your own: leave out --image."
    say "$image was built by the release workflow of $source."
  else
    say "The image's builder was not verified: that needs the GitHub CLI with a login. To verify: gh attestation verify oci://$image --repo $source"
  fi
}
