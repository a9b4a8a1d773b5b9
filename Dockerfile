# A container with Remuda. Build: docker build -t remuda .
#
# Run it in the host's network: a relay sends from the addresses of the host, and behind a bridge every binding would leave
# from the one address of the NAT.
#
#   docker run -d --name remuda --network host --cap-drop ALL --security-opt no-new-privileges --read-only \
#     --stop-timeout 60 -v /etc/remuda:/etc/remuda:ro -v remuda:/var/lib/remuda remuda
#
# Listeners on ports below 1024 need --cap-add NET_BIND_SERVICE and a kernel or engine that lets the user have it, or
# --sysctl net.ipv4.ip_unprivileged_port_start where the network is the container's own. See docs/install.md.

FROM rust:1.95.0-bookworm AS build
WORKDIR /src
# Only what the program is made of: a change of documents or tests builds nothing anew.
COPY Cargo.toml Cargo.lock ./
COPY benches benches
COPY config config
COPY src src
RUN cargo build --release --locked --bin remuda

FROM debian:bookworm-slim
# Names of time zones for server.day; authorities for feeds and webhooks over HTTPS. Their versions are Debian's matter: a
# security update shall not break the build.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates tzdata \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 990 remuda \
    && useradd --system --uid 990 --gid remuda --home-dir /var/lib/remuda --shell /usr/sbin/nologin remuda \
    && install -d -o remuda -g remuda -m 700 /var/lib/remuda \
    && install -d -o root -g remuda -m 750 /etc/remuda
COPY --from=build /src/target/release/remuda /usr/bin/remuda
COPY LICENSE-APACHE LICENSE-MIT /usr/share/doc/remuda/
# By number, so that an engine which demands it sees that it is not root.
USER 990:990
VOLUME ["/var/lib/remuda"]
# It stops by itself within server.shutdown_grace.
STOPSIGNAL SIGTERM
# What /healthz says, over plain HTTP. Another admin.address needs another --health-cmd; where admin.tls is set, nothing in
# here speaks it: --no-healthcheck, and ask from outside.
HEALTHCHECK --interval=30s --timeout=5s --start-period=5m --retries=3 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8025 && printf 'GET /healthz HTTP/1.0\\r\\n\\r\\n' >&3 && read -r _ code _ <&3 && [ \"$code\" = 200 ]"]
ENTRYPOINT ["/usr/bin/remuda"]
CMD ["run", "--config", "/etc/remuda/remuda.toml"]
