from fastsnn.ops.readout.op import readout

__all__ = ["readout"]
