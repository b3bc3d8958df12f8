"""The host: systemd, sockets, the schedule, and what is known of earlier daemons."""
