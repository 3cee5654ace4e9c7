"""The wire to a server: connections, payloads, faults."""
