# One image for both processes and for migrate: `outbox-service`, `outbox-relay …`.
ARG PYTHON=python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b

FROM ${PYTHON} AS wheel
WORKDIR /src
COPY requirements.build.lock ./
RUN pip install --no-cache-dir --require-hashes -r requirements.build.lock
COPY pyproject.toml README.md LICENSE ./
COPY service service
COPY relay relay
COPY catalogue catalogue
COPY sql sql
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheel .

FROM ${PYTHON}
ENV PYTHONUNBUFFERED=1
COPY requirements.runtime.lock /tmp/
RUN pip install --no-cache-dir --require-hashes -r /tmp/requirements.runtime.lock \
    && groupadd --gid 10001 outbox && useradd --uid 10001 --gid outbox --no-create-home outbox
COPY --from=wheel /wheel /tmp/wheel
RUN pip install --no-cache-dir --no-deps --no-index /tmp/wheel/*.whl && rm -r /tmp/wheel
# As a number: Kubernetes can't tell of a name that it is not root's.
USER 10001
CMD ["outbox-relay", "run"]
