"""The local platform: databases, Prefect, MLflow and the gateway, under one supervisor."""
