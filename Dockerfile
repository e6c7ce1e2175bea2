# The image of every process of the demo application; which one it is, its command says.
# Two stages: what builds is not in what runs. Every dependency is pinned with its hash by requirements.lock.

FROM python:3.13.7-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/sagas
WORKDIR /src
COPY requirements.lock ./
RUN /opt/sagas/bin/python -m pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY sagas ./sagas
RUN /opt/sagas/bin/python -m pip install --no-deps --no-build-isolation .
# The lock pins what the tests need as well; what runs does without.
RUN /opt/sagas/bin/python -m pip uninstall --yes apsw execnet hypothesis pytest pytest-xdist

FROM python:3.13.7-slim-bookworm
RUN groupadd --gid 10001 sagas \
    && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin sagas \
    && install --directory --owner 10001 --group 10001 --mode 0700 /data
COPY --from=build /opt/sagas /opt/sagas
# The demo application is not part of the package: its folder stands beside it.
COPY services /opt/demo/services
ENV PATH=/opt/sagas/bin:$PATH PYTHONPATH=/opt/demo PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 SAGAS_DATA=/data
WORKDIR /data
VOLUME /data
USER 10001:10001
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:9100/health/ready', timeout=2)"]
CMD ["sagas", "--help"]
