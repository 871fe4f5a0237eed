#!/bin/sh
# Starts JupyterLab in its container. New notebooks of the image reach the learner's folder; none that is
# there is ever overwritten.
set -eu
cp -R -n /lab/notebooks/. /home/lab/notebooks/ 2>/dev/null || true
exec jupyter lab --config=/opt/lab/etc/jupyter_server_config.py
