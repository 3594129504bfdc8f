# The gateway as a container image: make image
# The base is named by tag. Pin it by digest where images must be the same tomorrow.
ARG BASE=python:3.13-slim

FROM ${BASE} AS builder
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/gateway
COPY requirements.lock /src/
RUN /opt/gateway/bin/pip install --require-hashes --only-binary :all: -r /src/requirements.lock
COPY pyproject.toml README.md LICENSE /src/
COPY gateway /src/gateway
RUN pip wheel --no-deps --wheel-dir /wheel /src \
    && /opt/gateway/bin/pip install --no-deps /wheel/*.whl \
    && /opt/gateway/bin/python -m compileall -q /opt/gateway/lib

FROM ${BASE}
LABEL org.opencontainers.image.title="DICOMweb gateway" \
      org.opencontainers.image.licenses="Apache-2.0"
# Nothing is written at run time: the image works with a read-only file system and a /tmp.
ENV PATH=/opt/gateway/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
COPY --from=builder /opt/gateway /opt/gateway
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
# Alive, not ready: a container whose archives are down must not be restarted for it.
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; port = os.environ.get('GATEWAY__SERVER__PORT', '8080'); u.urlopen(f'http://127.0.0.1:{port}/health/live', timeout=2)"]
ENTRYPOINT ["gateway"]
CMD ["serve", "--config", "/etc/gateway/gateway.yaml"]
