"""Processes, events and logs."""
