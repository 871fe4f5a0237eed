"""The broker's decisions and the tables they need: one scheduler, as ``handle(event, now) -> actions``."""
