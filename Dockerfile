# The command line as an image: deploykit with an nginx of its own.
#
#   docker build --tag deploykit .
#   docker build --tag deploykit --build-arg BASE=deploykit/python:3.11 .     # where no registry can be reached
#
# Wheels in a folder `wheels/` beside this file are used instead of the package index.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
# An index of your own comes from pip's own variables; nothing of this stage is in the image.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
COPY . /src
WORKDIR /src
RUN python3 -m venv /opt/deploykit \
 && if [ -d wheels ]; then export PIP_NO_INDEX=1 PIP_FIND_LINKS=/src/wheels; fi \
 && /opt/deploykit/bin/pip install --no-cache-dir --disable-pip-version-check '.[nginx]'

FROM ${BASE}
COPY --from=build /opt/deploykit /opt/deploykit
ENV PATH=/opt/deploykit/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# Not root: what it writes beside a spec should not belong to root. `--user` chooses another.
USER 1000:1000
WORKDIR /work
ENTRYPOINT ["deploykit"]
CMD ["--help"]
