# The recorder's container, for those who have an engine; `ops image` makes the same without one.
#   docker build --file infra/capture.Dockerfile --tag stream-capture .
FROM rust:1.94.1-alpine AS build
RUN apk add --no-cache build-base ca-certificates cmake perl
WORKDIR /src
COPY . .
RUN cargo build --locked --release --package stream-capture

# Nothing else is in it: no shell, no libraries, nobody who may write.
FROM scratch
COPY --from=build --chmod=444 /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build --chmod=555 /src/target/release/stream-capture /stream-capture
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 65532:65532
STOPSIGNAL SIGTERM
ENTRYPOINT ["/stream-capture"]
