#!/bin/sh
# Starts JupyterLab in its container. The image's notebooks reach the learner's folder, a volume; none that is
# there already is ever overwritten.
set -eu
cp -R -n /lab/notebooks/. /home/lab/notebooks/
exec jupyter lab --config=/opt/lab/etc/jupyter_server_config.py
