# The router as an image: `docker build --tag modelway .`, with BuildKit.

FROM docker.io/library/rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
# The caches survive between builds on one machine and never get into the image; that is why the
# program is copied out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin modelway \
    && cp target/release/modelway /modelway

# glibc, libgcc (a panic of one request unwinds through it), CA certificates, time zones, and a user
# without rights; no shell, no package manager. Not `scratch` with a static musl build: musl's
# allocator and resolver are slower under many threads, and its resolver differs from what operators
# of clusters know. Same Debian as the build stage, hence the same glibc.
FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="modelway" \
      org.opencontainers.image.description="An inference router for Kubernetes and for one machine" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /modelway /modelway
# By number, so that Kubernetes can see for itself that it is not root (`runAsNonRoot`).
USER 65532:65532
# HTTP, HTTPS, admin (health, metrics), router to router.
EXPOSE 8080 8443 9001 9002
ENTRYPOINT ["/modelway"]
CMD ["serve"]
