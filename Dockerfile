# One image for every process of the shop: bot, worker, migrate, backup, and all other commands.
#
#   docker build -t neurocards .
#
# BASE is any Debian-like image with Python 3.11 or newer and its venv. To build the very same image again later,
# name it with its digest: --build-arg BASE=python:3.13-slim-bookworm@sha256:...
ARG BASE=python:3.13-slim-bookworm

FROM ${BASE} AS packages
WORKDIR /opt/neurocards
COPY requirements-run.lock ./
# What is installed is known byte by byte, and nothing is built. pip stays behind: nobody installs anything later.
RUN python3 -m venv /tmp/pip \
    && python3 -m venv --without-pip venv \
    && /tmp/pip/bin/pip --python venv/bin/python install --no-cache-dir --disable-pip-version-check \
        --require-hashes --only-binary :all: -r requirements-run.lock \
    && rm -rf /tmp/pip
COPY src src
# The file system of a container is read-only, so compiled modules come along.
RUN venv/bin/python -m compileall -q src

FROM ${BASE}
RUN groupadd --gid 10001 neurocards \
    && useradd --uid 10001 --gid 10001 --home-dir /var/lib/neurocards --no-create-home --shell /usr/sbin/nologin \
        neurocards \
    && install -d -m 0750 -o 10001 -g 10001 /var/lib/neurocards
COPY --from=packages /opt/neurocards /opt/neurocards
ENV PATH=/opt/neurocards/venv/bin:$PATH \
    PYTHONPATH=/opt/neurocards/src \
    PYTHONSAFEPATH=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    NEUROCARDS_HOME=/var/lib/neurocards \
    LOG_FORMAT=json \
    HTTP_HOST=0.0.0.0 \
    OPS_HOST=0.0.0.0 \
    OPS_PORT=9464
WORKDIR /var/lib/neurocards
USER 10001:10001
# Bot and worker both answer here. A process that drains or waits for its database is alive: only one that is stuck
# is not.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=4 CMD ["python", "-c", \
    "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['OPS_PORT'] + '/livez', timeout=4)"]
ENTRYPOINT ["python", "-m", "neurocards"]
CMD ["--help"]
