"""What a spiking network really cost, beside the dense network it came from: counted, measured, modelled, reported."""
