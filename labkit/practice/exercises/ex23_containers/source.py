"""{title}"""

from __future__ import annotations


def dockerfile() -> str:
    return """
# SOLUTION
FROM python:3.11-slim
WORKDIR /app
COPY worker.py .
USER nobody
CMD ["python", "worker.py"]
# STUB
# FROM python:3.11-slim
# END
"""


def compose() -> str:
    return """
services:
  redis:
    image: redis:7-alpine
# SOLUTION
    healthcheck:
      test: ["CMD", "redis-cli", "ping"]
      interval: 1s
  worker:
    build: .
    environment:
      REDIS_HOST: redis
    depends_on:
      redis:
        condition: service_healthy
    deploy:
      replicas: 3
# STUB
# END
"""
