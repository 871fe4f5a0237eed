#!/bin/sh
# Starts JupyterLab in its container. The image's notebooks reach the learner's folder, a volume; none that is
# there already is ever overwritten.
set -eu
cp -R -n /lab/notebooks/es /lab/notebooks/en /home/lab/notebooks/
echo "JupyterLab: http://127.0.0.1:${LABKIT_LAB_PORT:-8888}/?token=$(cat /keys/lab.token)"
exec jupyter lab --config=/opt/lab/etc/jupyter_server_config.py
