"""Load for a cluster: when tasks arrive, what came of them, and where the cluster's knee is.

Reading order: ``arrivals`` (the planned instants of each pattern), ``report`` (figures of what happened),
``ramp`` (the search for the knee), ``generator`` (offers the load, on time). All but the last are pure.
"""
