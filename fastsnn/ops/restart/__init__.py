from fastsnn.ops.restart.op import restart

__all__ = ["restart"]
