"""What `understudy serve` and `run` start and who is let in: Prefect's server, the worker, deployments, alerts."""
