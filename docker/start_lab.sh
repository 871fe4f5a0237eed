#!/bin/sh
# Starts JupyterLab in its container. First copies the image's notebooks into the learner's folder, a volume;
# a newer image replaces those that the learner has not changed.
set -eu
python -P -m labkit.cli.own_notebooks /lab/notebooks /home/lab/notebooks
echo "JupyterLab: http://127.0.0.1:${LABKIT_LAB_PORT:-8888}/?token=$(cat /keys/lab.token)"
# The same start of each kernel as with `python -m labkit lab`.
export PYTHONSTARTUP=/lab/notebooks/settings/startup.py
exec jupyter lab --config=/opt/lab/etc/jupyter_server_config.py
