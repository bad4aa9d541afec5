#!/bin/sh
# The sample's program: counts its starts on the volume, serves a page with the greeting it was given in secret.
set -eu
starts=$(($(cat /data/starts 2>/dev/null || echo 0) + 1))
echo "$starts" >/data/starts
mkdir -p /tmp/www
chown 1000:1000 /tmp/www
echo "${GREETING:-hello}, stranger: start $starts, started as uid $(id -u), on $(hostname)" >/tmp/www/index.html
# The first process of a container gets no default action for SIGTERM: without a handler its end takes the full grace period.
trap 'exit 0' TERM
httpd -f -p "${PORT:-8080}" -h /tmp/www &
wait
