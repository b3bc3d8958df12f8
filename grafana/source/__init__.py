"""The dashboards as they are written; `python -m grafana.source` makes the JSON that Grafana is given."""
