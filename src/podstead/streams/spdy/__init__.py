"""SPDY/3.1 from the server's side: frames, header blocks, streams with flow control. Bytes in, bytes out."""
