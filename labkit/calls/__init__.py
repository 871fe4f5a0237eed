"""How a call travels: the names of jobs, the encoding of values. Also: a learner's policy, by name."""
