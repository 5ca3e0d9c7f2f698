from fastsnn.ops.adaptive.op import adaptive_steps

__all__ = ["adaptive_steps"]
