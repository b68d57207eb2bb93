# syntax=docker/dockerfile:1
# The image: the plain install and what feeds it (no torch, no embedded broker), in a virtual environment, run by nobody in particular.

FROM python:3.13-slim AS build
WORKDIR /src
RUN python -m venv --without-pip /opt/fewnerd-stream

# What it depends on, in a layer of its own: a change of the code installs none of it again.
COPY pyproject.toml constraints.txt ./
RUN python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
        print(*p['dependencies'], *p['optional-dependencies']['live'], sep='\n')" > requirements.txt \
    && pip --python /opt/fewnerd-stream/bin/python install --no-cache-dir \
        --constraint constraints.txt --requirement requirements.txt

COPY README.md LICENSE NOTICE ./
COPY agents agents
COPY fewnerd_stream fewnerd_stream
COPY model model
RUN pip --python /opt/fewnerd-stream/bin/python install --no-cache-dir --no-deps .


FROM python:3.13-slim
RUN apt-get update \
    && apt-get install --no-install-recommends --yes tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin fewnerd
COPY --from=build /opt/fewnerd-stream /opt/fewnerd-stream
ENV PATH=/opt/fewnerd-stream/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    FEWNERD_HTTP=0.0.0.0:9464
# /metrics, /live and /ready.
EXPOSE 9464
USER 10001:10001
WORKDIR /tmp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["fewnerd-stream", "health"]
# tini passes SIGTERM on from the first moment; Python as process 1 would ignore it until a worker listens for it.
ENTRYPOINT ["tini", "--", "fewnerd-stream"]
CMD ["worker"]
