# syntax=docker/dockerfile:1.7
# The whole program: one image for every role, on amd64 and arm64.
#   docker buildx build --platform linux/amd64,linux/arm64 --build-arg VERSION=0.1.0 --build-arg REVISION=$(git rev-parse HEAD) -t millrace:0.1.0 .
# test/src/deploy/image.live.test.ts does the steps of the stage "build" without a container engine.

FROM node:20.20.2-bookworm-slim AS build
ENV CI=true
RUN npm install --global pnpm@12.21.0
WORKDIR /build
# What is fetched depends on the lockfile alone: a change of the source fetches nothing again.
COPY pnpm-lock.yaml pnpm-workspace.yaml ./
RUN --mount=type=cache,target=/root/.local/share/pnpm/store pnpm fetch
COPY . .
RUN --mount=type=cache,target=/root/.local/share/pnpm/store pnpm install --offline --frozen-lockfile
RUN pnpm exec tsc -b app
# From here on only what runs: packages that the app's rooms need, JavaScript, licences.
RUN --mount=type=cache,target=/root/.local/share/pnpm/store \
    find . -name node_modules -prune -exec rm -rf {} + \
    && pnpm install --offline --frozen-lockfile --prod --filter '@millrace/app...'
RUN find . -name node_modules -prune -o -type f \( -path '*/src/*' -o -name '*.ts' -o -name '*.map' -o -name '*.tsbuildinfo' \
    -o -name 'tsconfig*.json' -o -name '*.test.js' -o -name '*.bench.js' \) ! -name 'NOTICE*' -exec rm {} + \
    && find . -name node_modules -prune -o -type d -empty -exec rmdir -p --ignore-fail-on-non-empty {} +

FROM node:20.20.2-bookworm-slim
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Millrace" \
      org.opencontainers.image.description="IoT data platform: devices in by any protocol, a durable log, exactly-once readings in ClickHouse" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# A user with a name: PostgreSQL's initdb asks for it.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /data --shell /usr/sbin/nologin millrace \
    && install -d -m 0700 -o millrace -g millrace /data \
    && install -d -m 0755 /etc/millrace
COPY --from=build /build /opt/millrace
ENV NODE_ENV=production \
    MILLRACE_DATA_DIR=/data \
    MILLRACE_HOST=0.0.0.0
# All that is ever written lies in /data and /tmp: the root may be read-only.
VOLUME /data
# A millrace.toml that is mounted here is read.
WORKDIR /etc/millrace
USER 10001:10001
EXPOSE 8080/tcp 1883/tcp 8883/tcp 5683/udp 5684/udp
HEALTHCHECK --interval=10s --timeout=6s --start-period=120s --retries=3 \
    CMD ["node", "/opt/millrace/deploy/docker/healthy.mjs"]
# Node is process 1: it has handlers of SIGTERM and SIGINT, and drains.
ENTRYPOINT ["node", "/opt/millrace/app/bin/millrace.cjs"]
CMD ["start"]
