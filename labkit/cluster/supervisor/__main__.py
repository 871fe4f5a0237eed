"""``python -m labkit.cluster.supervisor FOLDER`` runs the supervisor of the cluster in this run folder."""

from __future__ import annotations

import sys

from labkit.cluster.supervisor.supervisor import main

sys.exit(main())
