# The base image is an argument, so that a site can name its own mirror or distribution.
ARG BASE_IMAGE=python:3.13-slim-bookworm

FROM ${BASE_IMAGE} AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY config config
COPY probes probes
COPY actions actions
COPY monitor monitor
RUN python3 -m venv /opt/certvigil \
    && /opt/certvigil/bin/pip install --no-cache-dir .

FROM ${BASE_IMAGE}
RUN useradd --system --uid 65532 --home-dir /var/lib/certvigil --shell /usr/sbin/nologin certvigil \
    && install -d -o certvigil -g certvigil -m 0700 /var/lib/certvigil \
    && install -d -o certvigil -g certvigil -m 0755 /run/certvigil
COPY --from=build /opt/certvigil /opt/certvigil
ENV PATH=/opt/certvigil/bin:$PATH PYTHONUNBUFFERED=1
USER certvigil
VOLUME /var/lib/certvigil
EXPOSE 9790
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["certvigil", "status", "--healthy"]
ENTRYPOINT ["certvigil"]
CMD ["run", "--config", "/etc/certvigil", "--log-format", "json"]
