# rejected by: not-waiting
def dockerfile():
    return """
FROM python:3.11-slim
WORKDIR /app
COPY worker.py .
USER nobody
CMD ["python", "worker.py"]
"""


def compose():
    return """
services:
  redis:
    image: redis:7-alpine
    healthcheck:
      test: ["CMD", "redis-cli", "ping"]
      interval: 1s
  worker:
    build: .
    environment:
      REDIS_HOST: redis
    depends_on: [redis]
    deploy:
      replicas: 3
"""
