"""From a trained network to a program: capture, fold, calibrate, lower."""
