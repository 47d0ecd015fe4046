# The service's image: one binary on a base with neither shell nor package manager.
# Any builder will do (docker build, Cloud Build's docker, buildah); nothing here needs BuildKit.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src

# The dependencies alone, with an empty crate in the code's place: this layer is built again only when a Cargo file changes.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src && echo 'fn main() {}' > src/main.rs && touch src/lib.rs \
    && cargo build --release --locked --no-default-features

# Without the feature `local`: SQLite and the demo are for one's own machine.
# touch: the files may be older than the empty crate built above, and cargo goes by time.
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
# By number, so that a cluster can see that it is not root.
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/spotify-bq"]
