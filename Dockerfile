# The image of compose.yaml: libraries and the command. Code, settings and data are the project, mounted at /project.
FROM python:3.12-slim
RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*
WORKDIR /project
COPY requirements.lock requirements-uv.lock ./
RUN python -m pip install --no-cache-dir --require-hashes -r requirements-uv.lock \
 && uv pip install --system --no-cache --require-hashes --compile-bytecode -r requirements.lock
COPY pyproject.toml README.md ./
COPY flows flows
COPY tasks tasks
# editable: at run time the mounted project's own code is what runs
RUN uv pip install --system --no-deps --no-cache --editable .
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
CMD ["understudy", "--help"]
