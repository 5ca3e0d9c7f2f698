from fastsnn.ops.pack.op import counts, pack, unpack

__all__ = ["counts", "pack", "unpack"]
