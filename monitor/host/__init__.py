"""The host: systemd, sockets, the schedule, and the record of earlier daemons."""
