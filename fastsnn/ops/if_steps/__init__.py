from fastsnn.ops.if_steps.op import if_steps

__all__ = ["if_steps"]
