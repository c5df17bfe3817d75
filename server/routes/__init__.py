"""HTTP and websocket routes, one module a resource."""
