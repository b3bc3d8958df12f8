"""What Prometheus, Alertmanager and Grafana are given to show certvigil."""
