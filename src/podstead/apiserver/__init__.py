"""HTTP: routing, negotiation, tables, discovery, OpenAPI, authentication, watch streaming, the proxy to nodes."""
