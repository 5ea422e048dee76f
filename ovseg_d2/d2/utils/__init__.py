"""What surrounds training: processes, events, logs."""
