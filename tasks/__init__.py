"""The stations: what Prefect adds around one piece of work."""
