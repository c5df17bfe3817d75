# Three stages: everything is built in the first; the second runs it and holds no compiler; the third adds one for GPUs.

FROM python:3.11-slim AS build
RUN apt-get update \
 && apt-get install --yes --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*
RUN python -m venv /app
ENV PATH=/app/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
# Torch first: its layer outlives every change of ours. Empty TORCH_INDEX: the ordinary index alone.
ARG TORCH_INDEX=
COPY constraints.txt ./
RUN pip install -c constraints.txt ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} torch
COPY pyproject.toml setup.py README.md LICENSE ./
COPY clipcore clipcore
COPY server server
COPY web web
RUN pip install -c constraints.txt '.[server]' && cd / && python -c 'import clipcore.kernels._cpu'

FROM python:3.11-slim AS cpu
RUN useradd --uid 10001 --create-home clipcore && install -d -o clipcore -g clipcore /data
COPY --from=build /app /app
ENV PATH=/app/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    CLIPCORE_HOST=0.0.0.0 \
    CLIPCORE_DATA_DIR=/data \
    CLIPCORE_AUTOSTART=charlm
USER clipcore
WORKDIR /home/clipcore
VOLUME /data
EXPOSE 8420
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8420/readyz', timeout=2)"]
CMD ["clipcore", "serve"]

# Triton compiles its driver stub when it first runs, so a GPU needs a C compiler beside it.
FROM cpu AS gpu
USER root
RUN apt-get update \
 && apt-get install --yes --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*
USER clipcore
