"""How the relay's cost grows with what may grow: each dimension alone, everything else fixed."""
