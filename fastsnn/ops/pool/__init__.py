from fastsnn.ops.pool.op import pool_counts, pool_gate, pool_lateral, pool_or

__all__ = ["pool_counts", "pool_gate", "pool_lateral", "pool_or"]
