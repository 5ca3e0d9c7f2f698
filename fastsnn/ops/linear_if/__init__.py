from fastsnn.ops.linear_if.op import linear_if

__all__ = ["linear_if"]
