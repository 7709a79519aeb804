"""Bytes on the wire: WebSocket and SPDY framing of exec, attach and port-forward. Knows no object."""
