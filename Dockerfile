# One image for both processes and for migrate: `outbox-service`, `outbox-relay …`.
FROM python:3.13-slim AS wheel
WORKDIR /src
COPY pyproject.toml README.md ./
COPY service service
COPY relay relay
COPY sql sql
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheel .

FROM python:3.13-slim
ENV PYTHONUNBUFFERED=1
COPY requirements.runtime.lock /tmp/
RUN pip install --no-cache-dir --require-hashes -r /tmp/requirements.runtime.lock \
    && useradd --system --no-create-home outbox
COPY --from=wheel /wheel /tmp/wheel
RUN pip install --no-cache-dir --no-deps /tmp/wheel/*.whl && rm -r /tmp/wheel
USER outbox
CMD ["outbox-relay", "run"]
