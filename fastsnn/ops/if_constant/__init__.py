from fastsnn.ops.if_constant.op import if_constant

__all__ = ["if_constant"]
