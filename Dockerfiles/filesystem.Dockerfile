# scripts/build && docker build --file Dockerfiles/filesystem.Dockerfile --tag mcp-bulkhead-filesystem dist
#
# The context is dist/ alone: wheels of ours, and the part of requirements.lock that this server needs at run time, hash by hash.
# All Dockerfiles here are equal but for the server's name (a wall test).
ARG PYTHON=3.13
FROM python:${PYTHON}-slim AS build
COPY . /dist
RUN python -m venv /opt/bulkhead \
    && /opt/bulkhead/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r /dist/mcp-bulkhead-filesystem.lock \
    && /opt/bulkhead/bin/pip install --no-cache-dir --no-deps --no-index --find-links /dist mcp-bulkhead mcp-bulkhead-filesystem \
    && /opt/bulkhead/bin/pip uninstall --yes pip

FROM python:${PYTHON}-slim
LABEL io.modelcontextprotocol.server.name="io.github.mcp-bulkhead/filesystem" \
      org.opencontainers.image.title="mcp-bulkhead-filesystem" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/bulkhead /opt/bulkhead
# Runs with --read-only: bytecode is compiled in the build stage or not at all, and state has one place that may be a volume.
ENV PATH=/opt/bulkhead/bin:$PATH PYTHONDONTWRITEBYTECODE=1 XDG_STATE_HOME=/state
RUN useradd --system --uid 10001 --no-create-home bulkhead && install -d -o bulkhead -g bulkhead -m 0700 /state
USER 10001
VOLUME /state
WORKDIR /state
# No HEALTHCHECK: over stdio the client is the watcher, and over HTTP /healthz is there for the orchestrator.
ENTRYPOINT ["mcp-bulkhead-filesystem"]
