"""HTTP: routes, shapes, and everything that only HTTP knows."""
