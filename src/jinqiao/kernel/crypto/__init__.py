"""Two suites behind one interface: guomi (SM2, SM3, SM4-GCM) and international (Ed25519, SHA-256, AES-256-GCM)."""
