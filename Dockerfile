# The service's image: a single binary on a base without shell and package manager.
# Works with any builder (docker build, Cloud Build's docker, buildah). BuildKit is not needed.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src

# Builds the dependencies with an empty crate, so that this layer is rebuilt only when a Cargo file changes.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src && echo 'fn main() {}' > src/main.rs && touch src/lib.rs \
    && cargo build --release --locked --no-default-features

# Leaves out the feature `local`: SQLite and the demo are for local use.
# touch: cargo compares modification times, and the files may be older than the empty crate.
COPY terraform/schemas terraform/schemas
COPY src src
ARG COMMIT=""
RUN touch src/lib.rs src/main.rs \
    && SPOTIFY_BQ_COMMIT="$COMMIT" cargo build --release --locked --no-default-features \
    && target/release/spotify-bq --version > version \
    && grep -q '^spotify-bq ' version

FROM gcr.io/distroless/cc-debian12:nonroot
# checkov:skip=CKV_DOCKER_2:Cloud Run asks GET /health itself and takes no HEALTHCHECK; the image has no shell to run one with
ARG COMMIT=""
LABEL org.opencontainers.image.title="spotify-bq" \
      org.opencontainers.image.revision="$COMMIT"
COPY --from=build /src/target/release/spotify-bq /usr/local/bin/spotify-bq
# A numeric user lets a cluster verify that it is not root.
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/spotify-bq"]
