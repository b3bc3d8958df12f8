"""The files by which Prometheus, Alertmanager and Grafana show certvigil."""
