"""Small networks as programs, and what is in these."""

from zoo import Body, images, randomise

import fastsnn
from fastsnn.program import RouteLayer, ValueLayer


def program(forward, **modules):
    model = randomise(Body(forward, **modules)).eval()
    return fastsnn.convert(model, images(8).float(), timesteps=4, threshold="max").program


def numbers(found):
    """Names of the layers that hold numbers at every step."""
    values = {name for name, la in found.layers.items() if isinstance(la, ValueLayer | RouteLayer) and not la.spiking}
    return values & found.inner() & found.timed()
