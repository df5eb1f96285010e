"""The durable record of query calls: group commit, Merkle roots, one hash chain per lane, shipped to the centre."""
