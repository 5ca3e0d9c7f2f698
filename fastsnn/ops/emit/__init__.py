from fastsnn.ops.emit.op import emit

__all__ = ["emit"]
