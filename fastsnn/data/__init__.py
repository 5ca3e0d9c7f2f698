"""Where labelled images come from: folders, .npz files and named data sets."""

from fastsnn.data.load import batches, calibration_images, collate, download, has_split, load, some
from fastsnn.data.prepare import Prepare

__all__ = ["Prepare", "batches", "calibration_images", "collate", "download", "has_split", "load", "some"]
