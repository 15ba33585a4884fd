"""Order processing across four services that survives its own demo: `make demo-saga`."""
