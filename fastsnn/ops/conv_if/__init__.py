from fastsnn.ops.conv_if.op import conv_if

__all__ = ["conv_if"]
