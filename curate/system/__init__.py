"""The process and the machine: files, workers, credentials, packages loaded late."""
