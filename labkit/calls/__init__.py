"""How a call travels: the names of jobs, the encoding of arguments and results, one batch for any engine."""
