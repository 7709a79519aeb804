"""What a component asks of an API server."""
