"""Load for a cluster: when tasks arrive, what came of them, and where the cluster's knee is.

Reading order: ``arrivals`` (the planned instants of each pattern), ``report`` (figures of what happened),
``ramp`` (the search for the knee), ``planner`` (what the generator does when): these are pure. ``generator``
offers the load, on time; ``targets`` takes the tasks to the cluster, ``fault`` breaks it in the middle.
"""
